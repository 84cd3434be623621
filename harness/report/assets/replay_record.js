// What happened in one arm, ready to be asked for any moment. Nothing here draws.
// A moment t is a whole number of quanta. What happened "by t" has a time below t: times are rounded down, so
// the counts are those of the ledgers at that moment.

import { unpack } from "./replay_unpack.js";

const BUCKET_MS = 50;
// A journey is drawn for this long around its own time at most: see replay_journey.js.
export const MAX_MARGIN_MS = 150;

/** Returns how many of the ascending times are below t. */
export function countBefore(times, t) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < t) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Lists of rows by time: `around(t)` has every row whose interval contains t, and some others near it. */
class Buckets {
  constructor(width, order, begins, ends) {
    this.width = width;
    let last = 0;
    let first = Infinity;
    for (const row of order) {
      first = Math.min(first, this.bucket(begins(row)));
      last = Math.max(last, this.bucket(ends(row)));
    }
    this.first = Number.isFinite(first) ? first : 0;
    const starts = new Int32Array(last - this.first + 2);
    this.each(order, begins, ends, (bucket) => starts[bucket + 1]++);
    for (let bucket = 1; bucket < starts.length; bucket++) starts[bucket] += starts[bucket - 1];
    const rows = new Int32Array(starts[starts.length - 1]);
    const next = starts.slice();
    this.each(order, begins, ends, (bucket, row) => (rows[next[bucket]++] = row));
    this.starts = starts;
    this.rows = rows;
  }

  bucket(t) {
    return Math.floor(t / this.width);
  }

  each(order, begins, ends, visit) {
    for (const row of order) {
      const end = this.bucket(ends(row)) - this.first;
      for (let bucket = this.bucket(begins(row)) - this.first; bucket <= end; bucket++) visit(bucket, row);
    }
  }

  around(t) {
    const bucket = this.bucket(t) - this.first;
    if (bucket < 0 || bucket + 1 >= this.starts.length) return this.rows.subarray(0, 0);
    return this.rows.subarray(this.starts[bucket], this.starts[bucket + 1]);
  }
}

const ascending = (values) => Int32Array.from(values).sort();

/** One arm: its description from the page's data, its requests, and indexes by time. */
export class ArmRecord {
  static async of(arm, data) {
    return new ArmRecord(arm, data, await unpack(arm));
  }

  constructor(arm, data, { requests, stays, messages }) {
    Object.assign(this, { arm, requests, stays, messages });
    this.name = arm.name;
    this.quantaPerMs = 1000 / data.quantum_us;
    this.streams = Uint8Array.from(requests.method, (method) => (data.methods[method] === "AddVideo" ? 0 : 1));
    this.hasStreams = this.streams.includes(1);
    this.retried = stays.count > requests.count;
    this.methods = data.methods;
    this.codes = data.codes;
    this.sent = ascending(requests.sent);
    this.done = ascending(requests.done);
    this.failed = ascending(requests.done.filter((_, row) => requests.code[row]));
    this.replicas = arm.replicas.map((name, number) => this.replicaTimes(name, number));
    this.slot = this.slotsTaken();
    this.buildBuckets();
  }

  /** Returns the ascending moments of everything that a replica did. */
  replicaTimes(name, number) {
    const { stays, streams } = this;
    const times = (column, stream) =>
      ascending(column.filter((_, row) => stays.replica[row] === number && streams[stays.request[row]] === stream));
    return {
      name,
      arrived: times(stays.arrived, 0),
      started: times(stays.started, 0),
      finished: times(stays.finished, 0),
      opened: times(stays.arrived, 1),
      closed: times(stays.finished, 1),
    };
  }

