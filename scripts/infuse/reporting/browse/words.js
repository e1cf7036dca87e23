// Words that two texts share.

const segmenter = new Intl.Segmenter(undefined, { granularity: "word" });
const SAMPLE = 300; // texts that tell which words are common
const COMMON = 0.15; // share of these texts
let common = null;

function words(text) {
  return Array.from(segmenter.segment(text), ({ segment, isWordLike }) =>
    ({ segment, word: isWordLike ? segment.toLowerCase() : null }));
}

// Words that stand in so many texts that it says nothing when two texts share them.
function commonWords() {
  if (common) return common;
  const every = Math.max(1, Math.floor(data.texts.text.length / SAMPLE));
  const seen = new Map();
  let texts = 0;
  for (let at = 0; at < data.texts.text.length; at += every, texts++) {
    for (const word of new Set(words(data.texts.text[at]).map((one) => one.word))) {
      seen.set(word, (seen.get(word) ?? 0) + 1);
    }
  }
  common = new Set([null]);
  for (const [word, count] of seen) if (count > Math.max(COMMON * texts, 3)) common.add(word);
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
