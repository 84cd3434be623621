// A lesson: the learner predicts, then the rest of the page opens, and the prediction stands beside the measurement.

import { compareBars, compareChoice, compareScale } from "./comparison.js";
import { keepPrediction, keptPredictions } from "./progress.js";
import { balanced, evenShares, scaleText, scaleValue } from "./scales.js";

const lesson = document.querySelector("[data-lesson]");
const lessonPart = (name) => lesson.querySelector(`[data-part="${name}"]`);
const form = lessonPart("form");
const measured = JSON.parse(lessonPart("prediction").textContent);
const bars = [...form.querySelectorAll("[data-bars] input")];
const scales = [...form.querySelectorAll("[data-scale]")];
const choice = form.querySelector("[data-choice]");
let shares = evenShares(bars.map((bar) => +bar.dataset.replicas));

function showBars() {
  bars.forEach((bar, place) => {
    bar.value = Math.round(shares[place]);
    const text = `${Math.round(shares[place])} %`;
    bar.ariaValueText = text;
    bar.nextElementSibling.textContent = text;
  });
}

function showScale(input, kind) {
  const text = scaleText(kind, scaleValue(kind, +input.value));
  input.ariaValueText = text;
  input.nextElementSibling.textContent = text;
}

function listen() {
  bars.forEach((bar, place) =>
    bar.addEventListener("input", () => {
      shares = balanced(shares, place, +bar.value);
      showBars();
    }));
  for (const scale of scales) {
    for (const input of scale.querySelectorAll("input")) {
      input.addEventListener("input", () => showScale(input, scale.dataset.kind));
    }
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  lessonPart("skip").addEventListener("click", () => {
    openPage();
    document.querySelector(".after h2").scrollIntoView();
  });
  lessonPart("again").addEventListener("click", again);
}

const chosen = () => choice?.querySelector("input:checked")?.value;

function submit() {
  if (choice && chosen() === undefined) {
    lessonPart("problem-form").textContent = "Choose who suffers, too.";
    choice.querySelector("input").focus();
    return;
  }
  lessonPart("problem-form").textContent = "";
  const prediction = {
    bars: shares,
    scales: Object.fromEntries(scales.map((one) => [one.dataset.scale, [...one.querySelectorAll("input")].map((input) => +input.value)])),
    choice: chosen(),
  };
  keepPrediction(lesson.dataset.lesson, prediction);
  compare(prediction);
  const heading = document.getElementById("compare");
  heading.focus({ preventScroll: true });
  heading.scrollIntoView();
}

/** Opens the page and writes the prediction beside what was measured. */
function compare(prediction) {
  const findings = [];
  // The bars are ranks: the largest share that was guessed is that of the busiest replica.
  findings.push(compareBars(bars, prediction.bars, measured.bars));
  for (const scale of scales) {
    const name = scale.dataset.scale;
    findings.push(...compareScale(scale, prediction.scales[name], measured.scales[name], measured.word));
  }
  if (choice) findings.push(compareChoice(choice, prediction.choice, measured.choice));
  lessonPart("findings").replaceChildren(...findings.map(listItem));
  lessonPart("comparison").hidden = false;
  settle(true);
  lessonPart("submit").hidden = true;
  lessonPart("skip").hidden = true;
  lessonPart("again").hidden = false;
  openPage();
}

/** A prediction that was made stays as it is, in its colours: `disabled` would turn it grey. */
function settle(settled) {
  for (const fieldset of form.querySelectorAll("fieldset")) fieldset.inert = settled;
}

function listItem(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}

function openPage() {
  document.body.dataset.open = "true";
  lessonPart("skip").hidden = true;
}

function again() {
  keepPrediction(lesson.dataset.lesson, undefined);
  settle(false);
  for (const mark of form.querySelectorAll("[data-part^=measured]")) mark.hidden = true;
  for (const option of form.querySelectorAll(".option")) option.classList.remove("right");
  lessonPart("comparison").hidden = true;
  lessonPart("again").hidden = true;
  lessonPart("submit").hidden = false;
  lessonPart("skip").hidden = false;
  delete document.body.dataset.open;
  bars[0].focus();
}

/** Puts back a prediction of an earlier visit; returns whether it fits this run's questions. */
function restore(kept) {
  const fits =
    Array.isArray(kept?.bars) && kept.bars.length === bars.length && kept.bars.every(Number.isFinite) &&
    scales.every((scale) => kept.scales?.[scale.dataset.scale]?.length === scale.querySelectorAll("input").length) &&
    (!choice || choice.querySelector(`input[value="${CSS.escape(String(kept.choice))}"]`));
  if (!fits) return false;
  shares = kept.bars;
  for (const scale of scales) {
    scale.querySelectorAll("input").forEach((input, place) => (input.value = kept.scales[scale.dataset.scale][place]));
  }
  if (choice) choice.querySelector(`input[value="${CSS.escape(String(kept.choice))}"]`).checked = true;
  return true;
}

const kept = keptPredictions()[lesson.dataset.lesson];
const restored = kept !== undefined && restore(kept);
showBars();
for (const scale of scales) {
  for (const input of scale.querySelectorAll("input")) showScale(input, scale.dataset.kind);
}
listen();
if (restored) compare(kept);
lesson.dataset.ready = "true";
