// Which answers are asked for. An answer is a text and a pair of runs: {a, b}, b of another arm.

// The arm that is looked at first: one that reasons, where there is one.
const firstArm = () => (data.arms.find((arm) => arm.reasoned) ?? data.arms[0]).name;

// What is asked for, without what the arms at hand have not.
function sound(params) {
  const [arm, against] = [knownArm(params.arm) || firstArm(), knownArm(params.against)];
  const found = { ...params, arm, against };
  if (!pairsOf(arm, against).some((pair) => String(pair.seed) === params.seed)) delete found.seed;
  if (!data.arms[armIndex(arm)].reasoned) delete found.argues;
  if (!against) delete found.cell;
  return found;
}

// Runs of an arm, each with the other arm's of the same seed; an arm with one run meets all.
function pairsOf(arm, against, seed) {
  const [ours, theirs] = [runsOf(armIndex(arm)), runsOf(armIndex(against))];
  const of = (runs, wanted) => runs.find((run) => seedOf(run) === wanted) ?? runs[0];
  const seeds = (theirs.length > ours.length ? theirs : ours).map(seedOf);
  return seeds
    .filter((one) => !seed || String(one) === seed)
    .map((one) => ({ seed: one, a: of(ours, one), b: theirs.length ? of(theirs, one) : -1 }));
}

const CELLS = { // of McNemar's table
  both: (a, b) => a && b, first: (a, b) => a && !b, second: (a, b) => !a && b,
  neither: (a, b) => !a && !b,
};

// How many answers fall into each cell; of all texts, or of those that are wanted.
function counts(pairs, wanted = () => true) {
  const found = { both: 0, first: 0, second: 0, neither: 0 };
  for (let text = 0; text < data.texts.id.length; text++) {
    if (!wanted(text)) continue;
    for (const { a, b } of pairs) {
      const [x, y] = [isRight(place(text, a)), isRight(place(text, b))];
      found[x ? (y ? "both" : "first") : y ? "second" : "neither"] += 1;
    }
  }
  return found;
}

// Of each true label, how often each label was given; the last one stands for none.
function confusion(runs) {
  const size = data.labels.length;
  const rows = Array.from({ length: size }, () => new Array(size + 1).fill(0));
  for (let text = 0; text < data.texts.id.length; text++) {
    for (const run of runs) {
      rows[data.texts.label[text]][data.answers.predicted[place(text, run)]] += 1;
    }
  }
  return rows;
}

// Texts and what is written about them, in small letters, made when they are first searched.
const lower = new Map();
function lowered(values) {
  if (!lower.has(values)) lower.set(values, values.map((one) => one.toLowerCase()));
  return lower.get(values);
}

// The answers that are asked for: [{text, pair}], in the order that is asked for.
function select(params) {
  const pairs = pairsOf(params.arm, params.against, params.seed);
  const { texts, answers, labels } = data;
  const tests = [];
  const wanted = (name, test) => { if (params[name]) tests.push(test(params[name])); };
  const labelled = (name) => (name === NONE ? labels.length : labels.indexOf(name));

  wanted("label", (name) => { const at = labels.indexOf(name); return (t) => texts.label[t] === at; });
  wanted("source", (name) => (t) => string(texts.source, t) === name);
  wanted("dimension", (name) => (t) => string(texts.dimension, t) === name);
  wanted("predicted", (name) => {
    const at = labelled(name);
    return (t, { a }) => answers.predicted[place(t, a)] === at;
  });
  wanted("outcome", (name) => name === "error"
    ? (t, { a }) => !isRight(place(t, a))
    : (t, { a }) => outcomeAt(place(t, a)) === name);
  wanted("argues", () => (t, { a }) => arguesOther(place(t, a)));
  wanted("cell", (name) => (t, { a, b }) =>
    CELLS[name]?.(isRight(place(t, a)), isRight(place(t, b))));
  wanted("q", (words) => {
    const word = words.toLowerCase();
    const [inTexts, inReasons] = [lowered(texts.text), lowered(answers.reasoning.values)];
    return (t, { a }) => inTexts[t].includes(word)
      || inReasons[answers.reasoning.codes[place(t, a)]].includes(word);
  });

  const found = [];
  for (let text = 0; text < texts.id.length; text++) {
    for (const pair of pairs) {
      if (tests.every((test) => test(text, pair))) found.push({ text, pair });
    }
  }
  if (params.order) {
    const sign = params.order === "unsure" ? 1 : -1;
    for (const row of found) row.sure = sureness(place(row.text, row.pair.a));
    found.sort((x, y) => sign * (x.sure - y.sure));
  }
  return found;
}

// Whether a linear model reads another label out of a reasoning than the one that was answered.
function arguesOther(at) {
  const [heard, said] = [data.answers.heard[at], data.answers.predicted[at]];
  return heard < data.labels.length && said < data.labels.length && heard !== said;
}
