// Numbers and texts as they are shown.
const digits = value => Math.abs(value) >= 10 ? 2 : value === 0 || Math.abs(value) >= 0.01 ? 4 : Math.min(12, 3 - Math.floor(Math.log10(Math.abs(value))));
const metricText = value => value === null || value === undefined ? "–" : value.toFixed(digits(value));
const ms = value => value === null || value === undefined ? "–" : value < 100 ? value.toFixed(3) : value.toFixed(1);
const kilobytes = value => value === null || value === undefined ? "–" : (value / 1e3).toFixed(value < 1e4 ? 1 : 0);
const interval = (low, high, text) => low === null || low === undefined ? "" : `${text(low)} to ${text(high)}`;
/* Plotly reads some HTML in its texts: here it gets none of a user's. */
const plain = text => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
function wrapped(text, width = 58) {
  const lines = [""];
  for (const word of plain(text).split(" ")) {
    if (lines.at(-1).length + word.length > width && lines.at(-1)) lines.push("");
    lines[lines.length - 1] += (lines.at(-1) ? " " : "") + word;
  }
  return lines.join("<br>");
}
const color = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const command = row => study(row).command.replace("{}", T.number[row]);
function copyButton(text) {
  return element("button", {type: "button", class: "copy", "data-copy": text, "aria-label": "Copy: " + text}, "Copy");
}
document.addEventListener("click", async event => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  event.stopPropagation();
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch {
    const area = element("textarea", {style: "position:fixed;opacity:0"});
    area.value = button.dataset.copy;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const before = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1200);
}, true);

/* What all charts share. */
function layout(more = {}) {
  const ink = color("ink"), line = color("line"), muted = color("muted");
  const axis = {gridcolor: line, zeroline: false, linecolor: line, ticks: "outside", tickcolor: line, tickfont: {color: muted}, title: {font: {color: muted, size: 13}}, automargin: true};
  const {xaxis = {}, yaxis = {}, ...rest} = more;
  return {
    font: {family: getComputedStyle(document.body).fontFamily, size: 12.5, color: ink},
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: {l: 56, r: 16, t: 12, b: 48},
    hoverlabel: {bgcolor: color("panel"), bordercolor: color("muted"), font: {color: ink, size: 12.5}, align: "left"},
    legend: {orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: {color: muted}},
    xaxis: {...axis, ...xaxis, title: {...axis.title, ...xaxis.title}}, yaxis: {...axis, ...yaxis, title: {...axis.title, ...yaxis.title}}, ...rest,
  };
}
const CONFIG = {responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false};
