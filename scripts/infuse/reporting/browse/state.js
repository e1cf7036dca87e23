// Where one is: #view?name=value&... Each view, and each choice in it, has its own address.

function whereabouts() {
  const [name, query = ""] = location.hash.slice(1).split("?");
  return [name, Object.fromEntries(new URLSearchParams(query))];
}

function address(view, params = {}) {
  const told = Object.entries(params).filter(([, value]) => value !== "" && value !== undefined);
  const query = new URLSearchParams(told.sort()).toString();
  return `#${view}${query ? "?" + query : ""}`;
}

// Go there; in place of the present address, where it is not worth a step back.
function go(view, params, instead = false) {
  const where = address(view, params);
  if (instead) history.replaceState(null, "", where);
  else if (location.hash !== where) history.pushState(null, "", where);
  route();
}
