// From here on the page lives.
recall();
setUpTable();
setUpFront();
setUpLayers();
setUpProgress();
changed("start");
addEventListener("beforeprint", () => changed("start"));
document.documentElement.dataset.ready = Math.round(performance.now());
document.documentElement.dataset.height = document.documentElement.scrollHeight;

/* A running search writes its report anew: load it again, but not under somebody's hands. */
if (D.reload) {
  let busy = 0;
  for (const kind of ["pointerdown", "keydown", "input", "wheel", "touchstart"]) addEventListener(kind, () => { busy = Date.now(); }, {passive: true});
  setInterval(() => { if (Date.now() - busy > 4000 && !document.hidden) location.reload(); }, D.reload * 1000);
}
