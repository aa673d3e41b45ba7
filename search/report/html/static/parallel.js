// Parallel coordinates: one line a model, through the decisions that mattered most, latency and the metric. Dragging along an axis keeps what lies there.
const brushes = new Map();

function parallelAxes() {
  const one = D.studies[0], found = [];
  for (const at of D.progress.parallel) {
    const variable = one.variables[at], value = row => T.choices[row][at] ?? variable.first;
    if (variable.number) found.push({name: variable.name, of: row => Number(value(row)), log: false});
    else { const options = [...variable.options].reverse(), place = new Map(options.map((o, i) => [o, i])); found.push({name: variable.name, of: row => place.get(value(row)) ?? 0, options: options.map(o => optionText(variable, o))}); }
  }
  const positive = row => latency(row, "p50");
  found.push({name: "latency, ms", of: row => Math.log(positive(row)), back: Math.exp}, {name: one.metric.name, of: row => T.metric[row]});
  return found;
}

function drawParallel() {
  const host = $("parallel");
  if (!host) return;
  if (!D.progress.parallel.length || T.state.filter(one => one === "finished").length < 2) { host.classList.add("nothing"); host.replaceChildren(element("p", {class: "note"}, "There are less than two finished models whose decisions differ.")); return; }
  if (!host._watch) { host._watch = new ResizeObserver(() => { if (host.clientWidth !== host._wide) drawParallel(); }); host._watch.observe(host); }
  const rows = [];
  for (let row = 0; row < COUNT; row++) if (finished(row)) rows.push(row);
  if (rows.length < 2) return;
  const width = host._wide = host.clientWidth, axes = parallelAxes().slice(-Math.max(4, Math.floor(width / 78))), height = host.clientHeight, top = 46, bottom = height - 24;
  if (!width) return;
  const root = svg("svg", {viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true"});
  const at = i => 44 + i * (width - 88) / (axes.length - 1);
  const scales = axes.map(axis => {
    const values = rows.map(axis.of).filter(Number.isFinite);
    return scale(axis.options ? [0, axis.options.length - 1] : [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))], [bottom, top], false);
  });
  const inside = row => [...brushes].every(([i, [low, high]]) => { const y = scales[i](axes[i].of(row)); return y >= low && y <= high; });
  const path = some => some.map(row => "M" + axes.map((axis, i) => `${f(at(i))} ${f(scales[i](axis.of(row)))}`).join("L")).join("");
  const kept = rows.filter(inside), best = kept.filter(row => T.front[row]), others = kept.filter(row => !T.front[row]);
  if (brushes.size) root.append(svg("path", {class: "line quiet", d: path(rows.filter(row => !inside(row)).slice(0, 1500))}));
  root.append(svg("path", {class: "line faint", d: path(others), style: `opacity:${Math.max(.06, Math.min(.6, 60 / others.length))};stroke-width:1`}), svg("path", {class: "line front", d: path(best)}));
  const pinned = state.pins.filter(row => finished(row) && T.study[row] === 0);
  if (pinned.length) root.append(svg("path", {class: "line pin", d: path(pinned), style: "stroke-width:2.4"}));
  axes.forEach((axis, i) => {
    const x = f(at(i)), short = axis.name.replace(/^.*:/, "");
    const group = svg("g", {class: "grid axis"}, svg("line", {class: "base", x1: x, x2: x, y1: top, y2: bottom}));
    const title = svg("text", {class: "title", x, y: i % 2 ? 14 : 30, "text-anchor": i === 0 ? "start" : i === axes.length - 1 ? "end" : "middle"}, short.length > 24 ? "…" + short.slice(-23) : short);
    title.append(svg("title", {}, axis.name));
    group.append(title);
    const ends = axis.options ? [[0, axis.options[0]], [axis.options.length - 1, axis.options.at(-1)]] : [scales[i].back(bottom), scales[i].back(top)].map(v => [v, (axis.back ?? (u => u))(v)]);
    for (const [value, said] of ends) group.append(svg("text", {x: f(at(i) + 4), y: f(scales[i](value) + (scales[i](value) > (top + bottom) / 2 ? 14 : -4)), "text-anchor": i === axes.length - 1 ? "end" : "start"}, typeof said === "number" ? String(Number(said.toPrecision(3))) : String(said)));
    if (brushes.has(i)) { const [low, high] = brushes.get(i); group.append(svg("rect", {class: "zoom", x: at(i) - 9, width: 18, y: low, height: high - low})); }
    const grip = svg("rect", {class: "grip", x: at(i) - 14, width: 28, y: top, height: bottom - top});
    let from = null;
    const y = event => Math.max(top, Math.min(bottom, event.clientY - root.getBoundingClientRect().top));
    grip.addEventListener("pointerdown", event => { from = y(event); grip.setPointerCapture(event.pointerId); });
    grip.addEventListener("pointerup", event => {
      if (from === null) return;
      const to = y(event);
      if (Math.abs(to - from) < 4) brushes.delete(i); else brushes.set(i, [Math.min(from, to), Math.max(from, to)]);
      drawParallel();
    });
    group.append(grip);
    root.append(group);
  });
  host.replaceChildren(root);
  $("parallel-note").textContent = brushes.size ? `${kept.length} of ${rows.length} models lie in what was marked; click an axis to free it.` : "Drag along an axis to keep the models that lie there.";
}
