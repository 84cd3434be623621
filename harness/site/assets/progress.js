// What the learner predicted, kept in this browser. A browser may keep nothing for pages from disk: all goes on without.

const KEY = "lb-lab.predictions";

/** Returns {experiment: prediction}; {} where nothing is kept or where it cannot be read. */
export function keptPredictions() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY));
    return kept !== null && typeof kept === "object" && !Array.isArray(kept) ? kept : {};
  } catch {
    return {};
  }
}

/** Keeps a prediction, or forgets it if it is undefined; returns whether the browser could. */
export function keepPrediction(experiment, prediction) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...keptPredictions(), [experiment]: prediction }));
    return true;
  } catch {
    return false;
  }
}

export function forgetPredictions() {
  try {
    localStorage.removeItem(KEY);
  } catch {
    // There was nothing to forget.
  }
}
