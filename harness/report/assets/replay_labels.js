// The text beside each replica, and below each node of the proxy.

import { isLong, seconds } from "./replay_words.js";

/**
 * Returns the lines beside a replica: {text, strong, tone}, at most `room` of them.
 *
 * count: the replica's of record.countsAt(t); requests: of all replicas.
 */
export function labels(record, count, replica, requests, t, room) {
  const name = { text: count.name, strong: true, tone: "text" };
  const waits = record.isThere(replica, t) ? waitingLabel(record, count, replica) : { text: "not there yet", tone: "faint" };
  if (room === 1) return [{ ...waits, text: `${count.name.replace("replica-", "")}: ${waits.text}` }];
  if (room === 2 || !record.isThere(replica, t)) return [name, waits];
  return allLabels(record, count, replica, requests, t, name, waits).slice(0, room);
}

function allLabels(record, count, replica, requests, t, name, waits) {
  const percent = requests ? Math.round((100 * count.requests) / requests) : 0;
  const share = { text: `${percent} % of ${record.retried ? "attempts" : "requests"}`, tone: "text" };
  const state = stateLabels(record, replica, t);
  if (state.length) return [name, ...state, waits, share];
  const busy = { text: `${count.serving} of ${record.slots(replica)} slots busy`, tone: "faint" };
  return [name, share, waits, ...(record.hasStreams ? [] : [busy])];
}

function waitingLabel(record, count, replica) {
  if (record.hasStreams && !count.waiting) {
    return { text: `${count.open} ${count.open === 1 ? "stream" : "streams"} open`, tone: "faint" };
  }
  const long = isLong(count.waiting, record.slots(replica));
  return { text: `${count.waiting.toLocaleString("en")} waiting`, strong: long, tone: long ? "alarm" : "faint" };
}

/** Returns the events in force at a replica, and what the proxy makes of it where that is not "healthy". */
function stateLabels(record, replica, t) {
  const events = record.eventsAt(t).filter((event) => event.replicas.includes(replica));
  const lines = events.map((event) =>
    event.returns
      ? { text: `${event.name} at ${seconds(event.at, record)} s`, tone: "faint" }
      : { text: event.name, strong: true, tone: "alarm" });
  const seen = record.proxySees(replica, t);
  if (seen !== "healthy") lines.push({ text: `Envoy: ${seen}`, strong: true, tone: "alarm" });
  return lines;
}

/** Returns what stands below a node of the proxy: its name and zone, or what has become of it. */
export function nodeLabel(record, node, t, narrow) {
  const { name, zone } = record.arm.nodes[node];
  if (record.nodeComesLater(node, t)) return { text: `${name}: not there yet`, tone: "faint" };
  const event = record.eventsAt(t).find((one) => one.until !== null && one.nodes.includes(node));
  if (event) return { text: `${name}: ${event.name.replace("proxy ", "")}`, strong: true, tone: "alarm" };
  if (!record.nodeIsThere(node, t)) return { text: `${name}: not there`, strong: true, tone: "alarm" };
  const where = zone && `, ${narrow ? "" : "zone "}${zone}`;
  return { text: `${name}${where}`, tone: "faint" };
}
