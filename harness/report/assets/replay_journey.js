// Where a request is on its way at a moment. Times of arrival, waiting and service are the recorded ones. A
// journey between the parts takes a millisecond or less, too short to be seen: each way is drawn for
// TRAVEL_MS of the viewer's time at least. It then begins before, or ends after, its recorded time.

import { MAX_MARGIN_MS } from "./replay_record.js";

export const TRAVEL_MS = 150;

/** Returns how many quanta a way is drawn for at least, at a speed: 1 is the speed at which it happened. */
export function shortestWay(record, speed) {
  return Math.min(TRAVEL_MS * speed, MAX_MARGIN_MS) * record.quantaPerMs;
}

const between = (t, from, to) => (to <= from ? 1 : Math.min(1, Math.max(0, (t - from) / (to - from))));

/**
 * Calls `visit` for everything of request `row` that travels at t.
 *
 * visit(kind, part, replica): kind "out", "back", "failed" (back with an error) or "lost" (sent to a replica
 * whose ledger does not have it); part 0 to 1 of the way between client and replica; replica -1: the proxy.
 * From 0 to 0.5 it is on the client's side of the proxy, and from 0.5 to 1 on the replica's.
 */
export function eachOnItsWay(record, row, t, way, visit) {
  const { requests, stays } = record;
  const first = requests.firstStay[row];
  const end = requests.firstStay[row + 1];
  if (first === end) return withoutStay(record, row, t, way, visit);
  for (let stay = first; stay < end; stay++) {
    if (stay === first) wayOut(requests, row, stays.arrived[stay], stays.replica[stay], t, way, visit);
    else retried(stays, stay, t, visit);
  }
  const last = end - 1;
  const finished = stays.finished[last];
  const failed = requests.code[row] !== 0;
  if (requests.done[row] < finished) {
    // The client gave up before the replica did: it gets its error now.
    if (failed && t > requests.done[row] && t <= requests.done[row] + way) visit("failed", 0, stays.replica[last]);
    return;
  }
  const back = Math.max(requests.done[row], finished + way);
  if (t > finished && t <= back) visit(failed ? "failed" : "back", 1 - between(t, finished, back), stays.replica[last]);
}

function wayOut(requests, row, arrived, replica, t, way, visit) {
  if (t > arrived) return;
  const known = requests.proxy[row] >= 0;
  const proxy = Math.min(known ? requests.proxy[row] : (requests.sent[row] + arrived) / 2, arrived - way / 2);
  const sent = Math.min(requests.sent[row], proxy - way / 2);
  if (t <= sent) return;
  visit("out", t <= proxy ? 0.5 * between(t, sent, proxy) : 0.5 + 0.5 * between(t, proxy, arrived), replica);
}

/** The way of one more attempt: from the replica that failed to the proxy, and to the next replica. */
function retried(stays, stay, t, visit) {
  const left = stays.finished[stay - 1];
  const arrived = stays.arrived[stay];
  if (t <= left || t > arrived) return;
  const part = between(t, left, arrived);
  if (part < 0.5) visit("failed", 1 - part, stays.replica[stay - 1]);
  else visit("out", part, stays.replica[stay]);
}

/** No replica has recorded it: it waits where it was sent, and its client gets an error. */
function withoutStay(record, row, t, way, visit) {
  const { requests } = record;
  const sent = requests.sent[row];
  const done = requests.done[row];
  const toward = requests.toward[row];
  const reached = Math.min(sent + way, Math.max(sent, done));
  const farthest = toward < 0 ? 0.5 : 1;
  if (t > sent && t <= reached) visit("out", farthest * between(t, sent, reached), toward);
  else if (t > reached && t <= done) visit("lost", farthest, toward);
  else if (t > done && t <= done + way) {
    visit(requests.code[row] ? "failed" : "back", farthest * (1 - between(t, done, done + way)), toward);
  }
}

/** Calls visit(part, outward) for each message of a stream that travels at t: see eachOnItsWay. */
export function eachMessage(record, row, t, way, visit) {
  const { requests, messages } = record;
  const method = record.methods[requests.method[row]];
  const end = requests.firstMessage[row + 1];
  for (let message = requests.firstMessage[row]; message < end; message++) {
    const sent = messages.sent[message];
    const received = messages.received[message];
    if (method === "GetVideo") {
      // Ping-pong: out and back at once. The ledger does not say when the replica had it: the middle.
      const middle = (sent + received) / 2;
      const half = Math.max(way, (received - sent) / 2);
      if (t > middle - half && t <= middle) visit(between(t, middle - half, middle), true);
      else if (t > middle && t <= middle + half) visit(1 - between(t, middle, middle + half), false);
    } else if (method === "GetVideos") {
      if (t > sent && t <= sent + way) visit(between(t, sent, sent + way), true);
    } else if (t > received - way && t <= received) {
      visit(1 - between(t, received - way, received), false);
    }
  }
}
