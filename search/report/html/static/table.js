// All models: a slider and filters over a sortable table.
const STEPS = 1000, PAGE = 25;
const view = {sort: "p50", down: false, shown: PAGE};

function columnsOf() {
  const percentile = D.studies[0].percentile ?? 50;
  // a column named after a target holds what was measured there alone; where models are for one of several, it is their own
  const own = state.axis === "latency:", where = budgetTarget(), target = row => ownTarget(row) ?? "";
  const at = (row, column) => own ? latency(row, column) : D.latency[where][column][row];
  const found = [
    ...(several ? [{name: "study", title: "study", of: row => study(row).name}] : []),
    {name: "number", title: "trial", number: true, of: row => T.number[row], text: row => (state.pins.includes(row) ? "AB"[state.pins.indexOf(row)] + " " : "") + T.number[row]},
    {name: "label", title: "origin", of: row => T.label[row], text: row => T.label[row] + (T.disturbed[row] ? " (disturbed)" : "")},
    {name: "marks", title: "", of: row => T.front[row] * 2 + T.fits[row], text: row => [T.front[row] ? "front" : "", T.hand[row] ? "by hand" : "", finished(row) ? "" : T.state[row]].filter(Boolean).join(", ")},
    {name: "metric", title: D.studies[0].metric.name, number: true, of: row => T.metric[row], text: row => metricText(T.metric[row])},
    {name: "metricLow", title: "95 % interval", muted: true, of: row => T.metricLow[row], text: row => interval(T.metricLow[row], T.metricHigh[row], metricText)},
    {name: "test", title: "test", number: true, of: row => T.test[row], text: row => metricText(T.test[row])},
    ...(own ? [{name: "target", title: "target", of: target}] : []),
    {name: "p50", title: targets.length > 1 && !own ? `p50 ms on ${where}` : "p50 ms", number: true, of: row => at(row, "p50"), text: row => ms(at(row, "p50"))},
    {name: "low", title: "95 % interval", muted: true, of: row => at(row, "low"), text: row => interval(at(row, "low"), at(row, "high"), ms)},
    ...(percentile === 50 ? [] : [{name: "held", title: `p${percentile} ms, upper end`, number: true, of: row => at(row, "held"), text: row => ms(at(row, "held"))}]),
    ...targets.filter(name => !own && name !== where).map(name => ({name: "on " + name, title: `p50 ms on ${name}`, number: true, of: row => D.latency[name].p50[row], text: row => ms(D.latency[name].p50[row])})),
    {name: "speedUp", title: "speed-up", number: true, of: row => T.speedUp[row], text: row => T.speedUp[row] === null ? "–" : T.speedUp[row].toFixed(2) + " ×"},
    {name: "bytes", title: "kB", number: true, of: row => T.bytes[row], text: row => kilobytes(T.bytes[row])},
    {name: "zstd", title: "zstd kB", number: true, of: row => T.zstd[row], text: row => kilobytes(T.zstd[row])},
  ];
  return found;
}

function wanted() {
  const onlyFront = $("only-front").checked, also = $("unfinished").checked, found = [];
  for (let row = 0; row < COUNT; row++) {
    if (!finished(row)) { if (also && !onlyFront) found.push(row); continue; }
    if (onlyFront && !T.front[row] && !study(row).baseline) continue;
    if (state.touched ? T.study[row] !== 0 || meets(row) : true) found.push(row);
  }
  return found;
}

function drawTable() {
  if (!$("models")) return;
  const columns = columnsOf(), by = columns.find(column => column.name === view.sort) ?? columns.find(column => column.name === "p50");
  const rows = wanted(), sign = view.down ? -1 : 1;
  const keys = new Map(rows.map(row => [row, by.of(row)]));
  rows.sort((a, b) => {
    const x = keys.get(a), y = keys.get(b);
    if (x === y) return T.number[a] - T.number[b];
    if (x === null || x === undefined) return 1;
    if (y === null || y === undefined) return -1;
    return (typeof x === "string" ? x.localeCompare(y) : x - y) * sign;
  });
  const head = element("tr", {}, ...columns.map(column => element("th", {scope: "col", "aria-label": column.title ? null : "front, by hand, or how it ended", class: column.number ? "n" : null, "aria-sort": column.name === by.name ? (view.down ? "descending" : "ascending") : null},
    column.title ? element("button", {type: "button", "data-column": column.name, onclick: () => { view.down = view.sort === column.name ? !view.down : false; view.sort = column.name; drawTable(); }}, column.title) : "")), element("th", {scope: "col"}, "to ship it"));
  const taken = choice();
  const body = rows.slice(0, view.shown).map(row => {
    const cells = columns.map(column => element("td", {class: column.number ? "n" : column.muted ? "i" : null}, String(column.text ? column.text(row) : column.of(row))));
    const last = finished(row) && study(row).command ? element("td", {}, copyButton(command(row))) : element("td", {class: "wide i"}, T.reason[row] ?? "");
    return element("tr", {tabindex: finished(row) ? 0 : null, "data-row": row, class: [row === taken ? "chosen" : "", state.pins.includes(row) ? "pinned" : ""].join(" ").trim() || null, title: T.plan[row] || null}, ...cells, last);
  });
  const {row: focused, column: sorting} = document.activeElement?.dataset ?? {};
  $("models").tHead.replaceChildren(head);
  $("models").tBodies[0].replaceChildren(...body);
  if (focused !== undefined) $("models").querySelector(`[data-row="${focused}"]`)?.focus({preventScroll: true});
  if (sorting !== undefined) [...$("models").tHead.querySelectorAll("button")].find(button => button.dataset.column === sorting)?.focus({preventScroll: true});
  const more = rows.length > view.shown;
  $("shown").textContent = `${Math.min(rows.length, view.shown)} of ${rows.length} model${rows.length === 1 ? "" : "s"}`;
  $("more").hidden = !more;
}

