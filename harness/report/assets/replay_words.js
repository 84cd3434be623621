// What the drawing shows at a moment, in sentences: for those who read first, and for those who cannot see it.

const MANY = 10;

export const seconds = (t, record) => (t / record.quantaPerMs / 1000).toFixed(2);
export const armTitle = (name) => name.replaceAll("_", " ");

/** Returns whether a line is worth an alarm: five rounds of all slots stand in it. */
export const isLong = (waiting, slots) => waiting > 5 * slots;

const plural = (count, one, many) => (count ? `${count.toLocaleString("en")} ${count === 1 ? one : many}` : `No ${one}`);

/** Returns a sentence or two about an arm at t. counts: record.countsAt(t). */
export function sentence(record, counts, t) {
  const parts = [record.hasStreams ? openStreams(counts) : lines(record, counts, t)];
  if (counts.failed) parts.push(`${plural(counts.failed, "request has", "requests have")} failed so far.`);
  return parts.join(" ");
}

function openStreams({ replicas }) {
  const open = replicas.map((replica) => replica.open);
  const total = open.reduce((sum, count) => sum + count, 0);
  if (!total) return "No stream is open.";
  const { most, name } = longest(replicas, "open");
  return `${plural(total, "stream is", "streams are")} open, ${most} of them at ${name}.`;
}

function lines(record, counts, t) {
  const { replicas, waiting } = counts;
  if (!waiting) return underWayWords(counts);
  const { most, name, number } = longest(replicas, "waiting");
  const others = [...replicas.keys()].filter((other) => other !== number && record.isThere(other, t));
  if (!others.length) return `${plural(waiting, "request waits", "requests wait")} for a slot.`;
  if (most < 0.6 * waiting || !isLong(most, record.slots(number))) {
    return `${plural(waiting, "request waits", "requests wait")}, at most ${most} at one replica.`;
  }
  const sum = (of) => others.reduce((total, other) => total + of(other), 0);
  const slots = sum((other) => record.slots(other));
  const free = Math.max(0, slots - sum((other) => replicas[other].serving));
  const all = most === waiting ? `All ${waiting.toLocaleString("en")}` : `${most.toLocaleString("en")} of ${waiting.toLocaleString("en")}`;
  return `${all} waiting requests stand in line at ${name}, while ${free} of ${slots} slots elsewhere are free.`;
}

/** Says where those under way are. Many that are in no slot and in no line wait where no ledger looks, as in gRPC. */
function underWayWords({ underWay, replicas }) {
  const words = `${plural(underWay, "request is", "requests are")} under way`;
  if (!underWay) return `${words}.`;
  const served = replicas.reduce((sum, { serving }) => sum + serving, 0);
  const between = underWay - served;
  const many = between > MANY && between > underWay / 2 ? `, ${between.toLocaleString("en")} between client and replica` : "";
  return `${words}: ${served || "none"} in a slot, none in line${many}.`;
}

function longest(replicas, key) {
  const most = Math.max(...replicas.map((replica) => replica[key]));
  const number = replicas.findIndex((replica) => replica[key] === most);
  return { most, number, name: replicas[number].name };
}

/** Says what rates are planned. now: [{record, rate}], record null: of all arms; rate null: the load has ended. */
export function rateWords(now, most) {
  const shown = (rate) => rate.toLocaleString("en", { maximumFractionDigits: rate < 10 ? 1 : 0 });
  const parts = now.map(({ record, rate }) => `${record ? `${armTitle(record.name)} ` : ""}${rate === null ? "none" : `${shown(rate)}/s`} now`);
  return `Planned rate: ${parts.join(", ")}, at most ${shown(most)}/s`;
}

/** Says which nodes of the proxy do not run at t; "" where all do. */
export function nodeWords(record, t) {
  const away = record.arm.nodes.map(({ name }, node) => ({ name, node })).filter(({ node }) => !record.nodeIsThere(node, t));
  const [later, ended] = [true, false].map((wanted) =>
    away.filter(({ node }) => record.nodeComesLater(node, t) === wanted).map(({ name }) => name).join(", "));
  return [ended && `Not running: ${ended}.`, later && `Not there yet: ${later}.`].filter(Boolean).join(" ");
}
