// What the page knows, what the user chose, and who wants to hear of it.
const D = JSON.parse(document.getElementById("data").textContent);
const T = D.trials;
const COUNT = T.number.length;
const several = D.studies.length > 1;
const $ = id => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

const keyOf = row => (D.studies.length > 1 ? `${T.study[row]}.` : "") + T.number[row];
const rowOf = new Map(Array.from({length: COUNT}, (_, row) => [keyOf(row), row]));
const study = row => D.studies[T.study[row]];
const finished = row => T.state[row] === "finished";
const better = (row, a, b) => (study(row).metric.maximized ? a > b : a < b);
/* The target that a row's latency is shown on: the axis' own, or the one that its model is for. */
const targets = [...new Set(D.studies.flatMap(s => s.targets))];
const ownTarget = row => targets.find(name => D.latency[name].p50[row] !== null);
function latency(row, column, target) {
  const own = target && D.latency[target] && D.latency[target].p50[row] !== null ? target
    : ownTarget(row);
  return own === undefined ? null : D.latency[own][column][row];
}

/* Where models are for different targets, or studies are, they lie together on the latency of their own target alone. */
const apart = D.studies.some(one => one.anyOf || !one.targets.includes(targets[0]));
const FIRST_AXIS = "latency:" + (apart ? "" : targets[0]);
const state = {axis: FIRST_AXIS, log: null, bars: true, budget: null, least: null, typed: false, most: null, pins: [], touched: false, layers: null};
const listeners = [];
const whenChanged = listener => listeners.push(listener);
function changed(what) {
  for (const listener of listeners) listener(what);
  remember();
}

/* What was chosen stands in the address, so that a page that loads itself again keeps it. */
function remember() {
  const parts = [];
  if (state.pins.length) parts.push("pins=" + state.pins.map(keyOf).join(","));
  if (state.touched) for (const name of ["budget", "least", "most"]) if (state[name] !== null) parts.push(`${name}=${state[name]}`);
  for (const name of ["touched", "typed"]) if (state[name]) parts.push(`${name}=1`);
  if (state.axis !== FIRST_AXIS) parts.push("axis=" + encodeURIComponent(state.axis));
  if (state.log !== null) parts.push("log=" + Number(state.log));
  const hash = parts.length ? "#" + parts.join("&") : "";
  if (hash || location.hash.includes("=")) history.replaceState(null, "", hash || location.pathname + location.search);
}

function recall() {
  for (const part of location.hash.slice(1).split("&")) {
    const [name, value] = part.split("=");
    if (value === undefined) continue;
    if (name === "pins") state.pins = value.split(",").map(key => rowOf.get(key)).filter(row => row !== undefined);
    else if (name === "axis") state.axis = decodeURIComponent(value);
    else if (name === "log") state.log = value === "1";
    else if (["touched", "typed"].includes(name)) state[name] = true;
    else if (["budget", "least", "most"].includes(name) && Number.isFinite(Number(value))) state[name] = Number(value);
  }
}

/* The model to take under what the user asks for now: the same rule as that of `autocompress pick`, by the figures that
   models are chosen by. */
function meets(row) {
  const asked = D.studies[0];
  if (T.study[row] !== 0 || !finished(row)) return false;
  for (const name of asked.targets) {
    const held = D.latency[name].held[row];
    if (held === null) continue;
    const limit = budgetOn(name);
    if (limit !== null && held > limit) return false;
  }
  if (state.typed ? state.least !== null && better(row, state.least, surely(row)) : T.poor[row]) return false;
  return state.most === null || T.bytes[row] <= state.most * 1e6;
}
function budgetOn(name) {
  return state.axis === "latency:" || name === budgetTarget() ? state.budget : D.studies[0].budgets[name] ?? null;
}
function surely(row) {
  // a limit that the reader types is one on the metric itself: it is held against the worse end of its interval
  const end = D.studies[T.study[row]].metric.maximized ? T.metricLow[row] : T.metricHigh[row];
  return end ?? T.metric[row];
}
function budgetTarget() {
  // the limit of a target is moved while its latency is looked at, that of all on models' own latency, else that of the first one
  const name = state.axis.startsWith("latency:") ? state.axis.slice(8) : null;
  return D.studies[0].targets.includes(name) ? name : D.studies[0].targets[0];
}
function choice() {
  if (!state.touched) return D.answer === null ? null : rowOf.get((D.studies.length > 1 ? "0." : "") + D.answer) ?? null;
  const fast = state.least !== null && D.studies[0].targets.every(name => budgetOn(name) === null);
  const rows = [];
  for (let row = 0; row < COUNT; row++) if (meets(row)) rows.push(row);
  const worth = (a, b) => better(a, T.metric[a], T.metric[b]) ? -1 : T.metric[a] === T.metric[b] ? 0 : 1;
  const quicker = (a, b) => latency(a, "chosenBy") - latency(b, "chosenBy") || worth(a, b);
  const first = order => rows.reduce((best, row) => best === null || order(row, best) < 0 ? row : best, null);
  if (fast) return first(quicker);
  const best = first((a, b) => worth(a, b) || quicker(a, b));
  if (best === null) return null;
  // of those whose metric is within noise of the best one's, the fastest
  const told = row => isBetter(best, row);
  return first((a, b) => told(a) - told(b) || quicker(a, b));
}
function isBetter(a, b) {
  // by more than a standard error, which follows from both intervals; by anything where one is not known
  if (!better(a, T.metric[a], T.metric[b])) return false;
  const [far, near] = study(a).metric.maximized ? ["metricLow", "metricHigh"] : ["metricHigh", "metricLow"];
  if (T[far][a] === null || T[near][b] === null) return true;
  const noise = Math.hypot(T.metric[a] - T[far][a], T.metric[b] - T[near][b]) / study(a).standardErrors;
  return Math.abs(T.metric[a] - T.metric[b]) > noise;
}
function pin(row) {
  const at = state.pins.indexOf(row);
  if (at >= 0) state.pins.splice(at, 1);
  else state.pins = [...state.pins.slice(-1), row];
  changed("pins");
}
