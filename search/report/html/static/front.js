// The front: the metric against what a model costs.
const SHAPES = ["circle", "square", "diamond", "triangle", "pentagon", "hexagon", "cross", "star"];
const MOST_BARS = 300;

const AXES = new Map();
const perTarget = targets.length > 1 ? name => ` on ${name}` : () => "";
if (apart) AXES.set("latency:", {title: "latency on a model's own target, p50 ms", of: row => latency(row, "p50"), ends: row => [latency(row, "low"), latency(row, "high")]});
for (const name of targets) AXES.set("latency:" + name, {title: `latency${perTarget(name)}, p50 ms`, of: row => D.latency[name].p50[row], ends: row => [D.latency[name].low[row], D.latency[name].high[row]]});
AXES.set("bytes", {title: "size of the file, kB", of: row => T.bytes[row] === null ? null : T.bytes[row] / 1e3});
AXES.set("zstd", {title: "compressed size, kB", of: row => T.zstd[row] === null ? null : T.zstd[row] / 1e3});
for (const name of targets) {
  AXES.set("memory:" + name, {title: `peak memory${perTarget(name)}, MB`, of: row => D.latency[name].memory[row]});
  AXES.set("energy:" + name, {title: `energy of an inference${perTarget(name)}, mJ`, of: row => D.latency[name].energy[row]});
}
const known = value => value !== null && value !== undefined;
for (const [name, axis] of AXES) if (!T.number.some((_, row) => known(axis.of(row)))) AXES.delete(name);

/* Rows that no other of them beats in the metric and on this axis, cheapest first. */
function frontRows(rows, axis) {
  const found = [];
  for (const row of [...rows].sort((a, b) => axis.of(a) - axis.of(b) || (better(a, T.metric[a], T.metric[b]) ? -1 : 1))) {
    const last = found.at(-1);
    if (last === undefined || better(row, T.metric[row], T.metric[last])) found.push(row);
  }
  return found;
}

function hover(row) {
  const lines = [`trial ${T.number[row]} (${T.label[row]})${several ? " of " + study(row).name : ""}`];
  if (study(row).baseline) lines[0] = T.label[row];
  if (T.state[row] === "gated") return [...lines, "stopped at the gate: " + T.reason[row], T.plan[row]];
  lines.push(`${study(row).metric.name} ${metricText(T.metric[row])}${known(T.metricLow[row]) ? ` (${interval(T.metricLow[row], T.metricHigh[row], metricText)})` : ""}`);
  for (const name of targets) if (known(D.latency[name].p50[row]))
    lines.push(`${ms(D.latency[name].p50[row])} ms${known(D.latency[name].low[row]) ? ` (${interval(D.latency[name].low[row], D.latency[name].high[row], ms)})` : ""}${perTarget(name)}`);
  if (known(T.bytes[row])) lines.push(`${kilobytes(T.bytes[row])} kB${T.speedUp[row] ? `, ${T.speedUp[row].toFixed(2)} times as fast as the teacher` : ""}`);
  return [...lines, T.plan[row], T.disturbed[row] ? "disturbed: other work ran while it was measured" : ""];
}

function points(rows, axis, style, symbol, size, more = {}) {
  const bars = state.bars && more.bars && rows.length <= MOST_BARS;
  const ends = (low, high) => known(low) && known(high) ? [low, high] : null;
  return {
    kind: "points", style, symbol, size, open: more.open, counts: false, rows, x: rows.map(axis.of), y: rows.map(row => T.metric[row]),
    xbars: bars && axis.ends ? rows.map(row => ends(...axis.ends(row))) : null,
    ybars: bars ? rows.map(row => ends(T.metricLow[row], T.metricHigh[row])) : null,
  };
}

