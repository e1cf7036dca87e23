// What each arm reaches, with what it was given; how arms compare; how their losses went.

const HIDDEN = ["arm", "accuracy %", "low", "high", "by seed", "n"];

function armsView(main, params) {
  const rows = data.tables.arms;
  const all = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const some = ["macro f1", "closed set %", "steps", "tokens", "label share of loss"];
  const more = params.columns === "all" ? all.filter((key) => !HIDDEN.includes(key)) : some;
  const shown = more.filter((key) => all.includes(key));
  const ends = rows.flatMap((row) => [row.low, row.high, row["accuracy %"]].map(parseFloat))
    .filter(Number.isFinite);
  const range = [Math.min(...ends), Math.max(...ends)];
  const columns = [
    { name: "arm", cell: armCell, sort: (row) => row.arm },
    { ...textColumn("accuracy %", "accuracy, %"), number: false, falls: true,
      cell: (row) => accuracyCell(row, range) },
    { ...textColumn("by seed"), number: false },
    ...shown.map((key) => textColumn(key)),
  ];
  const other = params.columns === "all" ? {} : { columns: "all" };
  add(main,
    h("h1", null, "What each arm reaches"),
    h("p", { class: "lead" }, lead(), " A name leads to its texts. A column's head sorts."),
    sorted("Arms", columns, rows),
    h("p", null, h("a", { href: address("arms", other) },
      other.columns ? "All columns" : "Fewer columns")),
    data.tables.comparisons.length ? comparisonsPart() : null,
    curvesPart(),
  );
}

function lead() {
  const seeds = new Set(data.runs.map((run) => run[1])).size;
  return `Accuracy on ${some(data.texts.id.length, "test text")}, the mean of `
    + `${some(seeds, "seed")}, with its 95 % interval over seeds and texts.`;
}

function armCell(row) {
  const arm = data.arms[armIndex(row.arm)];
  if (!arm) return h("span", { class: "floor" }, row.arm);
  return [h("a", { href: address("texts", { arm: arm.name }) }, arm.name),
    h("span", { class: "told" }, arm.told)];
}

function accuracyCell(row, range) {
  const [share, low, high] = [row["accuracy %"], row.low, row.high].map(parseFloat);
  const ends = Number.isFinite(low) ? `${low.toFixed(1)} to ${high.toFixed(1)}` : "";
  return h("span", { class: "accuracy" }, h("strong", null, share.toFixed(1)),
    h("span", { class: "quiet" }, ends), interval(share, low, high, range));
}

function comparisonsPart() {
  const rows = data.tables.comparisons.filter((row) => row.measure === "accuracy");
  const lines = rows.map((row) => {
    const found = counts(pairsOf(row.arm, row.against));
    const cell = (name) => h("td", { class: "number" }, h("a", {
      href: address("texts", { arm: row.arm, against: row.against, cell: name }),
    }, thousands(found[name])));
    return h("tr", null,
      h("th", { scope: "row" }, h("a", {
        href: address("confusion", { arm: row.arm, against: row.against }),
      }, `${row.arm} over ${row.against}`)),
      h("td", { class: "number" }, h("strong", null, row.difference)),
      h("td", { class: "number" }, row.low ? `${row.low} to ${row.high}` : ""),
      h("td", { class: "number" }, row.p), cell("first"), cell("second"));
  });
  const heads = ["comparison", "points", "95 %", "p", "only the first is right",
    "only the second is right"];
  return [
    h("h2", null, "What one has over another"),
    h("p", { class: "quiet" }, "The first line is the primary comparison. The last two columns",
      " count answers over all seeds, and lead to their texts."),
    scrolled("Comparisons", h("table", null,
      h("thead", null, h("tr", null, heads.map((name, at) =>
        h("th", { scope: "col", class: at && "number" }, name)))),
      h("tbody", null, lines))),
  ];
}

function curvesPart() {
  const earlier = data.earlier.map((curve) => curveFigure(curve.name, [curve], () => curve.name));
  const arms = data.arms.map((arm, index) => {
    const own = data.curves.filter((curve) => data.runs[curve.run][0] === index);
    return own.length ? curveFigure(arm.name, own, (curve) => `seed ${seedOf(curve.run)}`) : null;
  });
  return [
    h("h2", null, "Learning curves"),
    h("p", { class: "quiet" }, h("span", { class: "key plain" }), "loss in training ",
      h("span", { class: "key dotted" }), "loss on the validation split, in nats per target token.",
      " Of an arm, a line is a seed. Arms with other targets have other losses."),
    h("div", { class: "multiples" }, [...earlier, ...arms]),
  ];
}

function curveFigure(name, curves, titleOf) {
  const lines = curves.map((curve) => ({ points: curve.steps, kind: "plain" }));
  const checks = curves.map((curve) => (
    { points: curve.evaluations, kind: "dotted", title: titleOf(curve) }));
  return h("figure", null, h("figcaption", null, name),
    lineChart(`Losses of ${name}`, [...lines, ...checks], "step", "loss"));
}
