// Pinned models: one in words, two compared decision by decision.
function verdict(a, b) {
  // beyond noise or not: metrics by the root of the sum of squares of half their intervals, latencies by their ratios' intervals;
  // what was measured elsewhere may have no interval, and counts as it is
  const found = {};
  const gap = T.metric[a] - T.metric[b];
  const half = row => !known(T.metricLow[row]) || !known(T.metricHigh[row]) ? 0 : (T.metricHigh[row] - T.metricLow[row]) / 2;
  found.metric = Math.abs(gap) <= Math.hypot(half(a), half(b)) ? "tie" : better(a, T.metric[a], T.metric[b]) ? "better" : "worse";
  found.latency = {};
  const ends = (at, row) => T.study[a] === T.study[b] && known(at.ratioLow[a]) && known(at.ratioLow[b])
    ? [at.ratioLow[row], at.ratioHigh[row]] : [at.low[row] ?? at.p50[row], at.high[row] ?? at.p50[row]];
  for (const name of targets) {
    const at = D.latency[name];
    if (at.p50[a] === null || at.p50[b] === null) continue;
    const [lowA, highA] = ends(at, a), [lowB, highB] = ends(at, b);
    found.latency[name] = highA < lowB ? "faster" : lowA > highB ? "slower" : "tie";
  }
  return found;
}

function optionsOf(row) {
  const known = study(row).variables ?? [], found = new Map();
  for (const [at, option] of Object.entries(T.choices[row] ?? {})) {
    const variable = known[Number(at)];
    found.set(variable ? variable.name : at, option);
  }
  return found;
}
const variableOf = (row, name) => (study(row).variables ?? []).find(v => v.name === name);
const firstOption = (row, name) => variableOf(row, name)?.first;

function compareRows(a, b) {
  const said = verdict(a, b), rows = [];
  const word = {tie: "not told apart", better: "A is better", worse: "B is better", faster: "A is faster", slower: "B is faster"};
  const metricOf = row => metricText(T.metric[row]) + (!known(T.metricLow[row]) || !known(T.metricHigh[row]) ? "" : ` (${interval(T.metricLow[row], T.metricHigh[row], metricText)})`);
  rows.push([study(a).metric.name, metricOf(a), metricOf(b), word[said.metric]]);
  if (T.test[a] !== null || T.test[b] !== null) rows.push(["on the test split", metricText(T.test[a]), metricText(T.test[b]), ""]);
  for (const [name, how] of Object.entries(said.latency)) {
    const at = D.latency[name], text = row => `${ms(at.p50[row])} ms` + (known(at.low[row]) && known(at.high[row]) ? ` (${interval(at.low[row], at.high[row], ms)})` : "");
    rows.push([`latency${targets.length > 1 ? " on " + name : ""}`, text(a), text(b), word[how]]);
  }
  if (!Object.keys(said.latency).length && ownTarget(a) && ownTarget(b)) {
    // for different targets: ratios are to different files
    const ends = row => [latency(row, "low") ?? latency(row, "p50"), latency(row, "high") ?? latency(row, "p50")];
    const text = row => `${ms(latency(row, "p50"))} ms on ${ownTarget(row)}`, [lowA, highA] = ends(a), [lowB, highB] = ends(b);
    rows.push(["latency", text(a), text(b), word[highA < lowB ? "faster" : lowA > highB ? "slower" : "tie"]]);
  }
  rows.push(["size, kB", kilobytes(T.bytes[a]), kilobytes(T.bytes[b]), !known(T.bytes[a]) || !known(T.bytes[b]) ? "" : T.bytes[a] === T.bytes[b] ? "alike" : T.bytes[a] < T.bytes[b] ? "A is smaller" : "B is smaller"]);
  return rows;
}

function drawPins() {
  const box = $("pins");
  if (!box) return;
  $("unpin").hidden = state.pins.length === 0;
  box.replaceChildren();
  const [a, b] = state.pins;
  if (a === undefined) return;
  const title = (row, letter) => `${letter}: trial ${T.number[row]} (${T.label[row]})${several ? " of " + study(row).name : ""}`;
  if (b === undefined) {
    box.append(element("h3", {}, title(a, "A")), element("p", {}, T.plan[a] ?? ""));
    const options = [...optionsOf(a)];
    if (options.length) {
      const list = element("details", {}, element("summary", {}, `${options.length} decisions`));
      list.append(table(["decision", "teacher", "A"], options.map(([name, option]) => [name, inWords(a, name, firstOption(a, name)), inWords(a, name, option)])));
      box.append(list);
    }
    box.append(element("p", {class: "note"}, "Pin a second model to compare the two decision by decision."));
    return;
  }
  box.append(element("h3", {}, "Two models compared"));
  const heads = ["", title(a, "A"), title(b, "B"), "beyond noise"];
  const measured = table(heads, compareRows(a, b));
  measured.id = "measured-comparison";
  box.append(measured);
  const left = optionsOf(a), right = optionsOf(b), names = [...new Set([...left.keys(), ...right.keys()])].sort();
  const of = (options, row, name) => options.has(name) ? options.get(name) : firstOption(row, name);
  const differ = names.filter(name => of(left, a, name) !== of(right, b, name));
  const total = Math.max((study(a).variables ?? []).length, names.length);
  box.append(element("h3", {}, differ.length ? `${differ.length} of ${total} decisions differ` : "Every decision is alike"));
  if (differ.length) {
    const decisions = table(["decision", "teacher", "A", "B"], differ.map(name => [name, inWords(a, name, firstOption(a, name) ?? firstOption(b, name)), inWords(a, name, of(left, a, name)), inWords(b, name, of(right, b, name))]));
    decisions.id = "decisions";
    box.append(decisions);
  }
}

const text = option => option === undefined || option === null ? "–" : typeof option === "number" && !Number.isInteger(option) ? String(Number(option.toPrecision(4))) : String(option);
/* An option as users read it: some have a name, where their value does not say what they are. */
const optionText = (variable, option) => variable?.names?.[option] ?? text(option);
const inWords = (row, name, option) => optionText(variableOf(row, name), option);

function table(heads, rows) {
  const body = rows.map(cells => element("tr", {}, ...cells.map((cell, i) => element(i ? "td" : "th", i ? {} : {scope: "row"}, cell ?? ""))));
  return element("table", {class: "plain"}, element("thead", {}, element("tr", {}, ...heads.map(head => element("th", {scope: "col"}, head)))), element("tbody", {}, ...body));
}
whenChanged(what => { if (what === "pins" || what === "start") drawPins(); });
