// Which experiment this is, and what made it.

function aboutView(main) {
  const versions = new Map();
  for (const part of data.made) {
    for (const [name, version] of Object.entries(part.versions ?? {})) {
      versions.set(name, (versions.get(name) ?? new Set()).add(version));
    }
  }
  const commits = [...new Set(data.made.map((part) => part.commit).filter(Boolean))];
  const fact = (name, value) => [h("dt", null, name), h("dd", null, value)];
  add(main,
    h("h1", null, "About this page"),
    h("p", { class: "lead" }, `It holds ${some(data.texts.id.length * data.runs.length, "answer")}: `,
      `${some(data.arms.length, "arm")} on ${some(data.texts.id.length, "test text")}. `,
      "It loads nothing, and sends nothing anywhere."),
    h("dl", null,
      fact("experiment", data.experiment), fact("key of this page", data.key),
      fact("made at commit", data.commit ?? "not known"),
      fact("its parts at", commits.length ? commits.join(", ") : "not known"),
      [...versions].sort().map(([name, found]) => fact(name, [...found].join(", ")))),
    h("h2", null, "How to read it"),
    h("ul", null, NOTES.map((note) => h("li", null, note))),
    h("h2", null, "What it was made from"),
    h("p", { class: "quiet" }, "A key is the hash of all that determines an artifact."),
    scrolled("Artifacts", h("table", null,
      h("thead", null, h("tr", null, ["stage", "name", "key", "parameters"].map((name) =>
        h("th", { scope: "col" }, name)))),
      h("tbody", null, data.made.map((part) => h("tr", null,
        h("td", null, part.stage), h("th", { scope: "row" }, part.name),
        h("td", { class: "key-cell" }, part.key),
        h("td", null, part.params ? h("details", null, h("summary", null, "show"),
          h("pre", { tabindex: 0 }, part.params)) : null)))))),
  );
}

const NOTES = [
  "Marked words stand both in the text and in what is beside it. Common words are left unmarked.",
  "Probabilities are of the labels alone, each scored as a whole after the arm's own reasoning.",
  "A free answer need not be the label with the largest probability.",
  "A linear model of words reads which label a reasoning argues for. It errs too; how often it is "
    + "right on validation reasonings stands beside it.",
  "The nearest training text is that with the largest cosine of TF-IDF.",
  "A reasoning is an account that the model writes. It need not be how it decides.",
];
