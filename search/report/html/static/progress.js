// How the search went: the front's volume, which decisions mattered.
function drawVolume() {
  const host = $("volume"), volume = D.progress.volume;
  if (!host) return;
  if (!volume.s.length) { host.classList.add("nothing"); host.replaceChildren(element("p", {class: "note"}, "No model was finished yet.")); return; }
  const over = $("volume-over").value, scaled = over === "s" ? (D.progress.endS > 5400 ? 3600 : D.progress.endS > 180 ? 60 : 1) : 1;
  const end = over === "s" ? D.progress.endS : D.progress.ended;
  const x = [...volume[over], Math.max(end, volume[over].at(-1))].map(value => value / scaled), on = values => [...values, values.at(-1)];
  const gains = volume.gain.map((gain, i) => gain ? i : -1).filter(i => i >= 0);
  chart(host, {
    x: {title: over === "s" ? {1: "seconds of searching", 60: "minutes of searching", 3600: "hours of searching"}[scaled] : "trials that ended", zero: true}, y: {title: "share of the volume", zero: true},
    hover: i => [`${(volume.value[i]).toFixed(3)} (${volume.low[i].toFixed(3)} to ${volume.high[i].toFixed(3)})`, `after ${volume.trials[i]} trials and ${volume.s[i].toFixed(0)} s`, "grew beyond noise"],
    marks: [
      {kind: "band", style: "front", step: true, x, low: on(volume.low), high: on(volume.high)},
      {kind: "line", style: "front", step: true, x, y: on(volume.value)},
      {kind: "points", style: "front", symbol: "circle", size: 7, rows: gains, x: gains.map(i => volume[over][i] / scaled), y: gains.map(i => volume.value[i])},
    ],
  });
}

function drawImportance() {
  D.progress.importance.forEach((one, index) => {
    const host = $(`importance-${index}`);
    if (!host) return;
    const shown = one.variables;
    host.style.height = `${48 + 22 * shown.length}px`;
    const most = shown.reduce((a, [, share]) => Math.max(a, share), 0);
    chart(host, {
      left: Math.min(200, host.clientWidth * .45), x: {domain: [0, most * 1.08 || 1], format: value => `${Math.round(100 * value)} %`}, y: {domain: [shown.length - .5, -.5], grid: false, ticks: shown.map(([name], i) => [i, name.length > 27 ? "…" + name.slice(-26) : name])},
      hover: i => [shown[i][0], `${(100 * shown[i][1]).toFixed(1)} % of what all variables tell of ${one.figure}`],
      marks: [{kind: "rows", style: index ? "hand" : "front", y: shown.map((_, i) => i), x: shown.map(([, share]) => share), rows: shown.map((_, i) => i)}],
    });
  });
}

function setUpProgress() {
  if (!$("search-parts")) return;
  $("volume-over").addEventListener("change", drawVolume);
  const box = $("importances");
  D.progress.importance.forEach((one, index) => box.append(element("div", {},
    element("h4", {}, `What ${one.figure} hangs on`), element("p", {class: "note"}, one.axes.map(([name, share]) => `${name} ${Math.round(100 * share)} %`).join(", ")),
    element("div", {id: `importance-${index}`, class: "chart low", role: "img", "aria-label": `Importance of decisions for ${one.figure}: ${one.variables.map(([name, share]) => `${name} ${Math.round(100 * share)} %`).join(", ")}`}))));
  whenChanged(what => { if (what === "start") { drawVolume(); drawImportance(); drawParallel(); } if (what === "pins") drawParallel(); });
}
