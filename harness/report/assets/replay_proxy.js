// Draws what lies between clients and replicas: the proxy or each of its nodes, and the ways that are used.

import { colourOfClient } from "./replay_colours.js";
import { nodeLabel } from "./replay_labels.js";
import { countBefore } from "./replay_record.js";

const RECENT_MS = 1000; // so long after its last use a connection is drawn
const FONT = "system-ui, sans-serif";

/** The proxy of one arm, and the ways to it and from it. */
export class ProxyDrawing {
  constructor(record, layout, clients) {
    Object.assign(this, { record, layout, clients });
    this.recent = RECENT_MS * record.quantaPerMs;
    if (layout.route === "envoy-l4") this.connections = connections(record, clients);
    if (layout.nodes.length) Object.assign(this, waysOfNodes(record, clients));
  }

  /** Draws it at t. Returns what it has written below the nodes. */
  draw(context, t, colours) {
    Object.assign(this, { context, colours });
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    context.textAlign = "center";
    const { route, nodes } = this.layout;
    if (nodes.length) return this.drawNodes(t);
    if (route === "envoy") this.drawProxy();
    else if (route === "envoy-l4") this.drawLayer4(t);
    else if (route === "xds") this.drawControlPlane();
    return [];
  }

  drawProxy() {
    const { context, layout, colours } = this;
    this.lines([
      ...Array.from(layout.clientY, (y) => [layout.clientX, y, layout.hubX, layout.hubY]),
      ...Array.from(layout.rowY, (y) => [layout.hubX, layout.hubY, layout.queueRight, y]),
    ]);
    context.fillStyle = colours.faint;
    context.fillRect(layout.hubX - 4, layout.top + 2, 8, layout.height - layout.top - 22);
    this.nameProxy("Envoy");
  }

  nameProxy(name) {
    const { context, layout, colours } = this;
    context.fillStyle = colours.faint;
    context.font = `12px ${FONT}`;
    context.fillText(name, layout.hubX, layout.height - 5);
  }

  /** Draws each node, and who used it within the last second. One that does not run is an empty frame. */
  drawNodes(t) {
    const { layout, record } = this;
    const runs = layout.nodes.map((_, node) => record.nodeIsThere(node, t));
    const used = (pairs) => pairsAt(pairs, t, this.recent);
    this.lines([
      ...used(this.toNodes).filter(({ to }) => runs[to]).map(({ from, to }) =>
        [layout.clientX, layout.clientY[from], layout.hubX, layout.nodes[to].y]),
      ...used(this.fromNodes).filter(({ from }) => runs[from]).map(({ from, to }) =>
        [layout.hubX, layout.nodes[from].y, layout.queueRight, layout.rowY[to]]),
    ]);
    return layout.nodes.map((place, node) => this.drawNode(place, runs[node], nodeLabel(record, node, t, layout.narrow)));
  }

  drawNode({ top, y, barHeight }, runs, { text, strong, tone }) {
    const { context, layout, colours } = this;
    const corner = [layout.hubX - 4, top];
    context.fillStyle = runs ? colours.faint : colours.page;
    context.fillRect(...corner, 8, barHeight);
    if (!runs) {
      context.strokeStyle = colours.faint;
      context.setLineDash([3, 3]);
      context.strokeRect(corner[0] + 0.5, top + 0.5, 7, barHeight - 1);
      context.setLineDash([]);
    }
    context.font = `${strong ? "600 " : ""}${layout.narrow ? 11 : 12}px ${FONT}`;
    const baseline = y + barHeight / 2 + 11;
    const width = context.measureText(text).width;
    context.fillStyle = colours.page; // lines must not cross the name
    context.fillRect(layout.hubX - width / 2 - 2, baseline - 10, width + 4, 12);
    context.fillStyle = colours[tone];
    context.fillText(text, layout.hubX, baseline);
    return text;
  }

