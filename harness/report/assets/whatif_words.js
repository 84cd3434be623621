// What the answer of the what-if says, in words.

import { settingText } from "./whatif_sliders.js";

const NAMES = { clients: "clients", rate_per_s: "a rate of", skew: "a skew of", replicas: "replicas", slots: "slots", service_ms: "a service time of" };
const POLICY_NAMES = { round_robin: "round robin", least_request: "least request", random: "random", sticky: "sticky", hash: "hashing" };

/** Returns a time with about three digits. */
export function timeText(ms) {
  if (ms >= 1000) return `${+(ms / 1000).toPrecision(3)} s`;
  return ms >= 1 ? `${+ms.toPrecision(3)} ms` : `${+ms.toFixed(2)} ms`;
}

/** Returns a band as "1.6 (1.5 to 2.1)"; the median alone where there is nothing else. */
export function bandText({ low, median, high }, text) {
  return text(low) === text(high) ? text(median) : `${text(median)} (${text(low)} to ${text(high)})`;
}

/** Returns how the settings differ from those of an arm: ["24 clients instead of 12", ...]. */
export function changesText(settings, base) {
  return Object.keys(settings).filter((name) => settings[name] !== base[name]).map((name) => {
    if (name === "policy") return `${POLICY_NAMES[settings.policy]} instead of ${POLICY_NAMES[base.policy]}`;
    const [now, before] = [settings, base].map((one) => settingText(name, one[name]));
    return NAMES[name].startsWith("a ") ? `${NAMES[name]} ${now} instead of ${before}` : `${now} ${NAMES[name]} instead of ${before}`;
  });
}

/** Returns the answer in a few sentences. */
export function answerText(settings, answer) {
  const { capacity_per_s: capacity, simulations, overloaded } = answer;
  const total = capacity * settings.replicas;
  const each = `${settingText("rate_per_s", capacity)} that it can serve`;
  if (settings.rate_per_s > total) {
    return `All replicas together can serve ${settingText("rate_per_s", total)}, and ${settingText("rate_per_s", settings.rate_per_s)} arrive. No policy helps: the lines grow for as long as the load lasts.`;
  }
  const used = `The replicas are ${Math.round((100 * settings.rate_per_s) / total)} % used on average.`;
  const count = Math.round(overloaded * simulations);
  if (!count) return `${used} No replica gets more than the ${each}.`;
  const often = count === simulations ? `In all ${simulations} simulations` : `In ${count} of ${simulations} simulations`;
  return `${used} ${often} a replica gets more than the ${each}. Its line grows for as long as the load lasts.${overloadedRanks(answer)}`;
}

function overloadedRanks({ ranks, capacity_per_s: capacity }) {
  const over = ranks.filter((band) => band.median > capacity).length;
  return over > 1 ? ` Mostly ${over} replicas do.` : "";
}
