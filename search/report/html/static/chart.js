// A small chart: marks over two axes as SVG, with a hover text, a click, and a zoom by dragging. Colours are those of the style sheet.
const SVG = "http://www.w3.org/2000/svg";
const EACH = 400; // marks with more points than this are one path: thousands of nodes would be slow
const NEAR = 26; // pixels within which a pointer is at a point

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== undefined) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const turns = (count, r, from = 0, inner = null) => Array.from({length: inner === null ? count : 2 * count}, (_, i) => {
  const at = from - Math.PI / 2 + i * (inner === null ? 2 : 1) * Math.PI / count, radius = inner !== null && i % 2 ? inner : r;
  return [radius * Math.cos(at), radius * Math.sin(at)];
});
const SYMBOLS = {
  circle: r => null,
  square: r => turns(4, r * 1.25, Math.PI / 4),
  diamond: r => turns(4, r * 1.35),
  triangle: r => turns(3, r * 1.4),
  pentagon: r => turns(5, r * 1.2),
  star: r => turns(5, r * 1.6, 0, r * .68),
  hexagon: r => turns(6, r * 1.2),
  cross: r => [[-1, -.35], [-.35, -.35], [-.35, -1], [.35, -1], [.35, -.35], [1, -.35], [1, .35], [.35, .35], [.35, 1], [-.35, 1], [-.35, .35], [-1, .35]].map(([x, y]) => [x * r * 1.3, y * r * 1.3]),
};
const f = value => value.toFixed(1);
function symbolPath(symbol, x, y, r) {
  const corners = SYMBOLS[symbol](r);
  if (corners === null) return `M${f(x - r)} ${f(y)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`;
  return "M" + corners.map(([dx, dy]) => `${f(x + dx)} ${f(y + dy)}`).join("L") + "z";
}

