// The map: marks the lessons that the learner has predicted.

import { forgetPredictions, keptPredictions } from "./progress.js";

const mapPart = (name) => document.querySelector(`[data-part="${name}"]`);

function showProgress() {
  const kept = keptPredictions();
  const stops = [...document.querySelectorAll("[data-lesson]")];
  const done = stops.filter((stop) => Object.hasOwn(kept, stop.dataset.lesson));
  for (const stop of stops) {
    const isDone = done.includes(stop);
    stop.classList.toggle("done", isDone);
    stop.querySelector("[data-part=done]").hidden = !isDone;
  }
  mapPart("progress").textContent = done.length ? `You have predicted ${done.length} of ${stops.length} lessons.` : "";
  mapPart("forget-row").hidden = !done.length;
}

mapPart("forget").addEventListener("click", () => {
  forgetPredictions();
  showProgress();
});
showProgress();
// A page that comes back from the browser's memory is not run again.
window.addEventListener("pageshow", showProgress);
