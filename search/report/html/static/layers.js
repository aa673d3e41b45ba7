// The chosen model, layer by layer: channels, bits and zeros, and the time of each layer: its share as the runtime
// itself measured it, or what it is predicted to take.
const focus = () => state.layers ?? state.pins.at(-1) ?? choice();

const percent = share => share >= .0995 ? (100 * share).toFixed(0) : (100 * share).toFixed(1);
const layersTarget = row => D.studies[0].anyOf ? ownTarget(row) : budgetTarget();
const profileOf = (number, target) => D.layers.measured[target]?.[String(number)] ?? null;

// Of all networks, each with its place in its own; of the one that the model is cut from.
function layersOf(row) {
  const number = String(T.number[row]), L = D.layers, one = D.studies[0];
  const channels = L.channels[number] ?? {}, bits = L.bits[number] ?? {}, lost = new Set(L.lost[number] ?? []);
  const target = layersTarget(row), times = L.ms[target]?.[number], before = L.ms[target]?.["0"];
  const measured = profileOf(number, target), teacher = profileOf(L.teacher, target);
  const groups = new Map(one.groups.map((group, i) => [group.name, i]));
  const counts = new Map(), own = L.students[number] ?? "";
  const all = one.layers.map((layer, i) => {
    const at = counts.get(layer.network ?? "") ?? 0, others = Boolean(layer.network);
    counts.set(layer.network ?? "", at + 1);
    const group = layer.group === null ? undefined : groups.get(layer.group), full = group === undefined ? null : one.groups[group].channels;
    const gone = lost.has(i), kept = gone ? 0 : group === undefined || channels[group] === undefined ? layer.outputs : Math.round(layer.outputs * channels[group] / full);
    return {...layer, at, full: layer.outputs, gone, kept, bits: bits[i] ?? 32, zeros: gone ? "" : bits["z" + i] ?? "", ms: times?.[i] ?? null, before: others ? null : before?.[i] ?? null,
      share: measured?.layers[i] ?? null, shareBefore: others ? null : teacher?.layers[i] ?? null, joined: measured?.together.find(([those]) => those.includes(i)) ?? null};
  });
  return {all, its: all.filter(layer => layer.network === undefined || layer.network === own)};
}

