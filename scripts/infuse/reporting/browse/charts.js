// Small charts, as SVG whose colours are those of the style sheet.

const FRAME = { width: 320, height: 170, left: 40, right: 8, top: 8, bottom: 30 };

// Round numbers between two, about as many as asked for.
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let one = Math.ceil(low / step) * step; one <= high + step / 1e6; one += step) {
    found.push(Number(one.toPrecision(12)));
  }
  return found;
}

// Round numbers on a logarithmic axis, whose range is in powers of ten.
function powers(low, high) {
  const found = [];
  for (let power = Math.floor(low); power <= high; power++) {
    for (const one of [1, 2, 5]) found.push(one * 10 ** power);
  }
  const inside = found.filter((one) => Math.log10(one) >= low && Math.log10(one) <= high);
  const whole = inside.filter((one) => Number.isInteger(Math.log10(one)));
  return inside.length > 4 && whole.length > 1 ? whole : inside;
}

const short = (number) => (number >= 10000 ? `${number / 1000}k` : String(number));

// Axes, and how numbers become places. Ranges are [low, high]; marks are the numbers beside them.
function axes(xs, ys, x, y, marks = ticks(...ys, 3).map((one) => [one, short(one)])) {
  const { width, height, left, right, top, bottom } = FRAME;
  const across = (one) => left + ((one - xs[0]) / (xs[1] - xs[0] || 1)) * (width - left - right);
  const up = (one) =>
    height - bottom - ((one - ys[0]) / (ys[1] - ys[0] || 1)) * (height - top - bottom);
  const lines = marks.map(([one, words]) => [
    svg("line", { class: "grid", x1: left, x2: width - right, y1: up(one), y2: up(one) }),
    svg("text", { x: left - 6, y: up(one) + 4, "text-anchor": "end" }, words),
  ]);
  const below = ticks(...xs, 4).map((one) =>
    svg("text", { x: across(one), y: height - bottom + 14, "text-anchor": "middle" }, short(one)));
  const told = [
    svg("text", { x: width - right, y: height - 2, "text-anchor": "end" }, x),
    svg("text", { x: 0, y: top + 2 }, y),
  ];
  return { across, up, parts: [lines, below, told] };
}

const drawing = (name, ...parts) => svg("svg", {
  class: "chart", role: "img", "aria-label": name, viewBox: `0 0 ${FRAME.width} ${FRAME.height}`,
}, ...parts);

// Lines of points [x, y] on a logarithmic axis; those of the class "dotted" have a dot at each.
function lineChart(name, lines, x, y) {
  const drawable = (point) => point[1] > 0;
  const points = lines.flatMap((line) => line.points).filter(drawable);
  if (!points.length) return h("p", { class: "quiet" }, "no losses were kept");
  const xs = [0, Math.max(...points.map((point) => point[0]))];
  const logs = points.map((point) => Math.log10(point[1]));
  const ys = [Math.min(...logs), Math.max(...logs)];
  const marks = powers(...ys).map((one) => [Math.log10(one), short(one)]);
  const { across, up: level, parts } = axes(xs, ys, x, y, marks);
  const up = (one) => level(Math.log10(one));
  const drawn = lines.map(({ points: own, kind, title }) => {
    const there = own.filter(drawable);
    const path = there.map(([a, b], at) => `${at ? "L" : "M"}${across(a)} ${up(b)}`).join("");
    const dots = kind === "dotted" && there.map(([a, b]) =>
      svg("circle", { class: kind, cx: across(a), cy: up(b), r: 2.5 },
        svg("title", null, `${title}, step ${a}: ${b.toFixed(4)}`)));
    return [svg("path", { class: kind, d: path }), dots || []];
  });
  return drawing(name, ...parts, ...drawn);
}

// Points [x, y], and the line on which both are the same.
function scatter(name, points, range, x, y) {
  const { across, up, parts } = axes(range, range, x, y);
  const same = svg("line", {
    class: "same", x1: across(range[0]), y1: up(range[0]), x2: across(range[1]), y2: up(range[1]),
  });
  const dots = points.map(([a, b]) => svg("circle", { class: "point", cx: across(a), cy: up(b), r: 2 }));
  return drawing(name, ...parts, same, ...dots);
}

// How often numbers fall into equal parts of their range.
function histogram(name, numbers, x) {
  const high = Math.max(1, ...numbers);
  const width = Math.max(1, Math.ceil(high / 30));
  const bins = new Array(Math.floor(high / width) + 1).fill(0);
  for (const one of numbers) bins[Math.floor(one / width)] += 1;
  const { across, up, parts } = axes([0, bins.length * width], [0, Math.max(...bins)], x, "rows");
  const bars = bins.map((count, at) => {
    const [left, right] = [across(at * width), across((at + 1) * width)];
    return svg("rect", {
      class: "bar", x: left + 0.5, y: up(count), width: Math.max(right - left - 1, 0.5),
      height: up(0) - up(count),
    });
  });
  return drawing(name, ...parts, ...bars);
}

// A share with its interval, on a line from low to high.
function interval(share, low, high, range) {
  const across = (one) => 100 * (one - range[0]) / (range[1] - range[0] || 1);
  const bounds = Number.isFinite(low) &&
    svg("line", { x1: across(low), x2: across(high), y1: 5, y2: 5 });
  return svg("svg", { class: "interval", viewBox: "-4 0 108 10", "aria-hidden": "true" },
    bounds || [], svg("circle", { cx: across(share), cy: 5, r: 3.2 }));
}
