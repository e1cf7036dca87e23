// The reasonings that arms learned from.

const CARDS = 50; // reasonings that are shown at a time

function reasoningsView(main, first) {
  let params, rows, length;
  const search = h("input", {
    type: "search", name: "q", autocomplete: "off", placeholder: "Search texts and reasonings",
    "aria-label": "Search texts and reasonings",
    oninput: () => go("reasonings", { ...params, q: search.value }, true),
  });
  const choices = h("div", { class: "choices" }), about = h("div");
  const count = h("p", { class: "count", role: "status" }), list = h("ol", { class: "cards" });
  const more = h("button", { type: "button", onclick: () => { length += CARDS; cards(); } },
    "More reasonings");
  add(main, h("h1", null, "Reasonings of the training set"));
  if (!data.sets.length) {
    add(main, h("p", { class: "lead" }, "No arm learned from reasonings."));
    return {};
  }
  add(main, h("form", { role: "search", onsubmit: (event) => event.preventDefault() },
    h("div", { class: "asked" }, search, choices)), about, count, list, more);

  function show(wanted) {
    params = { ...wanted, set: wanted.set || data.sets[0].name };
    const set = data.sets.find((one) => one.name === params.set) ?? data.sets[0];
    rows = chosen(set, params);
    length = CARDS;
    const focused = document.activeElement?.name;
    if (search.value !== (params.q ?? "")) search.value = params.q ?? "";
    choices.replaceChildren(...boxes(set));
    if (focused) choices.querySelector(`[name=${focused}]`)?.focus();
    about.replaceChildren(...aboutSet(set, rows));
    count.textContent = some(rows.length, "reasoning");
    cards(set);
  }

  function boxes(set) {
    const box = (name, words, options) => choice(name, words, options, params[name] ?? "",
      (value) => go("reasonings", { ...params, [name]: value }));
    const ends = [...set.finish.values].filter(Boolean).sort();
    return [
      box("set", "Source", named(data.sets.map((one) => one.name))),
      box("label", "Label", [["", "any"], ...named(data.labels)]),
      ends.length > 1 ? box("finish", "It ends", [["", "any"],
        ...ends.map((one) => [one, ENDS[one] ?? one])]) : null,
      box("kept", "Verdict", [["", "any"], ["1", "kept"], ["0", "left out"]]),
      box("order", "Order", [["", "as in the training split"], ["long", "longest first"],
        ["short", "shortest first"]]),
    ].filter(Boolean);
  }

  function cards(set = data.sets.find((one) => one.name === params.set) ?? data.sets[0]) {
    list.replaceChildren(...rows.slice(0, length).map((at) => card(set, at)));
    more.hidden = rows.length <= length;
  }

  show(first);
  return { show, search };
}

const ENDS = { stop: "by itself", length: "cut at the limit", imported: "imported" };

// Tokens, where a model wrote here what the arms learned; else words.
const counted = (set) => set.finish.values.some((end) => end === "stop" || end === "length");
const lengthOf = (set, at) => counted(set) ? set.tokens[at]
  : string(set.reasoning, at).split(/\s+/).filter(Boolean).length;

function chosen(set, params) {
  const word = (params.q ?? "").toLowerCase();
  const label = data.labels.indexOf(params.label);
  const [inTexts, inReasons] = [lowered(data.train.text), lowered(set.reasoning.values)];
  const found = [...data.train.text.keys()].filter((at) =>
    (!params.label || data.train.label[at] === label)
    && (!params.finish || string(set.finish, at) === params.finish)
    && (!params.kept || set.kept[at] === Number(params.kept))
    && (!word || inTexts[at].includes(word) || inReasons[set.reasoning.codes[at]].includes(word)));
  const sign = params.order === "short" ? 1 : -1;
  return params.order
    ? found.sort((a, b) => sign * (lengthOf(set, a) - lengthOf(set, b))) : found;
}

function aboutSet(set, rows) {
  const arms = set.arms.map((arm) => data.arms[arm].name).join(", ");
  const lengths = rows.map((at) => lengthOf(set, at));
  const unit = counted(set) ? "tokens" : "words";
  const all = data.train.text.length;
  return [
    h("p", { class: "lead" }, `What ${arms} learned from: ${thousands(set.used)} of `,
      `${some(set.rows, "training text")} have a reasoning. `,
      all < set.rows ? `This page holds ${thousands(all)} of them. ` : "",
      "An empty reasoning is left out of the training."),
    rows.length ? h("figure", null, h("figcaption", null, `Length in ${unit}`),
      histogram(`Lengths of the reasonings, in ${unit}`, lengths, unit)) : null,
  ].filter(Boolean);
}

function card(set, at) {
  const [text, reasoning] = [data.train.text[at], string(set.reasoning, at)];
  const which = shared(text, [reasoning]);
  const unit = counted(set) ? "token" : "word";
  const end = string(set.finish, at);
  const facts = [some(lengthOf(set, at), unit), end && (ENDS[end] ?? end),
    set.kept[at] ? null : "left out", `text ${data.train.id[at]}`].filter(Boolean);
  return h("li", null,
    h("p", { class: "text small" }, marked(text, which)),
    h("blockquote", { class: "reasoning" },
      reasoning ? marked(reasoning, which) : h("span", { class: "quiet" }, "no reasoning")),
    h("p", null, chip(data.train.label[at]),
      h("span", { class: "quiet" }, facts.map((fact) => ` \u00b7 ${fact}`))));
}