function layerHover(layers, all) {
  const total = layers.reduce((sum, layer) => sum + (layer.ms ?? 0), 0);
  return at => {
    const layer = layers[at];
    return [
      `${layer.at + 1}. ${layer.name}`, `${layer.kind}, weights ${layer.shape.join(" × ")}`, layer.gone ? "gone: its block was dropped" : `${layer.kept} of ${layer.full} output channels`,
      layer.gone ? "" : `${layer.bits} bits${layer.zeros ? ", zeros: " + layer.zeros : ""}`,
      layer.share === null ? "" : `measured: ${percent(layer.share)} % of this model's time${layer.shareBefore === null ? "" : ` (of the teacher's: ${percent(layer.shareBefore)} %)`}`,
      layer.joined === null ? "" : `measured: ${percent(layer.joined[1])} % in one operator for layers ${layer.joined[0].map(i => all[i].at + 1).join(", ")}`,
      layer.ms === null || layer.gone ? "" : `predicted ${ms(layer.ms)} ms, ${(100 * layer.ms / total).toFixed(0)} % of all layers${layer.before === null ? "" : ` (teacher ${ms(layer.before)} ms)`}`,
    ];
  };
}

function drawLayers() {
  if (!$("layers-channels")) return;
  const row = focus(), one = D.studies[0], usable = row !== null && T.study[row] === 0 && one.layers.length > 0;
  for (const part of document.querySelectorAll(".layer-part")) part.hidden = !usable;
  if (!usable) { $("layers-title").textContent = row === null ? "No model is chosen." : "The layers of this network were not kept."; return; }
  $("layers-of").value = String(row);
  if ($("layers-of").value !== String(row)) { $("layers-of").append(element("option", {value: row}, `trial ${T.number[row]} (${T.label[row]})`)); $("layers-of").value = String(row); }
  const {all, its: layers} = layersOf(row), rows = layers.map(layer => layer.at), hoverLayer = layerHover(layers, all);
  $("layers-title").textContent = `Trial ${T.number[row]} (${T.label[row]}): ${T.plan[row]}.`;
  const domain = [-.6, layers.length - .4], left = 62, few = ($("layers-channels").clientWidth - left) / layers.length > 24;
  const names = layers.map((layer, i) => [i, layer.name.length > 16 ? "…" + layer.name.slice(-15) : layer.name]);
  const step = Math.ceil(layers.length / 40), numbers = rows.filter(i => i % step === 0).map(i => [i, String(i + 1)]);
  const target = layersTarget(row), profile = profileOf(T.number[row], target), timed = profile !== null || layers.some(layer => layer.ms !== null), slanted = few ? 12 + 4.6 * names.reduce((most, [, name]) => Math.max(most, name.length), 0) : 0, last = {ticks: few ? names : numbers, slanted};
  $("layers-bits").style.height = `${timed ? 46 : 70 + slanted}px`;
  $("layers-ms").style.height = `${170 + slanted}px`;
  chart($("layers-channels"), {
    left, hover: hoverLayer, x: {domain, ticks: [], grid: false}, y: {title: "channels", zero: true},
    marks: [
      {kind: "columns", style: "quiet", x: rows, y: layers.map(layer => layer.full), wide: .74},
      {kind: "columns", style: "front", x: rows, y: layers.map(layer => layer.kept), wide: .74, rows},
    ],
  });
  chart($("layers-bits"), {
    left, top: 4, hover: hoverLayer, x: {domain, ...(timed ? {ticks: []} : last), grid: false}, y: {title: "bits", domain: [0, 1], ticks: []},
    marks: [{kind: "cells", x: rows, rows, classes: layers.map(layer => layer.gone ? "gone" : `bits${layer.bits}`), texts: layers.map(layer => layer.gone ? "–" : layer.bits + (layer.zeros ? "·z" : ""))}],
  });
  $("layers-ms").hidden = !timed;
  $("layers-ms").setAttribute("aria-label", profile ? "Measured share of the time of each layer, of the teacher and of the model" : "Predicted milliseconds of each layer, of the teacher and of the model");
  if (timed) chart($("layers-ms"), {
    left, hover: hoverLayer, x: {domain, ...last, grid: false}, y: {title: profile ? "% of time" : "predicted ms", zero: true},
    marks: profile ? shareColumns(layers, rows) : [
      {kind: "columns", style: "quiet", x: rows, y: layers.map(layer => layer.before ?? 0), wide: .74},
      {kind: "columns", style: "hand", x: rows, y: layers.map(layer => layer.ms ?? 0), wide: .74, rows},
    ],
  });
  $("layers-note").textContent = (layers.some(layer => layer.zeros) ? "·z: with zeros. " : "") + (layers.some(layer => layer.gone) ? "–: gone with a block that was dropped. " : "") + (profile ? measuredNote(profile, layers, target) : predictedNote(timed, target));
  drawDecisions(row, all);
}

// side by side, as either share may be the larger one
function shareColumns(layers, rows) {
  const compared = layers.some(layer => layer.shareBefore !== null && layer.shareBefore !== layer.share);
  const its = {kind: "columns", style: "hand", x: rows, y: layers.map(layer => 100 * layer.share), wide: compared ? .37 : .74, shift: compared ? .185 : 0, rows};
  return compared ? [{kind: "columns", style: "quiet", x: rows, y: layers.map(layer => 100 * layer.shareBefore), wide: .37, shift: -.185}, its] : [its];
}

function measuredNote(profile, layers, target) {
  const joined = profile.together.length === 0 ? "" : ` ${percent(profile.together.reduce((sum, [, share]) => sum + share, 0))} % is in operators that run several layers at once, which have no columns.`;
  const most = profile.other.filter(([, share]) => share >= .001).slice(0, 4).map(([operator, share]) => `${operator} ${percent(share)} %`);
  const other = profile.other.length === 0 ? "" : ` Other work takes ${percent(profile.other.reduce((sum, [, share]) => sum + share, 0))} %${most.length ? ` (${most.join(", ")}${profile.other.length > most.length ? ", ..." : ""})` : ""}.`;
  const teacher = layers.some(layer => layer.shareBefore !== null && layer.shareBefore !== layer.share) ? " Pale columns are the teacher's shares of its own time." : "";
  return `Shares are measured: they are the runtime's own profile of this very file on ${target}. ${percent(profile.named)} % of the time lies in named layers.${joined}${other}${teacher} Profiling slows small operators more than large ones.`;
}

function predictedNote(timed, target) {
  const error = D.layers.error[target];
  return timed
    ? `Times are predicted: of this model no profile by the runtime itself is kept (not every runtime makes one; a search takes those of confirmed models at its end). The latency of the whole network is predicted${error ? ` (half of the predictions for plans held out were off by at most ${(100 * error).toFixed(1)} %)` : ""}, and shared over its layers by their arithmetic and memory traffic. Pale columns are the teacher's.`
    : "What single layers take was not predicted for this model; pale columns are the teacher's channels.";
}

function drawDecisions(row, layers) {
  const number = String(T.number[row]), seen = D.seen[number] ?? null, one = D.studies[0], rows = [];
  one.variables.forEach((variable, i) => {
    const option = T.choices[row][i];
    if (option === undefined) return;
    const its = variable.layers.map(at => layers[at]), timed = its.length > 0 && its.every(layer => layer.ms !== null && layer.before !== null);
    const sum = name => its.reduce((total, layer) => total + layer[name], 0);
    const nats = D.layers.sensitivity[i]?.[variable.options.indexOf(option)];
    rows.push([
      variable.name, `${optionText(variable, variable.first)} → ${optionText(variable, option)}`,
      timed ? `${ms(sum("before"))} → ${ms(sum("ms"))}` : "–",
      nats === undefined || nats === null ? "–" : nats.toPrecision(2),
      seen && seen[variable.name] !== undefined ? (seen[variable.name] > 0 ? "+" : "") + seen[variable.name].toFixed(Math.max(4, digits(T.metric[row]))) : "–",
    ]);
  });
  const made = table(["decision", "teacher → here", "its layers, predicted ms", "predicted harm alone, nats", `${one.metric.name}, as seen among trials`], rows);
  $("layers-table").replaceChildren(...made.children);
  $("layers-details").hidden = rows.length === 0;
}

function setUpLayers() {
  if (!$("layers-of")) return;
  const best = [];
  for (let row = 0; row < COUNT; row++) if (finished(row) && (T.front[row] || T.hand[row] || row === choice())) best.push(row);
  best.sort((a, b) => latency(a, "p50") - latency(b, "p50"));
  for (const row of best) $("layers-of").append(element("option", {value: row}, `trial ${T.number[row]} (${T.label[row]}), ${ms(latency(row, "p50"))} ms`));
  $("layers-of").addEventListener("change", () => { state.layers = Number($("layers-of").value); drawLayers(); });
  whenChanged(what => {
    if (["pins", "limits"].includes(what)) state.layers = null;
    if (["pins", "limits", "start", "axis"].includes(what)) drawLayers();
  });
}