  /** Layer 4: draws each connection that was used within the last second, or was the last to be used. */
  drawLayer4(t) {
    const { context, layout, colours, record } = this;
    context.globalAlpha = 0.45;
    context.lineWidth = 1.5;
    for (const { from, to } of pairsAt(this.connections, t, this.recent)) {
      context.strokeStyle = colours.dots[colourOfClient(this.clients.nodes[from].client)];
      this.lines([[layout.clientX, layout.clientY[from], layout.queueRight, layout.rowY[to]]]);
    }
    context.globalAlpha = 1;
    context.strokeStyle = colours.faint;
    context.strokeRect(layout.hubX - 5.5, layout.top + 2.5, 11, layout.height - layout.top - 22);
    const running = record.arm.nodes.filter((_, node) => record.nodeIsThere(node, t)).length;
    this.nameProxy(`Envoy, layer 4${record.arm.nodes.length ? `, ${running} ${running === 1 ? "node" : "nodes"}` : ""}`);
  }

  /** No request passes the control plane: it stands beside the ways, and tells the clients of the replicas. */
  drawControlPlane() {
    const { context, layout, colours } = this;
    context.strokeStyle = context.fillStyle = colours.faint;
    context.lineWidth = 1.5;
    context.setLineDash([3, 3]);
    this.lines(Array.from(layout.clientY, (y) => [layout.clientX, y, layout.hubX - 44, layout.height - 12]));
    context.strokeRect(layout.hubX - 44.5, layout.height - 19.5, 89, 17);
    context.setLineDash([]);
    context.font = `12px ${FONT}`;
    context.fillText("control plane", layout.hubX, layout.height - 7);
  }

  lines(ends) {
    const { context } = this;
    context.beginPath();
    for (const [fromX, fromY, toX, toY] of ends) {
      context.moveTo(fromX, fromY);
      context.lineTo(toX, toY);
    }
    context.stroke();
  }
}

/** Collects who used which way when: pairs {from, to, times}, their times ascending. */
class Pairs {
  constructor() {
    this.byKey = new Map();
  }

  add(from, to, time) {
    const key = `${from} ${to}`;
    if (!this.byKey.has(key)) this.byKey.set(key, { from, to, times: [] });
    this.byKey.get(key).times.push(time);
  }

  list() {
    const pairs = [...this.byKey.values()];
    for (const { times } of pairs) times.sort((a, b) => a - b);
    return pairs;
  }
}

/** Returns the connections between the clients' circles and replicas, by the arrivals. */
function connections({ stays, requests }, clients) {
  const pairs = new Pairs();
  for (let stay = 0; stay < stays.count; stay++) {
    pairs.add(clients.nodeOf[requests.client[stays.request[stay]]], stays.replica[stay], stays.arrived[stay]);
  }
  return pairs.list();
}

/** Returns the ways from the clients' circles to the proxy's nodes, and from those to replicas. */
function waysOfNodes({ stays, requests }, clients) {
  const [toNodes, fromNodes] = [new Pairs(), new Pairs()];
  for (let row = 0; row < requests.count; row++) {
    if (requests.node[row] >= 0) toNodes.add(clients.nodeOf[requests.client[row]], requests.node[row], requests.sent[row]);
  }
  for (let stay = 0; stay < stays.count; stay++) {
    const node = requests.node[stays.request[stay]];
    if (node >= 0) fromNodes.add(node, stays.replica[stay], stays.arrived[stay]);
  }
  return { toNodes: toNodes.list(), fromNodes: fromNodes.list() };
}

/** Returns the pairs used within `recent` before t, and for each origin the one used last (or to be used first). */
function pairsAt(pairs, t, recent) {
  const last = new Map();
  const shown = new Set();
  for (const pair of pairs) {
    const before = countBefore(pair.times, t);
    const when = before ? pair.times[before - 1] : -1e12 - pair.times[0];
    if (when > t - recent) shown.add(pair);
    if (!last.has(pair.from) || last.get(pair.from).when < when) last.set(pair.from, { pair, when });
  }
  for (const { pair } of last.values()) shown.add(pair);
  return [...shown];
}
