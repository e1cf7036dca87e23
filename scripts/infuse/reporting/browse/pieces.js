// Pieces that several views have in common.

// The colour of a label: a step around the circle of hues, or of a scale along a part of it.
function hue(place) {
  const count = data.labels.length;
  return ratedTask() ? 25 + (235 * place) / Math.max(count - 1, 1) : (25 + (360 * place) / count) % 360;
}

function chip(at) {
  const known = at < data.labels.length;
  return h("span", { class: known ? "chip" : "chip none", "--hue": known ? hue(at) : null },
    known ? labelAt(at) : NO_ANSWER);
}

// What was answered, and whether it is right.
function verdict(at) {
  const right = isRight(at);
  return h("span", { class: `verdict ${right ? "right" : "wrong"}` },
    chip(data.answers.predicted[at]), h("span", { class: "sign" }, right ? "\u2713" : "\u2717",
      h("span", { class: "unseen" }, OUTCOMES[outcomeAt(at)])));
}

const named = (names) => names.map((name) => [name, name]);
const armChoice = (params, change) =>
  choice("arm", "Arm", named(data.arms.map((arm) => arm.name)), params.arm, change);
const againstChoice = (params, change) => choice("against", "Against", [["", "none"],
  ...named(data.arms.map((arm) => arm.name).filter((name) => name !== params.arm))],
  params.against, change);

// Seeds of an arm; none where it has one alone.
function seedChoice(params, change) {
  const seeds = pairsOf(params.arm, params.against).map((pair) => String(pair.seed));
  if (seeds.length < 2) return null;
  return choice("seed", "Seed", [["", "all"], ...named(seeds)], params.seed ?? "", change);
}

// True labels against those that were given; each cell leads to its texts.
function matrix(arm, runs, params) {
  const found = confusion(runs);
  const none = found.some((row) => row[data.labels.length]);
  const shown = [...data.labels.keys(), ...(none ? [data.labels.length] : [])];
  const head = h("tr", null, h("th", { scope: "col" }, "true, then given"),
    shown.map((at) => h("th", { scope: "col" }, chip(at))));
  const rows = found.map((row, label) => {
    const total = row.reduce((sum, count) => sum + count, 0);
    const cells = shown.map((said) => {
      const share = total ? row[said] / total : 0;
      const where = address("texts", {
        arm, seed: params.seed, label: labelAt(label), predicted: labelAt(said) || NONE,
      });
      const told = `${row[said]} of ${labelAt(label)} answered ${labelAt(said) || NO_ANSWER}`;
      return h("td", { class: said === label ? "cell right" : "cell", "--share": Math.sqrt(share).toFixed(3) },
        row[said] ? h("a", { href: where, "aria-label": told }, thousands(row[said]))
          : h("span", { class: "zero" }, "0"));
    });
    return h("tr", null, h("th", { scope: "row" }, chip(label)), cells);
  });
  return scrolled(`Confusion of ${arm}`,
    h("table", { class: "matrix" }, h("thead", null, head), h("tbody", null, rows)));
}

// Bars of the labels' probabilities; of many labels, the likeliest and the true one.
const MOST_BARS = 8;
function bars(at, truth) {
  const own = chances(at);
  if (!own) return h("p", { class: "quiet" }, "no probabilities are known");
  let places = [...own.keys()];
  if (own.length > MOST_BARS) {
    const likely = places.sort((x, y) => own[y] - own[x]).slice(0, MOST_BARS);
    places = likely.includes(truth) ? likely : [...likely, truth];
  }
  return h("table", { class: "bars" }, h("caption", { class: "unseen" }, "Probabilities"),
    h("tbody", null, places.map((one) => h("tr", { class: one === truth && "truth" },
      h("th", { scope: "row" }, labelAt(one)),
      h("td", { class: "track" }, h("span", {
        class: "bar", "--share": own[one].toFixed(4), "--hue": hue(one),
      })),
      h("td", { class: "number" }, percent(own[one], 1))))));
}