  /** Returns the slot that each stay of a unary request has: the lowest one that is free when it starts. */
  slotsTaken() {
    const { stays } = this;
    // Of those that start in one quantum, one that ends in it, too, has made room for another.
    const order = stays.started.map((_, row) => row).sort(
      (a, b) => stays.started[a] - stays.started[b] || stays.finished[a] - stays.finished[b] || a - b);
    const freeFrom = this.replicas.map(() => []);
    const slot = new Int32Array(stays.count);
    for (const row of order) {
      const free = freeFrom[stays.replica[row]];
      let place = free.findIndex((t) => t <= stays.started[row]);
      if (place < 0) place = free.length;
      free[place] = stays.finished[row];
      slot[row] = place;
    }
    this.slotsSeen = freeFrom.map((free) => free.length);
    return slot;
  }

  buildBuckets() {
    const { requests, stays } = this;
    const width = BUCKET_MS * this.quantaPerMs;
    const margin = MAX_MARGIN_MS * this.quantaPerMs;
    const over = (row) => {
      const last = requests.firstStay[row + 1] - 1;
      return last < requests.firstStay[row] ? requests.done[row] : Math.max(requests.done[row], stays.finished[last]);
    };
    this.underWay = new Buckets(
      width, requests.sent.map((_, row) => row), (row) => requests.sent[row] - margin, (row) => over(row) + margin);
    // In the order in which they wait: by arrival.
    const byArrival = stays.arrived.map((_, row) => row).sort((a, b) => stays.arrived[a] - stays.arrived[b] || a - b);
    this.atReplicas = new Buckets(width, byArrival, (row) => stays.arrived[row], (row) => stays.finished[row]);
  }

  /** Returns the counts at t: of each replica, and of the whole arm. */
  countsAt(t) {
    const replicas = this.replicas.map((times) => {
      const arrived = countBefore(times.arrived, t);
      const started = countBefore(times.started, t);
      const opened = countBefore(times.opened, t);
      return {
        name: times.name,
        requests: arrived + opened,
        waiting: arrived - started,
        serving: started - countBefore(times.finished, t),
        open: opened - countBefore(times.closed, t),
      };
    });
    const sum = (key) => replicas.reduce((total, replica) => total + replica[key], 0);
    return {
      replicas,
      sent: countBefore(this.sent, t),
      underWay: this.underWayAt(t),
      failed: countBefore(this.failed, t),
      requests: sum("requests"),
      waiting: sum("waiting"),
    };
  }

  /** Returns how many requests are under way at t. */
  underWayAt(t) {
    return countBefore(this.sent, t) - countBefore(this.done, t);
  }

  /** Returns how many requests wait at one replica at most, at any time. */
  longestLine() {
    let longest = 0;
    for (const { arrived, started } of this.replicas) {
      let gone = 0;
      for (let come = 0; come < arrived.length; come++) {
        while (gone < started.length && started[gone] <= arrived[come]) gone++;
        longest = Math.max(longest, come + 1 - gone);
      }
    }
    return longest;
  }

  /** Returns the number of slots of a replica: as set, or as many as were seen where nobody knows. */
  slots(replica) {
    return this.arm.slots[replica] || Math.max(1, this.slotsSeen[replica]);
  }

  /** Returns the events that are in force at t; those that only end another one are not. */
  eventsAt(t) {
    const inForce = (event) => event.at < t && (event.until === null || t <= event.until);
    return this.arm.events.filter((event) => !event.ends_another && inForce(event));
  }

  /** Returns what the proxy makes of a replica at t: "healthy" where nobody looked. */
  proxySees(replica, t) {
    let state = "healthy";
    for (const [at, number, seen] of this.arm.proxy_sees) if (number === replica && at < t) state = seen;
    return state;
  }

  isThere(replica, t) {
    const from = this.arm.there_from[replica];
    return from === null || from < t;
  }

  /** Returns whether a node of the proxy runs at t, one of several. */
  nodeIsThere(node, t) {
    return !this.awayAt(node, t);
  }

  /** Returns whether a node of the proxy is still to be added at t. */
  nodeComesLater(node, t) {
    const away = this.awayAt(node, t);
    return away !== undefined && away[0] < 0;
  }

  awayAt(node, t) {
    return this.arm.nodes[node].away.find(([from, until]) => from < t && (until === null || t <= until));
  }
}
