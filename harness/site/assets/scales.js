// The scales of predictions: shares that add up to 100 %, waiting times on a logarithmic scale, and percent.

const STEPS_PER_DECADE = 100; // of the slider, from 1 ms on

/** Returns even shares in percent. replicas: how many replicas each bar stands for. */
export function evenShares(replicas) {
  const total = replicas.reduce((sum, count) => sum + count, 0);
  return replicas.map((count) => (100 * count) / total);
}

/** Returns the shares with shares[place] set to `value`; the others keep their proportions and fill up 100. */
export function balanced(shares, place, value) {
  if (shares.length === 1) return [100];
  const rest = shares.reduce((sum, share, other) => (other === place ? sum : sum + share), 0);
  return shares.map((share, other) => {
    if (other === place) return value;
    return rest > 0 ? (share * (100 - value)) / rest : (100 - value) / (shares.length - 1);
  });
}

/** Returns the value at a place of the slider: ms on the scale "log", else percent. */
export const scaleValue = (kind, place) => (kind === "log" ? 10 ** (place / STEPS_PER_DECADE) : place);

/** Returns the place of the slider for a value, as near as the scale goes. */
export const scalePlace = (kind, value) =>
  kind === "log" ? STEPS_PER_DECADE * Math.log10(Math.max(1, value)) : value;

/** Returns a value in words, with two digits. */
export function scaleText(kind, value) {
  if (kind !== "log") return `${value} %`;
  return value >= 1000 ? `${+(value / 1000).toPrecision(2)} s` : `${+value.toPrecision(2)} ms`;
}
