// The sliders of the what-if: each has a list of round values, and the run's own values among them.

const STEPS = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8];
const RANGES = {
  clients: { from: 1, to: 2_000, whole: true },
  rate_per_s: { from: 10, to: 10_000, whole: true },
  skew: { values: Array.from({ length: 21 }, (_, tenths) => tenths / 10) },
  replicas: { from: 1, to: 60, whole: true },
  slots: { from: 1, to: 60, whole: true },
  service_ms: { from: 1, to: 1_000, whole: false },
};

/** Returns the values of a slider in ascending order. own: values of the run, which are among them. */
export function sliderValues(name, own) {
  const { values, from, to, whole } = RANGES[name];
  const all = new Set(own);
  for (const value of values ?? roundValues(from, to)) {
    if (!whole || Number.isInteger(value)) all.add(value);
  }
  if (whole) for (let value = from; value <= 12; value++) all.add(value);
  return [...all].sort((one, other) => one - other);
}

function roundValues(from, to) {
  const found = [];
  for (let decade = 1; decade <= to; decade *= 10) {
    found.push(...STEPS.map((step) => +(step * decade).toPrecision(3)));
  }
  return found.filter((value) => value >= from && value <= to);
}

const UNITS = { rate_per_s: "/s", service_ms: " ms" };

/** Returns a setting with its unit. */
export const settingText = (name, value) => `${(+value.toPrecision(4)).toLocaleString("en")}${UNITS[name] ?? ""}`;
