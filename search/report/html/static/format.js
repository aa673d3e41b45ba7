// Numbers and texts as they are shown.
const digits = value => Math.abs(value) >= 10 ? 2 : value === 0 || Math.abs(value) >= 0.01 ? 4 : Math.min(12, 3 - Math.floor(Math.log10(Math.abs(value))));
const metricText = value => value === null || value === undefined ? "–" : value.toFixed(digits(value));
const ms = value => value === null || value === undefined ? "–" : value.toFixed(value >= 100 ? 1 : value >= .1 || value <= 0 ? 3 : Math.min(12, 2 - Math.floor(Math.log10(value))));
const kilobytes = value => value === null || value === undefined ? "–" : (value / 1e3).toFixed(value < 1e4 ? 1 : 0);
const interval = (low, high, text) => low === null || low === undefined ? "" : `${text(low)} to ${text(high)}`;
const command = row => study(row).command + T.number[row] + " --out deploy";
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
