// The data of the page. packing.py tells the form, browse_data.py the content.

const KINDS = {
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array,
};
let data; // set once, by main()

async function unpack(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const columns = 8 + length;

  function filled(part) {
    if (part === null || typeof part !== "object") return part;
    if (Array.isArray(part)) return typeof part[0] === "object" ? part.map(filled) : part;
    if ("$" in part) return new KINDS[part.$](buffer, columns + part.at, part.length);
    return Object.fromEntries(Object.entries(part).map(([name, one]) => [name, filled(one)]));
  }
  return filled(JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length))));
}

// A string of a coded column.
const string = (column, at) => column.values[column.codes[at]];

// "" where a place stands for no label.
const labelAt = (place) => data.labels[place] ?? "";

// Where the answer of a run to a text stands.
const place = (text, run) => text * data.runs.length + run;

const armIndex = (name) => data.arms.findIndex((arm) => arm.name === name);
const knownArm = (name) => (armIndex(name) < 0 ? "" : name);
const runsOf = (arm) => [...data.runs.keys()].filter((run) => data.runs[run][0] === arm);
const seedOf = (run) => data.runs[run][1];
const outcomeAt = (at) => data.outcomes[data.answers.outcome[at]];
const isRight = (at) => data.answers.outcome[at] === 0;
const ratedTask = () => "rating" in data.texts;

// What the page writes where no label was given.
const NO_ANSWER = "no answer";
// Its value in an address: no label is blank.
const NONE = " ";
const OUTCOMES = {
  right: "right", wrong: "wrong", no_answer: NO_ANSWER, truncated: "cut off", too_long: "too long",
};

function chances(at) {
  const count = data.labels.length;
  const own = data.answers.chances.subarray(at * count, (at + 1) * count);
  return own.some((one) => one > 0) ? Array.from(own, (one) => one / 65535) : null;
}

// The probability of what was answered; of the likeliest label, where nothing was. -1: not known.
function sureness(at) {
  const own = chances(at);
  if (!own) return -1;
  const said = data.answers.predicted[at];
  return said < own.length ? own[said] : Math.max(...own);
}