function drawChoice() {
  const box = $("choice");
  if (!box) return;
  box.replaceChildren();
  const row = choice();
  if (row === null) {
    box.append(T.state.includes("finished") ? "No model meets these limits: move the slider, or relax a filter." : "No model is finished yet.");
    return;
  }
  const why = state.touched ? "Best of them: " : D.studies[0].budgets && Object.keys(D.studies[0].budgets).length ? "Best under what was asked: " : "The answer above: ";
  box.append(why, element("strong", {id: "chosen"}, `trial ${T.number[row]}`), ` (${T.label[row]}), ${study(row).metric.name} ${metricText(T.metric[row])}, ${ms(latency(row, "p50", budgetTarget()))} ms, ${kilobytes(T.bytes[row])} kB. `);
  box.append(element("span", {class: "command"}, element("code", {}, command(row)), copyButton(command(row))));
}

let range = null;
function budgetRange() {
  let low = Infinity, high = 0;
  for (const name of state.axis === "latency:" ? targets : [budgetTarget()]) {
    const held = D.latency[name].held;
    for (let row = 0; row < COUNT; row++) if (T.study[row] === 0 && held[row] !== null) { low = Math.min(low, held[row]); high = Math.max(high, held[row]); }
  }
  return low < high ? {low: low * .98, high: high * 1.02} : null;
}
const budgetAt = step => range === null || step >= STEPS ? null : Number((range.low * (range.high / range.low) ** (step / (STEPS - 1))).toPrecision(4));
const stepOf = budget => range === null || budget === null ? STEPS : Math.max(0, Math.min(STEPS, Math.round((STEPS - 1) * Math.log(budget / range.low) / Math.log(range.high / range.low))));

function showLimits() {
  if (!$("budget")) return;
  range = budgetRange();
  $("budget").disabled = range === null;
  $("budget").value = stepOf(state.budget);
  const tail = D.studies[0].percentile === 50 ? "" : ` at p${D.studies[0].percentile}`;
  $("budget-text").textContent = state.budget === null ? "any" : `${Number(state.budget.toPrecision(4))} ms${tail}`;
  $("budget").setAttribute("aria-valuetext", $("budget-text").textContent);
  for (const [id, value] of [["least-metric", state.least], ["most-mb", state.most]]) if (document.activeElement !== $(id)) $(id).value = value ?? "";
}

function asked() {
  const one = D.studies[0];
  Object.assign(state, {touched: false, typed: false, budget: one.budgets?.[budgetTarget()] ?? null, least: one.leastMetric ?? null, most: one.mostMb ?? null});
}

function setUpLimits() {
  const number = id => $(id).value === "" ? null : Number($(id).value);
  $("budget").addEventListener("input", () => { state.budget = budgetAt(Number($("budget").value)); state.touched = true; changed("limits"); });
  $("least-metric").addEventListener("input", () => { state.least = number("least-metric"); state.touched = state.typed = true; changed("limits"); });
  $("most-mb").addEventListener("input", () => { state.most = number("most-mb"); state.touched = true; changed("limits"); });
  $("reset").addEventListener("click", () => { asked(); changed("limits"); });
}

function setUpTable() {
  if (!$("models")) return;
  if (!state.touched) asked();
  if ($("budget")) setUpLimits();
  for (const id of ["only-front", "unfinished"]) $(id).addEventListener("change", () => { view.shown = PAGE; drawTable(); });
  $("more").addEventListener("click", () => { view.shown += 200; drawTable(); });
  const rowAt = event => { const found = event.target.closest("tr[data-row]"); return found && finished(Number(found.dataset.row)) ? Number(found.dataset.row) : null; };
  $("models").tBodies[0].addEventListener("click", event => { const row = rowAt(event); if (row !== null && !event.target.closest("button")) pin(row); });
  $("models").tBodies[0].addEventListener("keydown", event => {
    const line = event.target.closest("tr[data-row]");
    if (event.key === "Enter" && event.target === line) { event.preventDefault(); const row = rowAt(event); if (row !== null) pin(row); }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); (event.key === "ArrowDown" ? line?.nextElementSibling : line?.previousElementSibling)?.focus(); }
  });
  whenChanged(() => { showLimits(); drawChoice(); drawTable(); });
}
