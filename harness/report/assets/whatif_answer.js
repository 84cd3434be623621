// The answer of the what-if: one fleet simulated many times, each with arrivals and placements of its own.

import { Machine, Requests, aliasTables } from "./whatif_fleet.js";

/** What each policy of the page is to the simulator. */
export const POLICIES = {
  round_robin: { rule: "round_robin", sticky: false },
  least_request: { rule: "least_request", sticky: false },
  random: { rule: "random", sticky: false },
  sticky: { rule: "round_robin", sticky: true },
  hash: { rule: "random", sticky: true },
};
// As many simulations as of a run, and as many requests: harness/testbed/simulated/predict.py.
const SIMULATIONS = [39, 19];
const MOST_REQUESTS = 200_000; // of all simulations together: about a tenth of a second
const BAND_SHARE = 0.9;
const FEWEST_SIMULATED = 200; // requests of one simulation, about

/**
 * Simulates a fleet and returns what nine of ten simulations lie within.
 *
 * settings: clients, rate_per_s, skew, replicas, slots, service_ms, policy. load: warm_up_s, duration_s,
 * distribution, added_ms (what network and parts add to each latency).
 *
 * Returns {simulations, window_s, capacity_per_s, overloaded (share of simulations in which a replica gets more than
 * it can serve), max_over_mean, p50_ms, p99_ms (bands), ranks (bands: requests a second of the busiest replica, the
 * next, ...)}. A band is {low, median, high}.
 */
export function answerOf(settings, load) {
  const { clients, skew, rate_per_s: rate, slots, service_ms: serviceMs } = settings;
  const time = simulatedTime(rate, load);
  const simulations = SIMULATIONS.find((count) => count * rate * time.total <= MOST_REQUESTS) ?? SIMULATIONS.at(-1);
  const tables = aliasTables(clients, skew);
  const fleet = {
    clients, slots, rate, replicas: settings.replicas, mean: serviceMs / 1000, distribution: load.distribution,
    ...POLICIES[settings.policy],
  };
  const found = [];
  for (let number = 0; number < simulations; number++) found.push(simulated({ ...fleet, seed: 2 * number }, tables, time));
  const capacity = (slots * 1000) / serviceMs;
  const perSecond = found.map(({ counts }) => counts.map((count) => count / time.window));
  const latency = (part) => bandOf(found.map((one) => one.latencyMs(part) + load.added_ms));
  return {
    simulations,
    window_s: time.window,
    capacity_per_s: capacity,
    overloaded: perSecond.filter((ranks) => ranks[0] > capacity).length / simulations,
    max_over_mean: bandOf(found.map((one) => one.maxOverMean())),
    p50_ms: latency(0.5),
    p99_ms: latency(0.99),
    ranks: perSecond[0].map((_, rank) => bandOf(perSecond.map((ranks) => ranks[rank]))),
  };
}

/** Returns how long a load is simulated: as in the run, less where requests are many, longer where they are few. */
function simulatedTime(rate, { warm_up_s: warmUp, duration_s: window }) {
  const asked = warmUp + window;
  const most = MOST_REQUESTS / SIMULATIONS.at(-1) / rate;
  const total = Math.min(Math.max(asked, FEWEST_SIMULATED / rate), most);
  return { total, window: (window * total) / asked, warmUp: (warmUp * total) / asked };
}

/** Simulates a fleet once. Counted are the requests that arrive after the warm-up. */
function simulated(fleet, tables, time) {
  const requests = new Requests(fleet, tables), machine = new Machine(fleet);
  const counts = new Float64Array(fleet.replicas), latencies = [];
  for (requests.next(); requests.at < time.total; requests.next()) {
    const end = machine.serve(requests.at, requests.client, requests.service);
    if (requests.at < time.warmUp) continue;
    counts[machine.replica] += 1;
    latencies.push(end - requests.at);
  }
  return new Simulated(counts, latencies);
}

class Simulated {
  constructor(counts, latencies) {
    this.counts = [...counts.sort()].reverse(); // the busiest replica first
    this.latencies = Float64Array.from(latencies).sort();
  }

  maxOverMean() {
    return this.latencies.length ? (this.counts[0] * this.counts.length) / this.latencies.length : 1;
  }

  latencyMs(part) {
    const rank = Math.max(1, Math.ceil(part * this.latencies.length));
    return 1000 * (this.latencies[rank - 1] ?? 0);
  }
}

/** Returns the band of some simulated values, as bands_of of harness/testbed/simulated/predict.py does. */
function bandOf(values) {
  const ordered = Float64Array.from(values).sort();
  const below = Math.round(((1 - BAND_SHARE) / 2) * (ordered.length + 1));
  return { low: ordered[below - 1], median: ordered[ordered.length >> 1], high: ordered[ordered.length - below] };
}
