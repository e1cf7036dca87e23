// A task with a scale: settings, agreement, and what was predicted for which rating.

function ratingsView(main, params) {
  params = sound(params);
  const change = (name) => (value) => go("ratings", { ...params, [name]: value });
  const rows = data.tables.settings;
  const keys = ["accuracy %", "macro F1", "MAE", "MAE of the expected rating", "quadratic kappa"];
  const numbers = keys.filter((key) => rows.some((row) => row[key]));
  const whole = rows.filter((row) => row.source === "all" && row.dimension === "all");
  const own = rows.filter((row) => row.arm === params.arm);
  const setting = (row) => `${row.source} \u00b7 ${row.dimension}`;
  const runs = pairsOf(params.arm, "", params.seed).map((pair) => pair.a);
  add(main,
    h("h1", null, "Ratings"),
    h("p", { class: "lead" }, "Quadratic kappa is agreement beyond chance: 1 is perfect, 0 is chance.",
      " MAE is the mean distance from the true rating."),
    sorted("Every arm", [
      { name: "arm", cell: (row) => armCell(row), sort: (row) => row.arm },
      ...numbers.map((key) => textColumn(key))], whole),
    h("form", { class: "filters", onsubmit: (event) => event.preventDefault() },
      armChoice(params, change("arm")), seedChoice(params, change("seed"))),
    h("h2", null, `${params.arm}: predicted against true`),
    h("div", { class: "beside" },
      h("section", null, matrix(params.arm, runs, params)),
      h("figure", null, h("figcaption", null, "Expected rating of each text"), expected(runs))),
    h("h2", null, `${params.arm} in every setting`),
    sorted("Settings", [
      { name: "setting", cell: (row) => settingCell(row, params, setting(row)), sort: setting },
      textColumn("n", "texts"), ...numbers.map((key) => textColumn(key))], own),
  );
}

function settingCell(row, params, words) {
  const part = (name) => (row[name] === "all" ? "" : row[name]);
  return h("a", {
    href: address("texts", { arm: params.arm, source: part("source"), dimension: part("dimension") }),
  }, words);
}

// The mean of the labels, weighted by their probabilities, against the true rating.
function expected(runs) {
  const values = data.labels.map(Number);
  const points = [];
  for (let text = 0; text < data.texts.id.length; text++) {
    for (const run of runs) {
      const own = chances(place(text, run));
      const mean = own && own.reduce((sum, share, at) => sum + share * values[at], 0);
      if (own) points.push([data.texts.rating[text], mean]);
    }
  }
  const range = [Math.min(...values), Math.max(...values)];
  return scatter("Expected ratings against true ones", points, range, "true rating", "expected");
}
