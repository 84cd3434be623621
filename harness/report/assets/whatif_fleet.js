// The simulator of the what-if: simulator/fast.py in JavaScript. The same fleet gives the same picks and times.
//
// A fleet has clients, replicas, slots, rate (requests a second), mean (of a service, seconds), skew, distribution
// (constant, exponential, lognormal), rule (round_robin, random, least_request), sticky, and seed.

import { SplitMix } from "./whatif_random.js";

const SIGMA = 1; // of the logarithm of lognormal service times
const NOBODY = -1;

/** Returns {keep, other}: the tables with which a client is drawn by its rate. See alias_tables of fast.py. */
export function aliasTables(clients, skew) {
  const weights = Float64Array.from({ length: clients }, (_, number) => (number + 1) ** -skew);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const keep = weights.map((weight) => weight * (clients / total));
  const other = Int32Array.from(weights, (_, number) => number);
  const order = new Int32Array(clients); // small entries from the left, large ones from the right
  let small = 0, large = clients;
  keep.forEach((share, number) => (order[share < 1 ? small++ : --large] = number));
  while (small > 0 && large < clients) {
    const poor = order[--small], rich = order[large];
    other[poor] = rich;
    keep[rich] -= 1 - keep[poor];
    if (keep[rich] < 1) {
      large += 1;
      order[small++] = rich;
    }
  }
  for (let place = 0; place < small; place++) keep[order[place]] = 1; // what rounding leaves over
  for (let place = large; place < clients; place++) keep[order[place]] = 1;
  return { keep, other };
}

/** Draws the requests of a fleet, one after the other: `at` (seconds), `client`, `service` (seconds). */
export class Requests {
  constructor(fleet, { keep, other }) {
    this.gap = 1 / fleet.rate;
    this.mean = fleet.mean;
    this.distribution = fleet.distribution;
    this.keep = keep;
    this.other = other;
    this.random = new SplitMix(fleet.seed);
    this.at = 0;
  }

  next() {
    this.at -= Math.log1p(-this.random.unit()) * this.gap;
    this.service = this.drawnService();
    const drawn = this.random.below(this.keep.length);
    this.client = this.random.alsoUnit() >= this.keep[drawn] ? this.other[drawn] : drawn;
  }

  drawnService() {
    const first = this.random.unit();
    if (this.distribution === "constant") return this.mean;
    if (this.distribution === "exponential") return this.mean * -Math.log1p(-first);
    const normal = Math.sqrt(-2 * Math.log1p(-first)) * Math.cos(2 * Math.PI * this.random.unit());
    return this.mean * Math.exp(SIGMA * (normal - SIGMA / 2));
  }
}

/** The balancer and the replicas of a fleet. */
export class Machine {
  constructor(fleet) {
    this.rule = fleet.rule;
    this.sticky = fleet.sticky;
    this.replicas = fleet.replicas;
    this.freeAt = Array.from({ length: fleet.replicas }, () => new Float64Array(fleet.slots)); // heaps
    this.replicaOf = new Int32Array(fleet.clients).fill(NOBODY);
    this.endsAt = Array.from({ length: fleet.rule === "least_request" ? fleet.replicas : 0 }, () => []); // heaps
    this.random = new SplitMix(fleet.seed + 1);
    this.turn = 0;
    this.replica = NOBODY;
  }

  /** Lets a request arrive and returns when it ends, in seconds. `replica` is then the one that was picked. */
  serve(at, client, service) {
    let replica = this.sticky ? this.replicaOf[client] : NOBODY;
    if (replica === NOBODY) {
      replica = this.pick(at);
      if (this.sticky) this.replicaOf[client] = replica;
    } else if (this.rule === "least_request") {
      this.busy(replica, at);
    }
    const slots = this.freeAt[replica];
    const end = Math.max(at, slots[0]) + service;
    replaceFirst(slots, slots.length, end);
    if (this.rule === "least_request") push(this.endsAt[replica], end);
    this.replica = replica;
    return end;
  }

  pick(at) {
    if (this.rule === "round_robin") {
      const replica = this.turn;
      this.turn = replica + 1 < this.replicas ? replica + 1 : 0;
      return replica;
    }
    const first = this.random.below(this.replicas);
    if (this.rule === "random") return first;
    // Envoy: two are drawn with replacement. Of equally busy ones the first is taken.
    const second = this.random.alsoBelow(this.replicas);
    const busyFirst = this.busy(first, at), busySecond = this.busy(second, at);
    return busySecond < busyFirst ? second : first;
  }

  /** Returns how many requests a replica has under way. */
  busy(replica, at) {
    const ends = this.endsAt[replica];
    while (ends.length && ends[0] <= at) {
      const last = ends.pop();
      if (ends.length) replaceFirst(ends, ends.length, last);
    }
    return ends.length;
  }
}

/** Replaces the smallest value of a heap. */
function replaceFirst(heap, size, value) {
  let place = 0;
  for (;;) {
    let child = 2 * place + 1;
    if (child >= size) break;
    if (child + 1 < size && heap[child + 1] < heap[child]) child += 1;
    if (value <= heap[child]) break;
    heap[place] = heap[child];
    place = child;
  }
  heap[place] = value;
}

function push(heap, value) {
  let place = heap.length;
  while (place > 0 && heap[(place - 1) >> 1] > value) {
    heap[place] = heap[(place - 1) >> 1];
    place = (place - 1) >> 1;
  }
  heap[place] = value;
}
