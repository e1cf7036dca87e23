// The list of answers that are asked for, and beside it the one that is read.

const PAGE = 100; // lines that are shown at a time
const WIDE = matchMedia("(min-width: 60rem)");
const PLACE = ["text", "of"]; // of the answer that is read; all other parameters choose the list
const ORDERS = [["", "as in the test split"], ["sure", "surest first"], ["unsure", "least sure first"]];
const CELL_WORDS = (a, b) => [["", "any"], ["first", `only ${a}`], ["second", `only ${b}`],
  ["both", "both"], ["neither", "neither"]];

function textsView(main, first) {
  let params, rows, at, listed = null, length;
  const search = h("input", {
    type: "search", name: "q", autocomplete: "off", placeholder: "Search texts and reasonings",
    "aria-label": "Search texts and reasonings",
    oninput: () => go("texts", { ...withoutPlace(), q: search.value }, true),
  });
  const presets = h("p", { class: "presets" }), choices = h("div", { class: "choices" });
  const filters = h("details", { class: "filters", open: WIDE.matches },
    h("summary", null, "Filters"), choices);
  const count = h("p", { class: "count", role: "status" });
  const list = h("ol", { class: "lines" }), detail = h("article", { class: "detail" });
  const more = h("button", { type: "button", onclick: () => { length += PAGE; lines(); } },
    "More lines");
  const panes = h("div", { class: "panes" },
    h("section", { class: "list", "aria-label": "Answers" }, count, list, more), detail);
  main.append(h("h1", null, "Texts"), h("form", {
    role: "search", onsubmit: (event) => event.preventDefault(),
  }, search, presets, filters), panes);

  const withoutPlace = () =>
    Object.fromEntries(Object.entries(params).filter(([name]) => !PLACE.includes(name)));
  const placed = (row) =>
    ({ ...params, text: data.texts.id[row.text], of: String(row.pair.seed) });
  const change = (name) => (value) => go("texts", { ...withoutPlace(), [name]: value });

  function show(wanted) {
    params = sound(wanted);
    const key = JSON.stringify(withoutPlace());
    if (key !== listed) {
      listed = key;
      rows = select(params);
      length = PAGE;
      form();
    }
    const own = rows.findIndex((row) => String(data.texts.id[row.text]) === params.text
      && (!params.of || String(row.pair.seed) === params.of));
    at = own < 0 && !params.text && WIDE.matches && rows.length ? 0 : own;
    panes.classList.toggle("reading", Boolean(params.text));
    length = Math.max(length, PAGE * Math.ceil((at + 1) / PAGE));
    lines();
    read();
  }

  function form() {
    const focused = document.activeElement?.name;
    if (search.value !== (params.q ?? "")) search.value = params.q ?? "";
    presets.replaceChildren(...presetLinks(params));
    choices.replaceChildren(...choicesOf(params, change));
    if (focused) choices.querySelector(`[name=${focused}]`)?.focus();
    const texts = new Set(rows.map((row) => row.text)).size;
    const told = texts === rows.length ? "" : ` to ${some(texts, "text")}`;
    count.textContent = `${some(rows.length, "answer")}${told}`;
  }

  function lines() {
    list.replaceChildren(...rows.slice(0, length).map((row, index) =>
      h("li", null, line(row, params, address("texts", placed(row)), index === at))));
    more.hidden = rows.length <= length;
    list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  }

  function read() {
    const text = data.texts.id.findIndex((id) => String(id) === params.text);
    const row = rows[at] ?? (text < 0 ? null : { text, pair: pairOf(params) });
    const told = at < 0 ? "" : `${thousands(at + 1)} of ${thousands(rows.length)}`;
    const to = (step) => rows[at + step] && address("texts", placed(rows[at + step]));
    detail.replaceChildren(...(row
      ? detailOf(row, params, { told, before: at > 0 ? to(-1) : null, after: to(1),
        back: address("texts", withoutPlace()) })
      : [h("p", { class: "quiet" }, rows.length ? "Choose a text." : "No answer is like that.")]));
  }

  // The next answer, or the one before.
  function step(by) {
    const row = rows[at + by];
    if (row) go("texts", placed(row), true);
  }

  show(first);
  return { show, step, search };
}

const pairOf = (params) =>
  pairsOf(params.arm, params.against, params.of)[0] ?? pairsOf(params.arm, params.against)[0];

// What people ask first.
function presetLinks(params) {
  const arm = data.arms[armIndex(params.arm)];
  const keep = { arm: params.arm, seed: params.seed, against: params.against };
  const found = [
    ["All answers", keep],
    ["Surest mistakes", { ...keep, outcome: "error", order: "sure" }],
    arm?.reasoned && ["The reasoning argues for another label", { ...keep, argues: "1" }],
    params.against && [`Only ${params.arm} is right`, { ...keep, cell: "first" }],
    params.against && [`Only ${params.against} is right`, { ...keep, cell: "second" }],
  ];
  return found.filter(Boolean).map(([words, where]) => h("a", {
    href: address("texts", where),
    "aria-current": address("texts", where) === address("texts", params) && "true",
  }, words));
}

function choicesOf(params, change) {
  const box = (name, words, options) =>
    choice(name, words, options, params[name] ?? "", change(name));
  const labels = named(data.labels);
  const outcomes = data.outcomes.slice(1).map((one) => [one, OUTCOMES[one]]);
  const values = (name) => [["", "any"], ...named([...data.texts[name].values].sort())];
  return [
    armChoice(params, change("arm")),
    againstChoice(params, change("against")),
    params.against ? box("cell", "Right in", CELL_WORDS(params.arm, params.against)) : null,
    seedChoice(params, change("seed")),
    box("label", "True label", [["", "any"], ...labels]),
    box("predicted", "Answer", [["", "any"], ...labels, [NO_ANSWER, NO_ANSWER]]),
    box("outcome", "Outcome", [["", "any"], ["right", "right"], ["error", "not right"], ...outcomes]),
    ratedTask() ? box("source", "Source", values("source")) : null,
    ratedTask() ? box("dimension", "Dimension", values("dimension")) : null,
    data.arms[armIndex(params.arm)]?.reasoned
      ? box("argues", "Reasoning", [["", "any"], ["1", "argues for another label"]]) : null,
    box("order", "Order", ORDERS),
  ].filter(Boolean);
}

// A line of the list.
function line({ text, pair }, params, where, current) {
  const answers = [pair.a, ...(params.against ? [pair.b] : [])].map((run) => place(text, run));
  const sure = sureness(answers[0]);
  return h("a", { href: where, "aria-current": current && "true" },
    h("span", { class: "written" }, data.texts.text[text].slice(0, 240)),
    h("span", { class: "told" }, chip(data.texts.label[text]), h("span", null, "\u2192"),
      answers.map(verdict),
      sure < 0 ? null : h("span", { class: "number" }, percent(sure)),
      seedChoice(params) && !params.seed ? h("span", null, `seed ${pair.seed}`) : null));
}
