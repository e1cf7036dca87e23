// The frame: views, and keys.

const VIEWS = {
  arms: ["Arms", armsView],
  confusion: ["Confusion", confusionView],
  texts: ["Texts", textsView],
  reasonings: ["Reasonings", reasoningsView],
  ratings: ["Ratings", ratingsView],
  about: ["About", aboutView],
};
let present = { name: null }; // the view that is shown

function route() {
  showView(...whereabouts());
  document.documentElement.dataset.shown = location.hash; // tests wait for it
}

function showView(asked, params) {
  const name = asked in VIEWS && (asked !== "ratings" || ratedTask()) ? asked : "arms";
  const main = document.querySelector("main");
  if (present.name === name && present.show) {
    present.show(params);
    return;
  }
  const moved = present.name !== null && present.name !== name;
  main.className = name;
  main.replaceChildren();
  present = { name, ...VIEWS[name][1](main, params) };
  for (const link of document.querySelectorAll("header nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${VIEWS[name][0]} \u00b7 ${data.experiment}`;
  if (moved) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true }); // a screen reader begins there
  }
}

function frame() {
  const views = Object.entries(VIEWS).filter(([name]) => name !== "ratings" || ratedTask());
  document.querySelector("header").append(
    h("button", {
      type: "button", class: "skip", onclick: () => document.querySelector("main").focus(),
    }, "To the content"),
    h("p", { class: "name" }, data.experiment),
    h("nav", { "aria-label": "Views" }, views.map(([name, [words]]) =>
      h("a", { href: address(name), "data-view": name }, words))));
}

// j and k, or the arrows, go through the answers; a slash goes to the search.
const STEPS = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1 };
function keyed(event) {
  const typing = event.target.closest("input, select, textarea, [role=region]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in STEPS && present.step) {
    event.preventDefault();
    present.step(STEPS[event.key]);
  } else if (event.key === "/" && present.search) {
    event.preventDefault();
    present.search.focus();
  }
}

// A file that was cut short on its way, or a browser without what the page needs.
function failed(error) {
  document.querySelector("main").replaceChildren(
    h("h1", null, "This page can't be shown"),
    h("p", null, "Either the file is damaged, or the browser is older than 2024."),
    h("p", { class: "quiet" }, String(error)));
}

async function main() {
  const place = document.getElementById("data");
  data = await unpack(place.textContent);
  place.remove(); // its letters are no longer needed
  frame();
  addEventListener("hashchange", route);
  document.addEventListener("keydown", keyed);
  route();
}
