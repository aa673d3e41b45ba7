// From here on the page lives.
recall();
setUpTable();
setUpFront();
changed("start");
unpack().then(() => {
  changed("drawn");
  document.documentElement.dataset.ready = Math.round(performance.now());
}).catch(error => {
  for (const chart of document.querySelectorAll(".chart")) chart.replaceWith(element("p", {class: "note"}, "This browser cannot draw the charts: " + error));
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => changed("colors"));

/* A running search writes its report anew: load it again, but not under somebody's hands. */
if (D.reload) {
  let busy = 0;
  for (const kind of ["pointerdown", "keydown", "input", "wheel", "touchstart"]) addEventListener(kind, () => { busy = Date.now(); }, {passive: true});
  setInterval(() => { if (Date.now() - busy > 4000 && !document.hidden) location.reload(); }, D.reload * 1000);
}
