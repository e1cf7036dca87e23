// Elements. What comes from the data becomes text, never markup: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((one) => one !== null && one !== undefined));
  return element;
}

const add = (element, ...children) => fill(element, null, children);
const h = (tag, properties, ...children) =>
  fill(document.createElement(tag), properties, children);
const svg = (tag, properties, ...children) =>
  fill(document.createElementNS(SVG, tag), properties, children);

const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;
const thousands = new Intl.NumberFormat("en-US").format;
const some = (count, what) => `${thousands(count)} ${what}${count === 1 ? "" : "s"}`;

// A select box with a label; options are [value, words].
function choice(name, words, options, value, change) {
  const box = h("select", { name, onchange: () => change(box.value) },
    options.map(([one, told]) => h("option", { value: one, selected: one === value }, told)));
  return h("label", { class: "choice" }, h("span", null, words), box);
}

// A table that can be scrolled sideways, by keys too.
const scrolled = (name, table) =>
  h("div", { class: "scrolled", tabindex: 0, role: "region", "aria-label": name }, table);

// A table whose columns sort. Columns: {name, cell(row), sort(row), number, falls}: a number stands
// to the right, and what falls is sorted from the top down first.
function sorted(name, columns, rows) {
  const body = h("tbody");
  const heads = columns.map((column) => {
    const button = h("button", { type: "button", onclick: () => by(column) }, column.name);
    return h("th", { scope: "col", class: column.number && "number" }, button);
  });
  let last = null, falling = false;

  function by(column) {
    falling = column === last ? !falling : Boolean(column.number || column.falls);
    last = column;
    const known = rows.filter((row) => column.sort(row) !== null);
    const order = (a, b) => {
      const [x, y] = [column.sort(a), column.sort(b)];
      return (x < y ? -1 : x > y ? 1 : 0) * (falling ? -1 : 1);
    };
    show([...known.sort(order), ...rows.filter((row) => column.sort(row) === null)]);
    heads.forEach((head, at) => {
      if (columns[at] === column) head.ariaSort = falling ? "descending" : "ascending";
      else head.removeAttribute("aria-sort");
    });
  }
  function show(lines) {
    body.replaceChildren(...lines.map((row) => h("tr", null, columns.map((column, at) =>
      h(at ? "td" : "th", { class: column.number && "number", scope: at ? null : "row" },
        column.cell(row))))));
  }
  show(rows);
  return scrolled(name, h("table", null, h("thead", null, h("tr", null, heads)), body));
}

// Columns of a table whose cells are texts, as results/*.csv has them.
function textColumn(key, name = key) {
  const number = (row) => (/^[-+]?[\d.]/.test(row[key] ?? "") ? parseFloat(row[key]) : null);
  return { name, key, cell: (row) => row[key] ?? "", sort: number, number: true };
}
