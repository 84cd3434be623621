// The what-if on the page: sliders, a policy, and the answer of the simulator beside what the run measured.

import { answerOf } from "./whatif_answer.js";
import { drawLoad, drawScale } from "./whatif_drawing.js";
import { settingText, sliderValues } from "./whatif_sliders.js";
import { answerText, bandText, changesText, timeText } from "./whatif_words.js";

const FIGURES = ["max_over_mean", "p50_ms", "p99_ms"];
const ratioText = (value) => String(+value.toPrecision(3));

class WhatIf {
  constructor(root, data) {
    this.root = root;
    this.data = data;
    this.part = (name) => root.querySelector(`[data-part="${name}"]`);
    this.sliders = [...root.querySelectorAll("input[data-setting]")];
    this.values = Object.fromEntries(this.sliders.map(({ dataset: { setting } }) =>
      [setting, sliderValues(setting, data.arms.map((arm) => arm.settings[setting]))]));
    this.base = data.arms[0];
  }

  start() {
    for (const slider of this.sliders) {
      slider.max = this.values[slider.dataset.setting].length - 1;
      slider.addEventListener("input", () => this.askSoon());
    }
    this.part("policy").addEventListener("change", () => this.askSoon());
    this.part("arm").addEventListener("change", (event) => {
      this.take(this.data.arms.find((arm) => arm.name === event.target.value));
    });
    this.part("back").addEventListener("click", () => this.take(this.base));
    new ResizeObserver(() => this.draw()).observe(this.part("answer"));
    this.take(this.base);
  }

  /** Sets everything as it was in an arm of the run. */
  take(arm) {
    this.base = arm;
    for (const slider of this.sliders) {
      const name = slider.dataset.setting;
      slider.value = this.values[name].indexOf(arm.settings[name]);
    }
    this.part("policy").value = arm.settings.policy;
    this.ask();
  }

  get settings() {
    const chosen = this.sliders.map(({ dataset: { setting }, value }) => [setting, this.values[setting][value]]);
    return { ...Object.fromEntries(chosen), policy: this.part("policy").value };
  }

  /** Answers once for all changes of a moment: a slider may send many. */
  askSoon() {
    this.showSettings();
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.ask());
  }

  ask() {
    this.showSettings();
    const settings = this.settings;
    this.answer = answerOf(settings, this.data.load);
    this.measured = this.data.arms.find((arm) => !changesText(settings, arm.settings).length);
    if (this.measured) this.base = this.measured;
    this.tell(settings);
    this.draw();
    this.root.dataset.ready = "true";
  }

  showSettings() {
    const settings = this.settings;
    for (const slider of this.sliders) {
      const text = settingText(slider.dataset.setting, settings[slider.dataset.setting]);
      slider.ariaValueText = text;
      slider.nextElementSibling.textContent = text;
    }
  }

  tell(settings) {
    const { word } = this.data, { measured, base, answer } = this;
    const name = base.name.replaceAll("_", " ");
    this.part("state").textContent = measured ? `Simulated, and ${word}: arm ${name}.` : `Simulated, not ${word}.`;
    this.part("changes").textContent = measured ? "" : `Changed from arm ${name}: ${changesText(settings, base.settings).join(", ")}.`;
    this.part("words").textContent = answerText(settings, answer);
    const busiest = bandText(answer.ranks[0], (value) => Math.round(value).toLocaleString("en"));
    this.part("load-text").textContent = `Requests a second of each replica. The busiest gets ${busiest}.`;
    this.part("seconds").textContent =
      `Each of ${answer.simulations} simulations has ${+answer.window_s.toPrecision(2)} s of load after its warm-up, with arrivals and placements of its own.`;
    this.part("back").hidden = Boolean(measured);
    this.part("arm").value = measured ? measured.name : "";
    this.root.dataset.measured = measured ? measured.name : "";
    this.part("mark-here").hidden = !measured;
    this.part("mark-elsewhere").hidden = Boolean(measured);
    this.part("mark-elsewhere-arm").textContent = name;
    for (const figure of FIGURES) {
      const text = figure === "max_over_mean" ? ratioText : timeText;
      this.part(`simulated-${figure}`).textContent = bandText(answer[figure], text);
      this.part(`measured-${figure}`).textContent = measured ? measuredText(measured.measured[figure], text) : `not ${word}`;
    }
  }

  /** Draws the answer as wide as the page is now. */
  draw() {
    if (!this.answer) return;
    const { answer, measured, base } = this;
    const svg = this.part("load");
    drawLoad(svg, svg.clientWidth || 320, answer, measured?.measured.ranks_per_s);
    for (const figure of FIGURES) {
      const scale = this.part(`scale-${figure}`), log = figure !== "max_over_mean";
      const value = base.measured[figure]?.value;
      const mark = value === undefined ? undefined : { value, kind: measured ? "measured" : "elsewhere" };
      drawScale(scale, scale.clientWidth || 320, answer[figure], mark, log, log ? timeText : ratioText);
    }
  }
}

/** figure: {value, at_least}, or null where nothing was measured. */
function measuredText(figure, text) {
  if (!figure) return "no usable figure";
  return `${figure.at_least ? "≥ " : ""}${text(figure.value)}`;
}

for (const root of document.querySelectorAll("[data-what-if]")) {
  new WhatIf(root, JSON.parse(root.querySelector('script[type="application/json"]').textContent)).start();
}
