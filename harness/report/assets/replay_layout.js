// Where everything stands in the drawing of one arm: clients on the left, replicas on the right, and the proxy
// between them where there is one. Lengths are CSS pixels.

const MAX_CLIENTS = 12;
export const HOT_CLIENTS = 9; // as many as there are colours for them
const MAX_RADIUS = 16;
const LEAST_NODE = 24; // height of a node of the proxy with its name
const NODE_NAME = 15; // what the name takes of it
const ZONE_WIDTH = 17; // of the bracket beside the replicas of a zone
const QUEUE_CELLS = [7, 6, 5, 4, 3, 2]; // side of a waiting request, its gap included

/** Returns the clients as circles: the busiest ones each, the others as one. clients: by requests of all arms. */
export function clientNodes(record, clientCount) {
  const counts = new Array(clientCount).fill(0);
  for (const client of record.requests.client) counts[client]++;
  const present = counts.flatMap((count, client) => (count ? [client] : []));
  const single = present.length <= MAX_CLIENTS ? present : present.filter((client) => client < HOT_CLIENTS);
  const nodes = single.map((client) => ({ clients: 1, client, requests: counts[client] }));
  const grouped = present.length - single.length;
  if (grouped) {
    const rest = counts.slice(HOT_CLIENTS).reduce((sum, count) => sum + count, 0);
    nodes.push({ clients: grouped, client: HOT_CLIENTS, requests: rest });
  }
  const nodeOf = new Int16Array(clientCount).fill(nodes.length - 1);
  nodes.forEach((node, number) => {
    if (node.clients === 1) nodeOf[node.client] = number;
    node.share = node.requests / Math.max(1, record.requests.count);
  });
  return { nodes, nodeOf };
}

/** Returns the height of an arm's drawing of that width. nodes: of its proxy, where it has several. */
export function heightFor(width, replicas, nodes) {
  const row = width < 420 ? 78 : 104;
  const least = Math.max(width < 420 ? 300 : 400, nodes * LEAST_NODE);
  return Math.max(least, Math.min(replicas * row, Math.max(560, replicas * 30))) + 24;
}

/** Returns neighbours of one zone together: {zone, first, last}; none without zones. */
function zonesOf(zones) {
  const runs = [];
  zones.forEach((zone, place) => {
    if (zone && runs.at(-1)?.zone === zone && runs.at(-1).last === place - 1) runs.at(-1).last = place;
    else if (zone) runs.push({ zone, first: place, last: place });
  });
  return runs;
}

export class Layout {
  /** longestLine: of all arms that are compared, so that a square means the same in each. */
  constructor(record, clients, width, height, longestLine) {
    const replicas = record.replicas.length;
    this.width = width;
    this.height = height;
    this.narrow = width < 420;
    this.route = record.arm.route;
    this.zones = zonesOf(record.arm.zones);
    const labels = Math.min(150, Math.max(96, width * 0.27)) + (this.zones.length ? ZONE_WIDTH : 0);
    this.boxWidth = Math.max(26, Math.min(38, width * 0.07));
    this.boxLeft = width - labels - this.boxWidth - 10;
    this.labelLeft = this.boxLeft + this.boxWidth + 9;
    this.top = 22;
    this.rowHeight = (height - this.top - 6) / replicas;
    this.boxHeight = Math.max(6, Math.min(56, this.rowHeight * 0.62));
    this.clientX = MAX_RADIUS + 2;
    this.hubX = this.clientX + (this.boxLeft - this.clientX) * 0.4;
    this.hubY = this.top + (height - this.top) / 2;
    this.nodes = this.route === "envoy" ? this.placeNodes(record.arm.nodes) : [];
    this.placeClients(clients);
    this.rowY = Float32Array.from({ length: replicas }, (_, row) => this.top + this.rowHeight * (row + 0.5));
    this.queueRight = this.boxLeft - 6;
    this.sizeQueues(longestLine);
    this.slots = record.replicas.map((_, replica) => this.slotGrid(record.slots(replica)));
  }

  placeClients({ nodes }) {
    const step = (this.height - this.top - 12) / nodes.length;
    const most = Math.max(...nodes.map((node) => node.share));
    const largest = Math.min(MAX_RADIUS, step * 0.48);
    this.clientY = Float32Array.from(nodes, (_, number) => this.top + step * (number + 0.5));
    this.clientRadius = Float32Array.from(nodes, (node) => Math.max(2.5, largest * Math.sqrt(node.share / most)));
  }

  /** Returns where each node of the proxy stands, those of a zone together; the name stands below its bar. */
  placeNodes(nodes) {
    const order = nodes.map((_, node) => node).sort(
      (a, b) => nodes[a].zone.localeCompare(nodes[b].zone) || a - b);
    const step = (this.height - this.top - 4) / nodes.length;
    const barHeight = Math.max(6, step - NODE_NAME - 4);
    return nodes.map((_, node) => {
      const top = this.top + 2 + order.indexOf(node) * step;
      return { top, step, barHeight, y: top + barHeight / 2 };
    });
  }

  /** Chooses the largest square with which the longest line has room; if none has, one stands for several. */
  sizeQueues(longestLine) {
    const width = this.queueRight - this.hubX - 22;
    const height = Math.max(6, Math.min(this.rowHeight * 0.8, 92));
    for (const cell of QUEUE_CELLS) {
      this.cell = cell;
      this.queueRows = Math.max(1, Math.floor(height / cell));
      const room = this.queueRows * Math.max(1, Math.floor(width / cell));
      this.perSquare = Math.max(1, Math.ceil(longestLine / room));
      if (this.perSquare === 1) return;
    }
  }

  /** Returns the squares of a replica's slots within its box: side, and place of each from the box's corner. */
  slotGrid(count) {
    const best = { side: 0 };
    for (let columns = 1; columns <= count; columns++) {
      const rows = Math.ceil(count / columns);
      const side = Math.min((this.boxWidth - 4) / columns, (this.boxHeight - 4) / rows);
      if (side > best.side) Object.assign(best, { side, columns, rows });
    }
    return { count, ...best };
  }

  /** Returns the corner and the side of a slot; slots beyond those that the replica has share the last one. */
  slotAt(replica, slot) {
    const { side, columns, rows, count } = this.slots[replica];
    const place = Math.min(slot, count - 1);
    const left = this.boxLeft + (this.boxWidth - columns * side) / 2 + (place % columns) * side;
    const top = this.rowY[replica] - (rows * side) / 2 + Math.floor(place / columns) * side;
    const gap = side > 6 ? 1.5 : side > 3 ? 0.5 : 0.25;
    return { left: left + gap, top: top + gap, side: side - 2 * gap };
  }

  /** Returns the upper left corner of the square at a place in a replica's line. */
  queueAt(replica, square, squares) {
    const rows = Math.min(this.queueRows, squares);
    const column = Math.floor(square / this.queueRows);
    return {
      left: this.queueRight - (column + 1) * this.cell,
      top: this.rowY[replica] - (rows * this.cell) / 2 + (square % this.queueRows) * this.cell,
    };
  }

  /** Returns where a replica's line ends, at which requests arrive. */
  doorX(squares) {
    return this.queueRight - Math.ceil(squares / this.queueRows) * this.cell - 2;
  }
}
