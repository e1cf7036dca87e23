// Words that two texts share.

const SAMPLE = 500; // texts, and reasonings, that tell which words are common
const COMMON = 0.1; // share of them
let common = null, segmenter = null;

function words(text) {
  segmenter ??= new Intl.Segmenter(undefined, { granularity: "word" });
  return Array.from(segmenter.segment(text), ({ segment, isWordLike }) =>
    ({ segment, word: isWordLike ? segment.toLowerCase() : null }));
}

// Words that stand in so many texts, or reasonings, that it says nothing when two share them.
function commonWords() {
  if (common) return common;
  common = new Set([null]);
  for (const texts of [data.texts.text, data.answers.reasoning.values]) {
    const every = Math.max(1, Math.floor(texts.length / SAMPLE));
    const sample = texts.filter((_, at) => at % every === 0);
    const seen = new Map();
    for (const text of sample) {
      for (const word of new Set(words(text).map((one) => one.word))) {
        seen.set(word, (seen.get(word) ?? 0) + 1);
      }
    }
    const most = Math.max(COMMON * sample.length, 3);
    for (const [word, count] of seen) if (count > most) common.add(word);
  }
  return common;
}

function shared(text, others) {
  const own = new Set(words(text).map((one) => one.word));
  const found = new Set();
  for (const other of others) {
    for (const { word } of words(other)) {
      if (own.has(word) && !commonWords().has(word)) found.add(word);
    }
  }
  return found;
}

// A text as nodes, with some words marked.
function marked(text, which) {
  const nodes = [];
  let plain = "";
  for (const { segment, word } of words(text)) {
    if (!which.has(word)) { plain += segment; continue; }
    nodes.push(plain, h("mark", null, segment));
    plain = "";
  }
  return [...nodes, plain];
}
