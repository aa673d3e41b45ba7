// The front: the metric against what a model costs.
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "pentagon", "star", "hexagon", "triangle-down"];
const COLORS = ["blue", "orange", "teal", "purple", "green", "red"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const MOST_DRAWN = 4000;

const AXES = new Map();
for (const name of targets) {
  const where = targets.length > 1 ? ` on ${name}` : "";
  AXES.set("latency:" + name, {title: `latency${where}, p50 ms`, of: row => D.latency[name].p50[row], ends: row => [D.latency[name].low[row], D.latency[name].high[row]]});
}
AXES.set("bytes", {title: "size of the file, kB", of: row => T.bytes[row] === null ? null : T.bytes[row] / 1e3});
AXES.set("zstd", {title: "compressed size, kB", of: row => T.zstd[row] === null ? null : T.zstd[row] / 1e3});
for (const name of targets) {
  const where = targets.length > 1 ? ` on ${name}` : "";
  AXES.set("memory:" + name, {title: `peak memory${where}, MB`, of: row => D.latency[name].memory[row]});
  AXES.set("energy:" + name, {title: `energy of an inference${where}, mJ`, of: row => D.latency[name].energy[row]});
}
for (const [name, axis] of AXES) {
  let known = false;
  for (let row = 0; row < COUNT && !known; row++) known = axis.of(row) !== null && axis.of(row) !== undefined;
  if (!known) AXES.delete(name);
}

/* Rows that no other row of their study beats in the metric and on this axis, cheapest first. */
function frontRows(rows, axis) {
  const found = [];
  for (const row of [...rows].sort((a, b) => axis.of(a) - axis.of(b) || (better(a, T.metric[a], T.metric[b]) ? -1 : 1))) {
    const last = found.at(-1);
    if (last === undefined || better(row, T.metric[row], T.metric[last])) found.push(row);
  }
  return found;
}

function hover(row) {
  const lines = [
    `<b>trial ${T.number[row]}</b> (${plain(T.label[row])})${D.studies.length > 1 ? " of " + plain(study(row).name) : ""}`,
    `${plain(study(row).metric.name)} ${metricText(T.metric[row])} ${T.metricLow[row] === null ? "" : `(${interval(T.metricLow[row], T.metricHigh[row], metricText)})`}`,
  ];
  for (const name of study(row).targets) if (D.latency[name].p50[row] !== null)
    lines.push(`${ms(D.latency[name].p50[row])} ms (${interval(D.latency[name].low[row], D.latency[name].high[row], ms)})${targets.length > 1 ? " on " + plain(name) : ""}`);
  if (T.bytes[row] !== null) lines.push(`${kilobytes(T.bytes[row])} kB${T.speedUp[row] ? `, ${T.speedUp[row].toFixed(2)} times as fast as the teacher` : ""}`);
  if (T.plan[row]) lines.push(wrapped(T.plan[row]));
  return lines.join("<br>");
}

function errorBar(ends, values, tint) {
  if (!state.bars || ends.every(pair => !pair || pair[0] === null || pair[0] === undefined)) return {visible: false};
  return {
    type: "data", symmetric: false, thickness: 1.2, width: 0, color: tint,
    array: ends.map((pair, i) => pair && pair[1] !== null ? pair[1] - values[i] : 0),
    arrayminus: ends.map((pair, i) => pair && pair[0] !== null ? values[i] - pair[0] : 0),
  };
}

function points(rows, axis, name, tint, symbol, size, more = {}) {
  const x = rows.map(axis.of), y = rows.map(row => T.metric[row]);
  return {
    type: "scatter", mode: "markers", name, x, y, customdata: rows, text: rows.map(hover), hovertemplate: "%{text}<extra></extra>",
    marker: {color: tint, symbol, size, line: {color: color("paper"), width: 1}},
    error_x: more.bars ? errorBar(rows.map(row => axis.ends ? axis.ends(row) : null), x, tint) : {visible: false},
    error_y: more.bars ? errorBar(rows.map(row => [T.metricLow[row], T.metricHigh[row]]), y, tint) : {visible: false},
    ...more.extra,
  };
}

function frontTraces(axis) {
  const traces = [], several = D.studies.length > 1;
  let left = 0;
  const usable = row => finished(row) && axis.of(row) !== null && axis.of(row) !== undefined;
  D.studies.forEach((one, index) => {
    const rows = [];
    for (let row = 0; row < COUNT; row++) if (T.study[row] === index && usable(row)) rows.push(row);
    const tint = color(several ? COLORS[index % COLORS.length] : "blue"), symbol = several ? SYMBOLS[index % SYMBOLS.length] : "circle";
    const best = frontRows(rows, axis), onFront = new Set(best);
    for (const row of rows) if (T.front[row]) onFront.add(row);
    const marked = row => onFront.has(row) || (!several && T.hand[row]);
    let others = rows.filter(row => !marked(row));
    if (others.length > MOST_DRAWN) {
      left += others.length - MOST_DRAWN;
      const step = others.length / MOST_DRAWN;
      others = Array.from({length: MOST_DRAWN}, (_, i) => others[Math.floor(i * step)]);
    }
    if (one.baseline) {
      traces.push(points(rows, axis, plain(one.name), tint, symbol, 10, {bars: true}));
      return;
    }
    const faint = points(others, axis, several ? plain(one.name) + ", beaten" : "beaten", color("grey"), symbol + "-open", 5, {extra: {opacity: .55, showlegend: !several && others.length > 0}});
    faint.marker.line = {width: 1, color: several ? tint : color("grey")};
    traces.push(faint);
    traces.push({type: "scatter", mode: "lines", x: best.map(axis.of), y: best.map(row => T.metric[row]), line: {color: tint, width: 1.5, shape: "hv", dash: DASHES[several ? index % DASHES.length : 0]}, hoverinfo: "skip", showlegend: false});
    if (!several) {
      const hand = rows.filter(row => T.hand[row] && T.origin[row] !== "teacher");
      if (hand.length) {
        const by = points(hand, axis, "by hand", color("orange"), "square", 8, {bars: true});
        traces.push(by);
      }
      const teacher = rows.filter(row => T.origin[row] === "teacher");
      if (teacher.length) traces.push(points(teacher, axis, "teacher", color("orange"), "star", 14, {bars: true}));
    }
    const shown = [...onFront].filter(row => several || !T.hand[row]).sort((a, b) => axis.of(a) - axis.of(b));
    traces.push(points(shown, axis, several ? plain(one.name) : "the front", tint, symbol, 9, {bars: true}));
  });
  if (state.axis.startsWith("latency:")) {
    const gated = [];
    for (let row = 0; row < COUNT; row++) if (T.state[row] === "gated" && T.gateMs[row] !== null) gated.push(row);
    if (gated.length) traces.push({
      type: "scatter", mode: "markers", name: "stopped at the gate", x: gated.map(row => T.gateMs[row]), y: gated.map(() => 0), yaxis: "y2", customdata: gated,
      text: gated.map(row => `<b>trial ${T.number[row]}</b> (${plain(T.label[row])})<br>${wrapped(T.reason[row])}`), hovertemplate: "%{text}<extra></extra>",
      marker: {symbol: "line-ns-open", size: 9, color: color("grey"), line: {width: 1, color: color("grey")}}, opacity: .7,
    });
  }
  const taken = choice();
  if (taken !== null && usable(taken)) traces.push(ring([taken], axis, "the choice", color("green"), 19));
  if (state.pins.some(usable)) traces.push({...ring(state.pins.filter(usable), axis, "pinned", color("red"), 15), mode: "markers+text", text: state.pins.filter(usable).map(row => "AB"[state.pins.indexOf(row)]), textposition: "top center", textfont: {color: color("red"), size: 14}});
  return {traces, left};
}

function ring(rows, axis, name, tint, size) {
  return {type: "scatter", mode: "markers", name, x: rows.map(axis.of), y: rows.map(row => T.metric[row]), hoverinfo: "skip", marker: {symbol: "circle-open", size, color: tint, line: {width: 2, color: tint}}};
}

function labels(axis, log) {
  // names of what one does by hand, above and below in turn, so that neighbours do not lie on each other
  if (D.studies.length > 1) return [];
  const rows = [];
  for (let row = 0; row < COUNT; row++) if (finished(row) && T.hand[row] && axis.of(row) !== null) rows.push(row);
  rows.sort((a, b) => axis.of(a) - axis.of(b));
  return rows.slice(0, 14).map((row, i) => ({
    x: log ? Math.log10(axis.of(row)) : axis.of(row), y: T.metric[row], text: plain(T.label[row]), showarrow: false,
    yshift: i % 2 ? -13 : 13, font: {size: 10.5, color: color("orange")}, xanchor: "center",
  }));
}

function drawFront() {
  if (!window.Plotly || !$("chart")) return;
  const axis = AXES.get(state.axis) ?? [...AXES.values()][0];
  const {traces, left} = frontTraces(axis);
  const xs = traces.filter(trace => trace.customdata).flatMap(trace => trace.x).filter(x => x > 0);
  const log = state.log ?? (xs.length > 0 && xs.reduce((a, b) => Math.max(a, b), 0) > 5 * xs.reduce((a, b) => Math.min(a, b), Infinity));
  $("log").checked = log;
  const shapes = [], annotations = labels(axis, log);
  const budget = state.touched ? state.budget : D.studies[0].budgets[budgetTarget()] ?? null;
  if (state.axis.startsWith("latency:") && budget !== null) {
    shapes.push({type: "line", x0: budget, x1: budget, y0: 0, y1: 1, yref: "paper", line: {color: color("green"), width: 1.5, dash: "dash"}});
    annotations.push({x: log ? Math.log10(budget) : budget, y: 1, yref: "paper", yanchor: "top", xanchor: "left", xshift: 4, showarrow: false, text: `budget ${Number(budget.toPrecision(4))} ms`, font: {color: color("green"), size: 12}});
  }
  const least = state.touched ? state.least : D.studies[0].leastMetric;
  if (least !== null && least !== undefined) shapes.push({type: "line", x0: 0, x1: 1, xref: "paper", y0: least, y1: least, line: {color: color("green"), width: 1.5, dash: "dash"}});
  const narrow = window.innerWidth < 640;
  Plotly.react("chart", traces, layout({
    hovermode: "closest", shapes, annotations: narrow ? annotations.filter(a => a.text.startsWith("budget")) : annotations, margin: {l: 60, r: 16, t: 34, b: 52}, uirevision: state.axis + log,
    xaxis: {title: {text: axis.title}, type: log ? "log" : "linear", ...(log ? {dtick: null, tickmode: "auto", nticks: narrow ? 5 : 10, minor: {ticks: "outside"}} : {rangemode: "tozero"})},
    yaxis: {title: {text: plain(D.studies[0].metric.name) + (D.studies[0].metric.maximized ? "" : " (lower is better)")}},
    yaxis2: {overlaying: "y", range: [-.02, 1], visible: false, fixedrange: true},
  }), CONFIG);
  $("chart-note").textContent = left ? `${left} of the beaten models are not drawn; the table below has all of them.` : "";
  if (!drawFront.listens) {
    drawFront.listens = true;
    $("chart").on("plotly_click", event => { const row = event.points.find(point => point.customdata !== undefined)?.customdata; if (row !== undefined && finished(row)) pin(row); });
  }
}

function setUpFront() {
  if (!$("axis")) return;
  for (const [name, axis] of AXES) $("axis").append(element("option", {value: name}, axis.title));
  if (!AXES.has(state.axis)) state.axis = [...AXES.keys()][0] ?? state.axis;
  $("axis").value = state.axis;
  $("axis").addEventListener("change", () => { state.axis = $("axis").value; state.log = null; changed("axis"); });
  $("log").addEventListener("change", () => { state.log = $("log").checked; changed("log"); });
  $("bars").addEventListener("change", () => { state.bars = $("bars").checked; changed("bars"); });
  $("unpin").addEventListener("click", () => { state.pins = []; changed("pins"); });
  whenChanged(() => drawFront());
}