function frontMarks(axis) {
  const marks = [], keys = [];
  const usable = row => finished(row) && known(axis.of(row));
  D.studies.forEach((one, index) => {
    const rows = [];
    for (let row = 0; row < COUNT; row++) if (T.study[row] === index && usable(row)) rows.push(row);
    const style = several ? `study${index % 6}` : "front", symbol = several ? SHAPES[index % SHAPES.length] : "circle";
    if (one.baseline) {
      marks.push(points(rows, axis, style, symbol, 10, {bars: true}));
      keys.push({symbol, style, text: one.name});
      return;
    }
    const best = frontRows(rows, axis), onFront = new Set(best);
    for (const row of rows) if (T.front[row]) onFront.add(row);
    const beaten = rows.filter(row => !onFront.has(row) && (several || !T.hand[row]));
    if (beaten.length) marks.push(points(beaten, axis, several ? style + " faint" : "faint", symbol, several ? 4 : 5, {open: true}));
    marks.push({kind: "line", style, x: best.map(axis.of), y: best.map(row => T.metric[row]), step: true});
    const hand = several ? [] : rows.filter(row => T.hand[row] && T.origin[row] !== "teacher");
    const teacher = several ? [] : rows.filter(row => T.origin[row] === "teacher");
    if (hand.length) marks.push(points(hand, axis, "hand", "square", 8, {bars: true}));
    if (teacher.length) marks.push(points(teacher, axis, "hand", "star", 11, {bars: true}));
    marks.push(points([...onFront].filter(row => several || !T.hand[row]), axis, style, symbol, 9, {bars: true}));
    keys.push({symbol, style, text: several ? one.name : "the front"});
    if (hand.length) keys.push({symbol: "square", style: "hand", text: "by hand"});
    if (teacher.length) keys.push({symbol: "star", style: "hand", text: "teacher"});
    if (beaten.length && !several) keys.push({style: "faint", open: true, text: "beaten"});
    const named = [...hand, ...teacher].sort((a, b) => Number(T.origin[b] === "teacher") - Number(T.origin[a] === "teacher") || axis.of(a) - axis.of(b));
    if (named.length) marks.push({kind: "names", style: "hand", outside: true, x: named.map(axis.of), y: named.map(row => T.metric[row]), texts: named.map(row => T.label[row])});
  });
  if (state.axis.startsWith("latency:")) {
    const gated = [];
    for (let row = 0; row < COUNT; row++) if (T.state[row] === "gated" && known(T.gateMs[row])) gated.push(row);
    if (gated.length) { marks.push({kind: "rug", style: "faint", outside: true, x: gated.map(row => T.gateMs[row]), rows: gated}); keys.push({symbol: "rug", style: "faint", text: "stopped at the gate"}); }
  }
  const ring = (rows, style, size, texts) => marks.push({kind: "rings", style, size, outside: true, texts, x: rows.map(axis.of), y: rows.map(row => T.metric[row])});
  const taken = choice(), pinned = state.pins.filter(usable);
  if (taken !== null && usable(taken)) { ring([taken], "choice", 20, null); keys.push({symbol: "ring", style: "choice", text: "the choice"}); }
  if (pinned.length) ring(pinned, "pin", 15, pinned.map(row => "AB"[state.pins.indexOf(row)]));
  return {marks, keys};
}

function drawFront() {
  const host = $("chart");
  if (!host) return;
  if (!AXES.size) { host.classList.remove("tall"); host.classList.add("nothing"); host.replaceChildren(element("p", {class: "note"}, "No model was measured yet.")); return; }
  const axis = AXES.get(state.axis), {marks, keys} = frontMarks(axis);
  let low = Infinity, high = 0;
  for (const mark of marks) if (mark.kind === "points") for (const x of mark.x) { if (x > 0) { low = Math.min(low, x); high = Math.max(high, x); } }
  const log = state.log ?? high > 5 * low;
  $("log").checked = log;
  const one = D.studies[0];
  const budget = state.touched ? state.budget : one.budgets?.[budgetTarget()] ?? null;
  if (state.axis.startsWith("latency:") && known(budget)) marks.unshift({kind: "along", style: "choice", at: budget, label: `budget ${Number(budget.toPrecision(4))} ms${one.percentile === 50 ? "" : ` (p${one.percentile})`}`});
  const least = state.touched ? state.least : one.leastMetric;
  if (known(least)) marks.unshift({kind: "across", style: "choice", at: least, label: `${one.metric.name} ${metricText(least)}`});
  chart(host, {
    x: {title: axis.title, log, zero: !log}, y: {title: one.metric.name + (one.metric.maximized ? "" : " (lower is better)"), air: .09},
    marks, hover, zoom: true, click: row => { if (finished(row)) pin(row); },
  });
  $("chart-legend").replaceChildren(legend(keys));
}

function setUpFront() {
  if (!$("axis")) return;
  for (const [name, axis] of AXES) $("axis").append(element("option", {value: name}, axis.title));
  if (!AXES.has(state.axis)) state.axis = [...AXES.keys()][0] ?? state.axis;
  for (const control of document.querySelectorAll("section[aria-labelledby=front] .controls, section[aria-labelledby=front] > .note")) control.hidden = !AXES.size;
  $("axis").value = state.axis;
  $("axis").addEventListener("change", () => { state.axis = $("axis").value; state.log = null; $("chart")._zoom = null; changed("axis"); });
  $("log").addEventListener("change", () => { state.log = $("log").checked; $("chart")._zoom = null; changed("log"); });
  $("bars").addEventListener("change", () => { state.bars = $("bars").checked; changed("bars"); });
  $("unpin").addEventListener("click", () => { state.pins = []; changed("pins"); });
  whenChanged(() => drawFront());
}
