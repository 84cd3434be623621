// The guess beside what was measured: a mark at each slider, and a sentence.

import { scalePlace, scaleText, scaleValue } from "./scales.js";

const CLOSE = 1.25; // a guess within a quarter is close

/** Marks the measured shares and returns a sentence. Bars are ranks: the largest guess is the busiest replica's. */
export function compareBars(bars, guess, measured) {
  bars.forEach((bar, place) => {
    const mark = bar.parentElement.querySelector("[data-part=measured-bar]");
    mark.hidden = false;
    mark.querySelector("i").style.width = `${measured[place]}%`;
    mark.querySelector(".value").textContent = `${measured[place]} %`;
  });
  const most = Math.round(Math.max(...guess));
  return `You gave the busiest replica ${most} % of the requests. It got ${measured[0]} %. ${howClose(most, measured[0])}`;
}

/**
 * Marks the measured values of a scale and returns a sentence for each.
 *
 * guess: places of the sliders. word: "measured", or "computed" of a simulated run.
 */
export function compareScale(scale, guess, measured, word) {
  const kind = scale.dataset.kind;
  return [...scale.querySelectorAll("input")].map((input, place) => {
    const { arm, value, text, at_least: atLeast } = measured[place];
    const mark = input.parentElement.querySelector("[data-part=measured-place]");
    const part = (100 * (scalePlace(kind, value) - input.min)) / (input.max - input.min);
    mark.hidden = false;
    mark.style.setProperty("--place", `${Math.min(100, Math.max(0, part))}%`);
    mark.querySelector("span").textContent = `${word} ${atLeast ? "≥ " : ""}${text}`;
    const guessed = scaleValue(kind, guess[place]);
    const was = `${arm}: you said ${scaleText(kind, guessed)}, it was ${atLeast ? "at least " : ""}${text}.`;
    return `${was} ${kind === "log" ? howClose(guessed, value, atLeast) : howNear(guessed, value)}`;
  });
}

/** Marks the right answer and returns a sentence. */
export function compareChoice(choice, guess, { answer, measured }) {
  const right = choice.querySelector(`input[value="${answer}"]`).closest(".option");
  right.classList.add("right");
  return `Who suffers: ${guess === answer ? "you were right." : `it was “${right.textContent.trim()}”.`} ${measured}`;
}

function howClose(guess, value, atLeast = false) {
  if (atLeast && guess >= value) return "That fits.";
  const [low, high] = [guess, value].sort((one, other) => one - other);
  if (high <= low * CLOSE) return "That is close.";
  if (low <= 0) return "";
  const times = +(high / low).toPrecision(2);
  return guess < value ? `That is ${times} times as much.` : `Your guess was ${times} times as much.`;
}

function howNear(guess, value) {
  return Math.abs(guess - value) <= 3 ? "That is close." : "";
}
