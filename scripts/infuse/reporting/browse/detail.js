// One text: what arms made of it, beside what was meant.

function detailOf({ text, pair }, params, { told, before, after, back }) {
  const truth = data.texts.label[text];
  const answers = [pair.a, ...(params.against ? [pair.b] : [])];
  const reasons = answers.map((run) => string(data.answers.reasoning, place(text, run)));
  const step = (where, words, key) => h(where ? "a" : "span",
    where ? { href: where, "aria-keyshortcuts": key } : { class: "off" }, words,
    h("kbd", { "aria-hidden": "true" }, key));
  return [
    h("nav", { class: "steps", "aria-label": "Answers" },
      h("a", { class: "back", href: back }, "Back to the list"),
      h("span", { class: "quiet" }, told),
      step(before, "\u2190 previous", "k"), step(after, "next \u2192", "j")),
    h("h2", { class: "unseen" }, `Text ${data.texts.id[text]}`),
    h("blockquote", { class: "text" }, marked(data.texts.text[text],
      shared(data.texts.text[text], reasons))),
    h("p", { class: "truth" }, h("span", { class: "quiet" }, "true label "), chip(truth),
      ratedTask() ? ratedWords(text) : null,
      h("span", { class: "quiet" }, ` \u00b7 text ${data.texts.id[text]}`)),
    h("div", { class: "beside" }, answers.map((run) => answerPart(text, run, truth))),
    othersPart(text, answers, params),
    nearestPart(text, params.arm),
  ];
}

const ratedWords = (text) => h("span", { class: "quiet" },
  ` \u00b7 rating ${data.texts.rating[text].toFixed(2)}`,
  ["source", "dimension"].map((part) => string(data.texts[part], text)).filter(Boolean)
    .map((one) => ` \u00b7 ${one}`));

function answerPart(text, run, truth) {
  const at = place(text, run);
  const arm = data.arms[data.runs[run][0]];
  const reasoning = string(data.answers.reasoning, at);
  const written = string(data.answers.generated, at);
  const heard = data.answers.heard[at];
  const which = shared(data.texts.text[text], [reasoning]);
  return h("section", { class: "answer" },
    h("h3", null, arm.name, runsOf(data.runs[run][0]).length > 1
      ? h("span", { class: "quiet" }, ` seed ${seedOf(run)}`) : null),
    h("p", null, verdict(at), h("span", { class: "quiet" }, ` ${OUTCOMES[outcomeAt(at)]}`)),
    arm.reasoned ? h("blockquote", { class: "reasoning" },
      reasoning ? marked(reasoning, which) : h("span", { class: "quiet" }, "no reasoning")) : null,
    heard < data.labels.length ? h("p", { class: "heard" }, "Its words argue for ", chip(heard),
      h("span", { class: "quiet" }, ", as a linear model reads them",
        arm.heard === null ? "." : ` (right on ${percent(arm.heard)} of validation reasonings).`)) : null,
    written.trim() && written !== reasoning ? h("p", { class: "quiet" }, "It wrote: ",
      h("span", { class: "written" }, written)) : null,
    bars(at, truth));
}

// What each arm and seed said.
function othersPart(text, answers, params) {
  const seeds = [...new Set(data.runs.map((run) => run[1]))];
  const cell = (arm, seed) => {
    const run = runsOf(arm).find((one) => seedOf(one) === seed);
    if (run === undefined) return h("td");
    const name = data.arms[arm].name;
    const where = address("texts", { arm: name, text: data.texts.id[text], of: seed,
      against: name === params.against ? params.arm : params.against });
    return h("td", { class: answers.includes(run) && "current" },
      h("a", { href: where }, verdict(place(text, run))));
  };
  const rows = data.arms.map((arm, index) =>
    h("tr", null, h("th", { scope: "row" }, arm.name), seeds.map((seed) => cell(index, seed))));
  return h("section", null, h("h3", null, "What each arm and seed said"),
    scrolled("What each arm and seed said", h("table", { class: "others" },
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "arm"),
        seeds.map((seed) => h("th", { scope: "col" }, `seed ${seed}`)))),
      h("tbody", null, rows))));
}

// The training text with the largest cosine, and the reasoning that the arm learned for it.
function nearestPart(text, name) {
  const [near, cosine] = [data.texts.nearest[text], data.texts.cosine[text]];
  if (!cosine) return null;
  const set = data.sets.find((one) => one.arms.includes(armIndex(name)));
  const reasoning = set && set.kept[near] ? string(set.reasoning, near) : "";
  return h("section", null, h("h3", null, "The nearest training text"),
    h("blockquote", { class: "text small" },
      marked(data.train.text[near], shared(data.texts.text[text], [data.train.text[near]]))),
    h("p", null, chip(data.train.label[near]), h("span", { class: "quiet" },
      ` \u00b7 cosine ${cosine.toFixed(2)} of the words' TF-IDF`)),
    reasoning ? h("blockquote", { class: "reasoning" },
      marked(reasoning, shared(data.train.text[near], [reasoning]))) : null);
}
