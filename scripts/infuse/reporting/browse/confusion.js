// What was given for each true label; and two arms on the same texts.

function confusionView(main, params) {
  params = sound(params);
  const change = (name) => (value) => go("confusion", { ...params, [name]: value });
  const pairs = pairsOf(params.arm, params.against, params.seed);
  const runs = (part) => [...new Set(pairs.map((pair) => pair[part]))];
  add(main,
    h("h1", null, "What is taken for what"),
    h("p", { class: "lead" }, "A row is a true label, a column the label that was given. A number",
      " leads to its texts."),
    h("form", { class: "filters", onsubmit: (event) => event.preventDefault() },
      armChoice(params, change("arm")), againstChoice(params, change("against")),
      seedChoice(params, change("seed"))),
    h("div", { class: "beside" },
      h("section", null, h("h2", null, params.arm), matrix(params.arm, runs("a"), params)),
      params.against ? h("section", null, h("h2", null, params.against),
        matrix(params.against, runs("b"), params)) : null),
    params.against ? [cellsPart(params, pairs), differencesPart(params, pairs)] : null,
  );
}

// Where one arm helps: the cells in which they differ, by true label, and by setting.
function differencesPart(params, pairs) {
  const labels = data.labels.map((label, at) =>
    ({ key: "label", value: label, head: chip(at), wanted: (text) => data.texts.label[text] === at }));
  const parts = !ratedTask() ? [] : ["source", "dimension"].flatMap((key) =>
    data.texts[key].values.filter(Boolean).sort().map((value) => ({
      key, value, head: `${key} ${value}`, wanted: (text) => string(data.texts[key], text) === value,
    })));
  const rows = [...labels, ...parts].map((part) => {
    const found = counts(pairs, part.wanted);
    const total = Object.values(found).reduce((sum, count) => sum + count, 0);
    return { ...part, found, total, gain: total ? (found.first - found.second) / total : 0 };
  });
  const leads = (row, cell) => h("a", { href: address("texts", {
    arm: params.arm, against: params.against, seed: params.seed, cell, [row.key]: row.value,
  }) }, thousands(row.found[cell]));
  const points = (share) => `${share < 0 ? "\u2212" : "+"}${Math.abs(100 * share).toFixed(1)}`;
  return [
    h("h2", null, "Where they differ"),
    sorted("Where they differ", [
      { name: ratedTask() ? "texts" : "true label", cell: (row) => row.head, sort: (row) => row.value },
      { name: "answers", cell: (row) => thousands(row.total), sort: (row) => row.total, number: true },
      ...[["first", params.arm], ["second", params.against]].map(([cell, arm]) => ({
        name: `only ${arm} is right`, cell: (row) => leads(row, cell),
        sort: (row) => row.found[cell], number: true,
      })),
      { name: "points", cell: (row) => points(row.gain), sort: (row) => row.gain, number: true },
    ], rows),
  ];
}

function cellsPart(params, pairs) {
  const found = counts(pairs);
  const total = Object.values(found).reduce((sum, count) => sum + count, 0);
  const cell = (name) => h("td", null, h("a", {
    href: address("texts", { arm: params.arm, against: params.against, seed: params.seed, cell: name }),
  }, h("strong", null, thousands(found[name])), h("span", { class: "quiet" },
    percent(found[name] / total, 1))));
  const head = (words) => h("th", { scope: "col" }, `${params.against} ${words}`);
  const row = (words, ...names) =>
    h("tr", null, h("th", { scope: "row" }, `${params.arm} ${words}`), names.map(cell));
  return [
    h("h2", null, "On the same texts"),
    h("p", { class: "quiet" }, pairs.length > 1 ? `Answers of ${pairs.length} pairs of seeds.` : "",
      " A number leads to its texts, with both answers."),
    scrolled("Both arms on the same texts", h("table", { class: "four" },
      h("thead", null, h("tr", null, h("td"), head("right"), head("wrong"))),
      h("tbody", null, row("right", "both", "first"), row("wrong", "second", "neither")))),
  ];
}
