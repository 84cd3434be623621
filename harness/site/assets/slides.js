// Slides: one page at a time, turned by keys or buttons. They scroll, so they work without this script, too.

const slidesPart = (name) => document.querySelector(`[data-part="${name}"]`);
const strip = slidesPart("slides");
const slides = [...strip.children];
const KEYS = { ArrowRight: 1, PageDown: 1, " ": 1, ArrowLeft: -1, PageUp: -1, Home: -Infinity, End: Infinity };
let shown = 0;

function show(place) {
  shown = Math.min(slides.length - 1, Math.max(0, place));
  strip.scrollTo({ left: slides[shown].offsetLeft - strip.offsetLeft, behavior: "instant" });
  slidesPart("place").textContent = `${shown + 1} of ${slides.length}`;
}

document.addEventListener("keydown", (event) => {
  const by = KEYS[event.key];
  const onControl = event.target.matches("button, a") && event.key === " ";
  if (by === undefined || onControl || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  show(shown + by);
});
slidesPart("back").addEventListener("click", () => show(shown - 1));
slidesPart("on").addEventListener("click", () => show(shown + 1));
window.addEventListener("resize", () => show(shown));
strip.addEventListener("scrollend", () => {
  shown = Math.round(strip.scrollLeft / strip.clientWidth);
  slidesPart("place").textContent = `${shown + 1} of ${slides.length}`;
});
show(0);