function niceTicks(low, high, count) {
  const rough = (high - low) / Math.max(1, count), power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map(m => m * power).find(s => s >= rough * .999) ?? 10 * power;
  if (!(step > 1e-12 * Math.max(Math.abs(low), Math.abs(high)))) return [low, high]; // a zoom beyond what numbers can tell apart
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high * (1 + 1e-12) + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}
function logTicks(low, high, count) {
  for (const parts of [[1, 1.5, 2, 3, 4, 5, 6, 8], [1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
      for (const part of parts) { const value = Number((part * 10 ** power).toPrecision(6)); if (value >= low && value <= high) found.push(value); }
    if (found.length <= count) return found.length > 1 ? found : niceTicks(low, high, Math.min(4, count));
  }
  return [low, high];
}
const tickText = value => value === 0 ? "0" : Math.abs(value) >= 1e6 ? value / 1e6 + "M" : Math.abs(value) >= 1e4 ? value / 1e3 + "k" : String(Number(value.toPrecision(6)));

/* Ticks with their texts, with equally many digits behind the point on a linear axis. */
function labelled(values, axis) {
  const texts = values.map(axis.format ?? tickText);
  const behind = axis.log || axis.format ? 0 : Math.max(0, ...texts.map(text => /^-?\d*\.\d+$/.test(text) ? text.split(".")[1].length : 0));
  return values.map((value, i) => [value, behind && !/[kM]$/.test(texts[i]) ? value.toFixed(behind) : texts[i]]);
}

/* From values to pixels. A log axis takes values above 0 alone. */
function scale(domain, range, log) {
  const [a, b] = log ? domain.map(Math.log) : domain, [p, q] = range;
  const to = value => p + ((log ? Math.log(value) : value) - a) / ((b - a) || 1) * (q - p);
  to.back = pixel => { const value = a + (pixel - p) / ((q - p) || 1) * (b - a); return log ? Math.exp(value) : value; };
  return to;
}

/* The range of what marks hold on an axis, with some air. */
function domainOf(marks, name, axis) {
  if (axis.domain) return axis.domain;
  let low = Infinity, high = -Infinity;
  const take = value => { if (value !== null && value !== undefined && Number.isFinite(value) && (!axis.log || value > 0)) { if (value < low) low = value; if (value > high) high = value; } };
  for (const mark of marks) {
    if (mark.outside) continue;
    for (const value of mark[name] ?? []) take(value);
    if (mark.counts !== false) for (const pair of mark[name + "bars"] ?? []) if (pair) pair.forEach(take);
    if (mark.kind === "band" && name === "y") for (const value of [...mark.low, ...mark.high]) take(value);
  }
  if (!Number.isFinite(low)) return axis.log ? [1, 10] : [0, 1];
  if (axis.zero) low = Math.min(0, low);
  if (low === high) return axis.log ? [low / 1.5, high * 1.5] : [low - (Math.abs(low) || 1) * .05, high + (Math.abs(high) || 1) * .05];
  const air = axis.air ?? .05;
  if (axis.log) { const factor = (high / low) ** air; return [low / factor, high * factor]; }
  return [axis.zero && low === 0 ? 0 : low - (high - low) * air, high + (high - low) * air];
}

/*
 * Draws a chart into `host`, and again whenever its size changes.
 * spec: {x, y: {title, log, domain, zero, format, ticks: [[value, text]], grid}, marks, hover: row => lines, click: row => void}
 * marks: points {x, y, rows, symbol, size, style, open, xbars, ybars, each}, line {x, y, step, style}, band {x, low, high, style},
 *        columns {x, y, from, wide, style, rows}, rug {x, rows, style}, across {at, label, style} and along {at, label, style} (lines over all),
 *        names {x, y, texts, style}, rings {x, y, size, style, texts}
 */
function chart(host, spec) {
  host._spec = spec;
  if (!host._watch) {
    host._watch = new ResizeObserver(() => { if (host.clientWidth && host.clientWidth !== host._width) paint(host); });
    host._watch.observe(host);
  }
  paint(host);
}

function paint(host) {
  const spec = host._spec, width = host._width = host.clientWidth, height = host.clientHeight;
  if (!width || !height) return;
  const y = spec.y, x = spec.x, zoom = host._zoom ?? {};
  const ydomain = zoom.y ?? domainOf(spec.marks, "y", y), xdomain = zoom.x ?? domainOf(spec.marks, "x", x);
  const yticks = y.ticks ?? labelled((y.log ? logTicks : niceTicks)(...ydomain, Math.max(2, height / 55)), y);
  const widest = yticks.reduce((most, [, text]) => Math.max(most, text.length), 0);
  const box = {left: spec.left ?? Math.min(width * .4, 14 + 7.2 * widest) + (y.title ? 18 : 0), right: width - (spec.right ?? 14), top: spec.top ?? 16, bottom: height - (x.title ? 44 : x.ticks?.length === 0 ? 5 : 24) - (x.slanted ?? 0)};
  const xticks = x.ticks ?? labelled((x.log ? logTicks : niceTicks)(...xdomain, Math.max(2, (box.right - box.left) / 70)), x);
  const X = scale(xdomain, [box.left, box.right], x.log), Y = scale(ydomain, [box.bottom, box.top], y.log);
  const root = svg("svg", {viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true"});
  const clip = `clip-${host.id}`;
  root.append(svg("clipPath", {id: clip}, svg("rect", {x: box.left - 1, y: box.top - 8, width: box.right - box.left + 2, height: box.bottom - box.top + 9})));
  const grid = svg("g", {class: "grid"}), inner = svg("g", {"clip-path": `url(#${clip})`});
  for (const [value, text] of yticks) {
    if (Y(value) < box.top - 9 || Y(value) > box.bottom + 1) continue;
    if (y.grid !== false) grid.append(svg("line", {x1: box.left, x2: box.right, y1: f(Y(value)), y2: f(Y(value))}));
    grid.append(svg("text", {x: box.left - 8, y: f(Y(value) + 4), "text-anchor": "end"}, text));
  }
  for (const [value, text] of xticks) {
    if (X(value) < box.left - 1 || X(value) > box.right + 1) continue;
    if (x.grid !== false) grid.append(svg("line", {x1: f(X(value)), x2: f(X(value)), y1: box.top, y2: box.bottom}));
    const label = svg("text", {x: f(X(value)), y: box.bottom + 18, "text-anchor": x.slanted ? "end" : "middle"}, text);
    if (x.slanted) label.setAttribute("transform", `rotate(-40 ${f(X(value))} ${box.bottom + 14})`);
    grid.append(label);
  }
  grid.append(svg("line", {class: "base", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom}));
  if (x.title) grid.append(svg("text", {class: "title", x: (box.left + box.right) / 2, y: height - 6, "text-anchor": "middle"}, x.title));
  if (y.title) grid.append(svg("text", {class: "title", x: -(box.top + box.bottom) / 2, y: 13, transform: "rotate(-90)", "text-anchor": "middle"}, y.title));
  root.append(grid, inner);
  const spots = [], taken = [], place = {X, Y, box, spots, taken, root, inner, spec};
  for (const mark of spec.marks) MARKS[mark.kind](mark, place);
  host.replaceChildren(root, element("div", {class: "tip", hidden: true}));
  listen(host, place);
}

const MARKS = {
  points(mark, {X, Y, box, spots, inner, spec}) {
    const group = svg("g", {class: "points " + mark.style + (mark.open ? " open" : "")}), r = mark.size / 2;
    const bars = [], shapes = [];
    mark.x.forEach((value, i) => {
      if (value === null || mark.y[i] === null) return;
      const px = X(value), py = Y(mark.y[i]);
      if (!Number.isFinite(px) || !Number.isFinite(py)) return;
      const across = mark.xbars?.[i], along = mark.ybars?.[i];
      if (across) bars.push(`M${f(Math.max(box.left - 5, across[0] > 0 || !spec.x.log ? X(across[0]) : -Infinity))} ${f(py)}H${f(Math.min(box.right + 5, X(across[1])))}`);
      if (along) bars.push(`M${f(px)} ${f(Y(along[0]))}V${f(Y(along[1]))}`);
      if (px < box.left - r || px > box.right + r || py < box.top - 9 || py > box.bottom + r) return;
      shapes.push([symbolPath(mark.symbol ?? "circle", px, py, r), mark.rows?.[i]]);
      if (mark.rows) spots.push({x: px, y: py, row: mark.rows[i]});
    });
    if (bars.length) group.append(svg("path", {class: "bars", d: bars.join("")}));
    if (shapes.length <= EACH && mark.rows) for (const [d, row] of shapes) group.append(svg("path", {class: "point", "data-row": row, d}));
    else group.append(svg("path", {class: "point", d: shapes.map(([d]) => d).join("")}));
    inner.append(group);
  },
  line(mark, {X, Y, inner}) {
    let d = "", open = false;
    mark.x.forEach((value, i) => {
      if (value === null || mark.y[i] === null) { open = false; return; }
      if (!Number.isFinite(X(value)) || !Number.isFinite(Y(mark.y[i]))) return; // 0 or less on a logarithmic axis
      const px = f(X(value)), py = f(Y(mark.y[i]));
      d += !open ? `M${px} ${py}` : mark.step ? `H${px}V${py}` : `L${px} ${py}`;
      open = true;
    });
    inner.append(svg("path", {class: "line " + mark.style, d}));
  },
  band(mark, {X, Y, inner}) {
    const up = mark.x.map((v, i) => [X(v), Y(mark.high[i])]), down = mark.x.map((v, i) => [X(v), Y(mark.low[i])]);
    const steps = points => points.map(([px, py], i) => i === 0 ? `${f(px)} ${f(py)}` : mark.step ? `${f(px)} ${f(points[i - 1][1])}L${f(px)} ${f(py)}` : `${f(px)} ${f(py)}`);
    if (up.length) inner.append(svg("path", {class: "band " + mark.style, d: "M" + steps(up).join("L") + "L" + (mark.step ? steps(down).reverse().map(part => part.split("L").reverse().join("L")) : steps(down).reverse()).join("L") + "z"}));
  },
  columns(mark, {X, Y, spots, inner}) {
    const group = svg("g", {class: "columns " + mark.style}), half = Math.max(1, (X(1) - X(0)) * (mark.wide ?? .7) / 2), shift = (X(1) - X(0)) * (mark.shift ?? 0);
    mark.x.forEach((value, i) => {
      if (mark.y[i] === null) return;
      const from = Y(mark.from?.[i] ?? 0), to = Y(mark.y[i]), px = X(value) + shift;
      group.append(svg("rect", {x: f(px - half), y: f(Math.min(from, to)), width: f(2 * half), height: f(Math.max(.5, Math.abs(from - to))), class: mark.classes?.[i] ?? null, "data-row": mark.rows?.[i]}));
      if (mark.rows) spots.push({x: px, y: (from + to) / 2, row: mark.rows[i], half});
    });
    inner.append(group);
  },
  rows(mark, {X, Y, spots, inner}) {
    const group = svg("g", {class: "columns " + mark.style}), half = Math.max(1, Math.abs(Y(1) - Y(0)) * (mark.wide ?? .6) / 2);
    mark.y.forEach((value, i) => {
      const from = X(mark.from?.[i] ?? 0), to = X(mark.x[i]);
      group.append(svg("rect", {x: f(Math.min(from, to)), y: f(Y(value) - half), width: f(Math.max(.5, Math.abs(to - from))), height: f(2 * half), class: mark.classes?.[i] ?? null}));
      if (mark.rows) spots.push({x: (from + to) / 2, y: Y(value), row: mark.rows[i], half: Math.abs(to - from) / 2 + 40});
    });
    inner.append(group);
  },
  cells(mark, {X, box, spots, inner}) {
    const half = (X(1) - X(0)) * .37, group = svg("g", {class: "cells"});
    mark.x.forEach((value, i) => {
      group.append(svg("rect", {x: f(X(value) - half), y: box.top, width: f(2 * half), height: box.bottom - box.top, class: mark.classes[i]}));
      if (half > 7 + 2.5 * (mark.texts[i].length - 1)) group.append(svg("text", {x: f(X(value)), y: (box.top + box.bottom) / 2 + 4, "text-anchor": "middle", class: mark.classes[i]}, mark.texts[i]));
      spots.push({x: X(value), y: (box.top + box.bottom) / 2, row: mark.rows[i], half});
    });
    inner.append(group);
  },
  rug(mark, {X, box, spots, inner}) {
    const d = mark.x.map((value, i) => { if (!Number.isFinite(X(value))) return ""; spots.push({x: X(value), y: box.bottom - 5, row: mark.rows[i]}); return `M${f(X(value))} ${box.bottom}v-10`; });
    inner.append(svg("path", {class: "rug " + mark.style, d: d.join("")}));
  },
  across(mark, {Y, box, root}) {
    if (Y(mark.at) < box.top - 9 || Y(mark.at) > box.bottom) return;
    root.append(svg("line", {class: "limit " + mark.style, x1: box.left, x2: box.right, y1: f(Y(mark.at)), y2: f(Y(mark.at))}));
    if (mark.label) root.append(svg("text", {class: "limit-text " + mark.style, x: box.right, y: f(Y(mark.at) - 5), "text-anchor": "end"}, mark.label));
  },
  along(mark, {X, box, root, taken}) {
    if (!(X(mark.at) >= box.left) || X(mark.at) > box.right) return;
    root.append(svg("line", {class: "limit " + mark.style, x1: f(X(mark.at)), x2: f(X(mark.at)), y1: box.top - 4, y2: box.bottom}));
    const left = X(mark.at) > box.right - 110;
    if (mark.label) root.append(svg("text", {class: "limit-text " + mark.style, x: f(X(mark.at) + (left ? -5 : 5)), y: box.top + 4, "text-anchor": left ? "end" : "start"}, mark.label));
    taken.push([X(mark.at) - (left ? 110 : 0), box.top - 8, X(mark.at) + (left ? 0 : 110), box.top + 8]);
  },
  names(mark, {X, Y, box, taken, root}) {
    const overlaps = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
    mark.x.forEach((value, i) => {
      const px = X(value), py = Y(mark.y[i]), wide = mark.texts[i].length * 6.1;
      if (!Number.isFinite(px) || px < box.left || px > box.right || py < box.top - 9 || py > box.bottom) return;
      for (const [dx, dy, anchor] of [[8, -9, "start"], [8, 16, "start"], [-8, -9, "end"], [-8, 16, "end"], [8, -22, "start"], [8, 29, "start"], [-8, -22, "end"]]) {
        const left = anchor === "start" ? px + dx : px + dx - wide, space = [left, py + dy - 11, left + wide, py + dy + 3];
        if (space[0] < box.left || space[2] > box.right + 10 || space[1] < 0 || space[3] > box.bottom || taken.some(other => overlaps(space, other))) continue;
        taken.push(space);
        root.append(svg("text", {class: "name " + mark.style, x: f(px + dx), y: f(py + dy), "text-anchor": anchor}, mark.texts[i]));
        return;
      }
    });
  },
  rings(mark, {X, Y, root}) {
    mark.x.forEach((value, i) => {
      const px = X(value), py = Y(mark.y[i]);
      if (!Number.isFinite(px) || !Number.isFinite(py)) return;
      root.append(svg("circle", {class: "ring " + mark.style, cx: f(px), cy: f(py), r: mark.size / 2}));
      if (mark.texts) root.append(svg("text", {class: "ring-text " + mark.style, x: f(px), y: f(py - mark.size / 2 - 4), "text-anchor": "middle"}, mark.texts[i]));
    });
  },
};

function nearest(spots, x, y) {
  let best = null, least = NEAR ** 2;
  for (const spot of spots) {
    const dx = spot.half ? Math.max(0, Math.abs(spot.x - x) - spot.half) : spot.x - x, dy = spot.half ? (spot.y - y) / 8 : spot.y - y, far = dx * dx + dy * dy;
    if (far < least) { least = far; best = spot; }
  }
  return best;
}

function listen(host, {X, Y, box, spots, root}) {
  const spec = host._spec, tip = host.querySelector(".tip");
  const at = event => { const frame = root.getBoundingClientRect(); return [event.clientX - frame.left, event.clientY - frame.top]; };
  let from = null, frame = null;
  root.addEventListener("pointermove", event => {
    const [x, y] = at(event);
    if (from && Math.hypot(x - from[0], y - from[1]) > 6) {
      frame ??= root.appendChild(svg("rect", {class: "zoom"}));
      frame.setAttribute("x", Math.min(x, from[0])); frame.setAttribute("y", Math.min(y, from[1]));
      frame.setAttribute("width", Math.abs(x - from[0])); frame.setAttribute("height", Math.abs(y - from[1]));
      tip.hidden = true;
      return;
    }
    const spot = spec.hover ? nearest(spots, x, y) : null;
    root.style.cursor = spot && spec.click ? "pointer" : "";
    tip.hidden = spot === null;
    if (spot === null) return;
    if (tip._row !== spot.row) { tip._row = spot.row; tip.replaceChildren(...spec.hover(spot.row).filter(Boolean).map((line, i) => element(i ? "div" : "strong", {}, line))); }
    const wide = Math.min(320, host.clientWidth - 8);
    tip.style.maxWidth = wide + "px";
    tip.style.left = Math.max(0, Math.min(host.clientWidth - tip.offsetWidth, spot.x + 14 + tip.offsetWidth > host.clientWidth ? spot.x - 14 - tip.offsetWidth : spot.x + 14)) + "px";
    tip.style.top = Math.max(0, Math.min(host.clientHeight - tip.offsetHeight, spot.y - tip.offsetHeight / 2)) + "px";
  });
  root.addEventListener("pointerleave", () => { tip.hidden = true; });
  root.addEventListener("pointerdown", event => { if (spec.zoom && event.pointerType === "mouse" && event.button === 0) { from = at(event); root.setPointerCapture(event.pointerId); } });
  root.addEventListener("pointercancel", () => { from = null; frame?.remove(); frame = null; });
  root.addEventListener("pointerup", event => {
    const [x, y] = at(event), begun = from, dragged = frame !== null;
    from = null; frame?.remove(); frame = null;
    if (dragged && begun && Math.abs(x - begun[0]) > 12 && Math.abs(y - begun[1]) > 12) {
      const pair = (a, b) => a < b ? [a, b] : [b, a];
      host._zoom = {x: pair(X.back(x), X.back(begun[0])), y: pair(Y.back(y), Y.back(begun[1]))};
      paint(host);
    } else if (!dragged) {
      const spot = nearest(spots, x, y);
      if (spot && spec.click) spec.click(spot.row);
    }
  });
  root.addEventListener("dblclick", () => { if (host._zoom) { host._zoom = null; paint(host); } });
}

/* A legend of what marks look like. */
function legend(entries) {
  return element("p", {class: "legend"}, ...entries.map(({symbol = "circle", style, open, text, line}) => {
    const picture = svg("svg", {width: 22, height: 14, "aria-hidden": "true"});
    if (line) picture.append(svg("path", {class: "line " + style, d: "M1 7H21"}));
    else if (symbol === "ring") picture.append(svg("circle", {class: "ring " + style, cx: 11, cy: 7, r: 6}));
    else if (symbol === "rug") picture.append(svg("path", {class: "rug " + style, d: "M6 12v-10M11 12v-10M16 12v-10"}));
    else if (symbol === "column") picture.append(svg("g", {class: "columns " + style}, svg("rect", {x: 4, y: 2, width: 14, height: 10})));
    else picture.append(svg("g", {class: "points " + style + (open ? " open" : "")}, svg("path", {class: "point", d: symbolPath(symbol, 11, 7, 4.2)})));
    return element("span", {}, picture, text);
  }));
}
