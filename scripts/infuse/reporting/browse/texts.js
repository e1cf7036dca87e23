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
  const presets = h("p", { class: "presets" });
  const [arms, choices] = [h("div", { class: "choices" }), h("div", { class: "choices" })];
  const filters = h("details", { class: "filters" }, h("summary", null, "Filters"), choices);
  const count = h("p", { class: "count", role: "status" });
  const list = h("ol", { class: "lines" }), detail = h("article", { class: "detail" });
  const more = h("button", { type: "button", onclick: () => { length += PAGE; lines(); point(); } },
    "More lines");
  const panes = h("div", { class: "panes" },
    h("section", { class: "list", "aria-label": "Answers" }, count, list, more), detail);
  add(main, h("h1", null, "Texts"), h("form", {
    role: "search", onsubmit: (event) => event.preventDefault(),
  }, h("div", { class: "asked" }, search, arms), presets, filters), panes);

  const withoutPlace = () =>
    Object.fromEntries(Object.entries(params).filter(([name]) => !PLACE.includes(name)));
  const placed = (row) =>
    ({ ...params, text: data.texts.id[row.text], of: String(row.pair.seed) });
  const change = (name) => (value) => go("texts", { ...withoutPlace(), [name]: value });

  function show(wanted) {
    params = sound(wanted);
    const key = JSON.stringify(withoutPlace());
    const other = key !== listed;
    if (other) {
      listed = key;
      rows = select(params);
      length = PAGE;
      form();
    }
    const own = rows.findIndex((row) => data.texts.id[row.text] === params.text
      && (!params.of || String(row.pair.seed) === params.of));
    at = own < 0 && !params.text && WIDE.matches && rows.length ? 0 : own;
    main.classList.toggle("reading", Boolean(params.text));
    const needed = PAGE * Math.ceil((at + 1) / PAGE);
    if (other || needed > length) {
      length = Math.max(length, needed);
      lines();
    }
    point();
    read();
  }

  function form() {
    const focused = document.activeElement?.name;
    if (search.value !== (params.q ?? "")) search.value = params.q ?? "";
    presets.replaceChildren(...presetLinks(params));
    arms.replaceChildren(...armChoices(params, change));
    choices.replaceChildren(...filterChoices(params, change));
    filters.open ||= FOLDED.some((name) => params[name]);
    if (focused) main.querySelector(`select[name=${focused}]`)?.focus();
    const texts = new Set(rows.map((row) => row.text)).size;
    const told = texts === rows.length ? "" : ` to ${some(texts, "text")}`;
    count.textContent = `${some(rows.length, "answer")}${told}`;
  }

  function lines() {
    const several = !params.seed && pairsOf(params.arm, params.against).length > 1;
    list.replaceChildren(...rows.slice(0, length).map((row) =>
      h("li", null, line(row, params, address("texts", placed(row)), several))));
    more.hidden = rows.length <= length;
  }

  // Show in the list which answer is read.
  function point() {
    list.querySelector("[aria-current]")?.removeAttribute("aria-current");
    list.children[at]?.firstChild.setAttribute("aria-current", "true");
    const [current, pane] = [list.querySelector("[aria-current]"), list.parentElement];
    if (!current || !WIDE.matches) return;
    const [own, around] = [current, pane].map((one) => one.getBoundingClientRect());
    pane.scrollTop += Math.min(own.top - around.top, 0) + Math.max(own.bottom - around.bottom, 0);
  }

  function read() {
    const text = data.texts.id.indexOf(params.text);
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

const box = (params, change) => (name, words, options) =>
  choice(name, words, options, params[name] ?? "", change(name));

function armChoices(params, change) {
  const cells = CELL_WORDS(params.arm, params.against);
  return [
    armChoice(params, change("arm")),
    againstChoice(params, change("against")),
    params.against ? box(params, change)("cell", "Right in", cells) : null,
    seedChoice(params, change("seed")),
  ].filter(Boolean);
}

const FOLDED = ["label", "predicted", "outcome", "source", "dimension", "argues", "order"];

function filterChoices(params, change) {
  const one = box(params, change);
  const labels = named(data.labels);
  const outcomes = data.outcomes.slice(1).map((name) => [name, OUTCOMES[name]]);
  const values = (name) => [["", "any"], ...named([...data.texts[name].values].sort())];
  return [
    one("label", "True label", [["", "any"], ...labels]),
    one("predicted", "Answer", [["", "any"], ...labels, [NONE, NO_ANSWER]]),
    one("outcome", "Outcome", [["", "any"], ["right", "right"], ["error", "not right"], ...outcomes]),
    ratedTask() ? one("source", "Source", values("source")) : null,
    ratedTask() ? one("dimension", "Dimension", values("dimension")) : null,
    data.arms[armIndex(params.arm)]?.reasoned
      ? one("argues", "Reasoning", [["", "any"], ["1", "argues for another label"]]) : null,
    one("order", "Order", ORDERS),
  ].filter(Boolean);
}

// A line of the list.
function line({ text, pair }, params, where, several) {
  const answers = [pair.a, ...(params.against ? [pair.b] : [])].map((run) => place(text, run));
  const sure = sureness(answers[0]);
  return h("a", { href: where },
    h("span", { class: "written" }, data.texts.text[text].slice(0, 240)),
    h("span", { class: "told" }, chip(data.texts.label[text]), h("span", null, "\u2192"),
      answers.map(verdict),
      sure < 0 ? null : h("span", { class: "number" }, percent(sure)),
      several ? h("span", null, `seed ${pair.seed}`) : null));
}
