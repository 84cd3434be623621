// Draws one arm at one moment into a canvas. Everything that moves is collected first, by shape and colour, and
// then drawn with one call for each: a browser draws thousands of squares so in a few milliseconds.

import { COLOURS, FAILED, colourOfClient } from "./replay_colours.js";
import { eachMessage, eachOnItsWay } from "./replay_journey.js";
import { labels } from "./replay_labels.js";
import { countBefore } from "./replay_record.js";

const STALE_MS = 2; // a replica that goes on this long after the client gave up works for nobody

/** Shapes of one kind, by colour. */
class Shapes {
  constructor(numbers) {
    this.numbers = numbers; // how many numbers describe one shape
    this.byColour = Array.from({ length: COLOURS }, () => []);
  }

  draw(context, colours, addShape, finish) {
    this.byColour.forEach((values, colour) => {
      if (!values.length) return;
      context.beginPath();
      for (let place = 0; place < values.length; place += this.numbers) addShape(values, place);
      context.fillStyle = context.strokeStyle = colours.dots[colour];
      finish();
    });
  }
}

export class ArmDrawing {
  constructor(record, layout, clients, colourOf) {
    Object.assign(this, { record, layout, clients, colourOf });
    this.pairs = layout.route === "envoy-l4" ? connections(record, clients) : [];
  }

  /** Draws the arm at t. way: see shortestWay. Returns how many waiting and served requests were drawn. */
  draw(context, t, way, colours) {
    Object.assign(this, { context, colours });
    this.dots = new Shapes(2);
    this.rings = new Shapes(2);
    this.crosses = new Shapes(2);
    this.squares = new Shapes(3);
    this.frames = new Shapes(3);
    this.streams = new Shapes(6);
    const counts = this.record.countsAt(t);
    context.clearRect(0, 0, this.layout.width, this.layout.height);
    this.drawEvents(t);
    this.drawWays(t);
    this.placeStays(t);
    this.placeTravellers(t, way);
    this.drawReplicas(counts, t);
    this.drawShapes();
    this.drawClients();
    return this.placed;
  }

  /** Shades the replicas, or the proxy, to which an event has happened, and names it. */
  drawEvents(t) {
    const { context, layout, colours } = this;
    context.font = "600 11px system-ui, sans-serif";
    for (const event of this.record.eventsAt(t)) {
      context.fillStyle = colours.event;
      for (const replica of event.replicas) {
        context.fillRect(layout.hubX + 14, layout.rowY[replica] - layout.rowHeight / 2 + 1,
          layout.width - layout.hubX - 14, layout.rowHeight - 2);
      }
      if (event.replicas.length) continue;
      context.fillRect(layout.hubX - 14, layout.top, 28, layout.height - layout.top);
      context.fillStyle = colours.alarm;
      context.textAlign = "center";
      context.fillText(event.name, layout.hubX, layout.top - 8);
    }
  }

  /** Draws the proxy, and the lines on which requests travel. */
  drawWays(t) {
    const { context, layout, colours } = this;
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    context.beginPath();
    if (layout.route === "envoy") {
      for (const y of layout.clientY) this.line(layout.clientX, y, layout.hubX, layout.hubY);
      for (const y of layout.rowY) this.line(layout.hubX, layout.hubY, layout.queueRight, y);
    }
    context.stroke();
    this.drawConnections(t);
    if (layout.route === "direct") return;
    if (layout.route === "xds") return this.drawControlPlane();
    context.fillStyle = colours.faint;
    context.strokeStyle = colours.faint;
    const top = layout.top + 2;
    const height = layout.height - top - 20;
    if (layout.route === "envoy") context.fillRect(layout.hubX - 4, top, 8, height);
    else context.strokeRect(layout.hubX - 5.5, top + 0.5, 11, height);
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "center";
    const nodes = layout.nodes > 1 ? `, ${layout.nodes} nodes` : "";
    context.fillText(`Envoy${layout.route === "envoy" ? "" : ", layer 4"}${nodes}`, layout.hubX, layout.height - 5);
  }

  /** No request passes the control plane: it stands beside the ways, and tells the clients of the replicas. */
  drawControlPlane() {
    const { context, layout, colours } = this;
    context.strokeStyle = context.fillStyle = colours.faint;
    context.setLineDash([3, 3]);
    context.beginPath();
    for (const y of layout.clientY) this.line(layout.clientX, y, layout.hubX - 44, layout.height - 12);
    context.stroke();
    context.strokeRect(layout.hubX - 44.5, layout.height - 19.5, 89, 17);
    context.setLineDash([]);
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "center";
    context.fillText("control plane", layout.hubX, layout.height - 7);
  }

  /** Layer 4: draws each connection that was used within the last second, or was the last to be used. */
  drawConnections(t) {
    const { context, layout, colours } = this;
    context.globalAlpha = 0.45;
    context.lineWidth = 1.5;
    for (const { node, replica } of connectionsAt(this.pairs, t, 1000 * this.record.quantaPerMs)) {
      context.strokeStyle = colours.dots[colourOfClient(this.clients.nodes[node].client)];
      context.beginPath();
      this.line(layout.clientX, layout.clientY[node], layout.queueRight, layout.rowY[replica]);
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  line(fromX, fromY, toX, toY) {
    this.context.moveTo(fromX, fromY);
    this.context.lineTo(toX, toY);
  }

  /** Places the requests that are at a replica: in its line, in a slot, or an open stream. */
  placeStays(t) {
    const { record, layout } = this;
    const { stays, requests } = record;
    const replicas = record.replicas.length;
    const lines = Array.from({ length: replicas }, () => []);
    const open = new Int32Array(replicas);
    this.placed = { waiting: 0, serving: 0 };
    const stale = STALE_MS * record.quantaPerMs;
    for (const stay of record.atReplicas.around(t)) {
      if (stays.arrived[stay] >= t || stays.finished[stay] < t) continue;
      const row = stays.request[stay];
      const replica = stays.replica[stay];
      const given = t > requests.done[row] + stale && stays.finished[stay] > requests.done[row] + stale;
      const shapes = given ? this.frames : this.squares;
      if (record.streams[row]) this.placeStream(row, replica, open[replica]++);
      else if (stays.started[stay] >= t) lines[replica].push(row, given ? 1 : 0);
      else {
        const { left, top, side } = layout.slotAt(replica, record.slot[stay]);
        shapes.byColour[this.colourOf(row)].push(left, top, side);
        this.placed.serving++;
      }
    }
    this.lineEnds = lines.map((line, replica) => this.placeLine(line, replica));
  }

  placeLine(line, replica) {
    const { layout } = this;
    const waiting = line.length / 2;
    const squares = Math.ceil(waiting / layout.perSquare);
    this.placed.waiting += waiting;
    for (let square = 0; square < squares; square++) {
      const place = 2 * square * layout.perSquare;
      const { left, top } = layout.queueAt(replica, square, squares);
      const shapes = line[place + 1] ? this.frames : this.squares;
      shapes.byColour[this.colourOf(line[place])].push(left, top, layout.cell > 3 ? layout.cell - 1 : layout.cell - 0.5);
    }
    return layout.doorX(squares);
  }

  /** An open stream: a line from its client to a socket in the replica's box. */
  placeStream(row, replica, number) {
    const { layout } = this;
    const grid = layout.slotAt(replica, number);
    const colour = this.colourOf(row);
    this.squares.byColour[colour].push(grid.left, grid.top, grid.side);
    const node = this.clients.nodeOf[this.record.requests.client[row]];
    const [x, y] = this.through(node, replica);
    const spread = 3 * (number % 5) - 6; // streams of one client to one replica lie beside each other
    this.streams.byColour[colour].push(
      layout.clientX, layout.clientY[node], x, y + spread / 2, layout.boxLeft, layout.rowY[replica] + spread);
  }

  /** Returns the point between client and replica that the way leads through: the proxy, or the straight middle. */
  through(node, replica) {
    const { layout } = this;
    if (layout.route === "envoy") return [layout.hubX, layout.hubY];
    const replicaY = replica < 0 ? layout.hubY : layout.rowY[replica];
    const part = (layout.hubX - layout.clientX) / (layout.queueRight - layout.clientX);
    return [layout.hubX, layout.clientY[node] + part * (replicaY - layout.clientY[node])];
  }

  placeTravellers(t, way) {
    const { record } = this;
    for (const row of record.underWay.around(t)) {
      const colour = this.colourOf(row);
      const node = this.clients.nodeOf[record.requests.client[row]];
      eachOnItsWay(record, row, t, way, (kind, part, replica) => {
        const point = this.pointAt(node, replica, part, kind, row);
        if (kind === "failed") this.crosses.byColour[FAILED].push(...point);
        else (kind === "back" ? this.rings : this.dots).byColour[colour].push(...point);
      });
      if (!record.streams[row] || record.requests.firstStay[row] === record.requests.firstStay[row + 1]) continue;
      const replica = record.stays.replica[record.requests.firstStay[row]];
      eachMessage(record, row, t, way, (part, outward) => {
        const point = this.pointAt(node, replica, part, outward ? "message" : "back", row);
        (outward ? this.dots : this.rings).byColour[colour].push(...point);
      });
    }
  }

  /** Returns the point on the way from a client to a replica. part: see eachOnItsWay. */
  pointAt(node, replica, part, kind, row) {
    const { layout } = this;
    const [middleX, middleY] = this.through(node, replica);
    const back = kind === "back" || kind === "failed";
    const shift = back ? 4 : 0; // answers come back on a way of their own
    if (part <= 0.5) {
      const share = part * 2;
      const y = layout.clientY[node];
      return [layout.clientX + share * (middleX - layout.clientX), y + share * (middleY + shift - y)];
    }
    const share = part * 2 - 1;
    const scatter = kind === "lost" ? ((row % 7) - 3) * 4 : 0; // many may wait for a replica that is gone
    const endX = back ? layout.boxLeft : kind === "out" ? this.lineEnds[replica] : layout.queueRight;
    const endY = layout.rowY[replica] + (back ? layout.boxHeight / 2 + 3 : scatter);
    return [middleX + share * (endX - middleX), middleY + shift + share * (endY - middleY - shift)];
  }

  drawShapes() {
    const { context, colours, layout } = this;
    const radius = layout.narrow ? 2.4 : 3;
    context.lineWidth = 1.25;
    this.streams.draw(context, colours, (v, n) => {
      context.moveTo(v[n], v[n + 1]);
      context.lineTo(v[n + 2], v[n + 3]);
      context.lineTo(v[n + 4], v[n + 5]);
    }, () => context.stroke());
    this.squares.draw(context, colours, (v, n) => context.rect(v[n], v[n + 1], v[n + 2], v[n + 2]), () => context.fill());
    context.lineWidth = 1;
    this.frames.draw(context, colours,
      (v, n) => context.rect(v[n] + 0.5, v[n + 1] + 0.5, v[n + 2] - 1, v[n + 2] - 1), () => context.stroke());
    const circle = (size) => (v, n) => {
      context.moveTo(v[n] + size, v[n + 1]);
      context.arc(v[n], v[n + 1], size, 0, 2 * Math.PI);
    };
    this.dots.draw(context, colours, circle(radius), () => context.fill());
    context.lineWidth = 1.25;
    this.rings.draw(context, colours, circle(radius - 0.6), () => context.stroke());
    context.lineWidth = 2;
    this.crosses.draw(context, colours, (v, n) => {
      this.line(v[n] - 3.5, v[n + 1] - 3.5, v[n] + 3.5, v[n + 1] + 3.5);
      this.line(v[n] - 3.5, v[n + 1] + 3.5, v[n] + 3.5, v[n + 1] - 3.5);
    }, () => context.stroke());
  }

  drawClients() {
    const { context, layout, colours, clients } = this;
    context.textAlign = "center";
    clients.nodes.forEach((node, number) => {
      const radius = layout.clientRadius[number];
      context.fillStyle = colours.dots[colourOfClient(node.client)];
      context.beginPath();
      context.arc(layout.clientX, layout.clientY[number], radius, 0, 2 * Math.PI);
      context.fill();
      if (radius < 13) return;
      context.fillStyle = colours.page;
      context.font = "600 10px system-ui, sans-serif";
      context.fillText(`${Math.round(node.share * 100)} %`, layout.clientX, layout.clientY[number] + 3.5);
    });
    this.nameTheRest();
    context.fillStyle = colours.faint;
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "left";
    context.fillText("clients, by rate", 0, 13);
  }

  /** Says how many clients the last circle stands for, if it stands for several. */
  nameTheRest() {
    const { context, layout, colours, clients } = this;
    const last = clients.nodes.length - 1;
    if (clients.nodes[last].clients === 1) return;
    context.fillStyle = colours.text;
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "left";
    const y = layout.clientY[last] + layout.clientRadius[last] + 11;
    context.fillText(`${clients.nodes[last].clients} more`, 0, Math.min(y, layout.height - 2));
  }

  drawReplicas(counts, t) {
    counts.replicas.forEach((count, replica) => {
      const { context, layout, colours, record } = this;
      const there = record.isThere(replica, t);
      context.strokeStyle = there ? colours.faint : colours.line;
      context.setLineDash(there ? [] : [3, 3]);
      context.lineWidth = 1.5;
      context.fillStyle = colours.page;
      const top = layout.rowY[replica] - layout.boxHeight / 2;
      context.fillRect(layout.boxLeft, top, layout.boxWidth, layout.boxHeight);
      context.strokeRect(layout.boxLeft, top, layout.boxWidth, layout.boxHeight);
      context.setLineDash([]);
      this.drawLabels(count, replica, counts.requests, t);
    });
  }

  drawLabels(count, replica, requests, t) {
    const { context, layout, colours } = this;
    const size = layout.narrow ? 11 : 12.5;
    const step = size + (layout.narrow ? 2.5 : 4);
    const room = Math.max(1, Math.floor((layout.rowHeight - 2) / step));
    const lines = labels(this.record, count, replica, requests, t, room);
    let y = layout.rowY[replica] - ((lines.length - 1) * step) / 2 + size * 0.36;
    context.textAlign = "left";
    for (const { text, strong, tone } of lines) {
      context.font = `${strong ? "600 " : ""}${Math.min(size, layout.rowHeight)}px system-ui, sans-serif`;
      context.fillStyle = colours[tone];
      context.fillText(text, layout.labelLeft, y);
      y += step;
    }
  }
}

/** Returns who used which connection when: pairs of client node and replica with the ascending arrivals. */
function connections(record, clients) {
  const { stays, requests } = record;
  const pairs = new Map();
  for (let stay = 0; stay < stays.count; stay++) {
    const node = clients.nodeOf[requests.client[stays.request[stay]]];
    const key = node * record.replicas.length + stays.replica[stay];
    if (!pairs.has(key)) pairs.set(key, { node, replica: stays.replica[stay], times: [] });
    pairs.get(key).times.push(stays.arrived[stay]);
  }
  for (const pair of pairs.values()) pair.times.sort((a, b) => a - b);
  return [...pairs.values()];
}

/** Returns the pairs used within `recent` before t, and for each client the one used last (or to be used first). */
function connectionsAt(pairs, t, recent) {
  const last = new Map();
  const shown = new Set();
  for (const pair of pairs) {
    const before = countBefore(pair.times, t);
    const when = before ? pair.times[before - 1] : -1e12 - pair.times[0];
    if (when > t - recent) shown.add(pair);
    if (!last.has(pair.node) || last.get(pair.node).when < when) last.set(pair.node, { pair, when });
  }
  for (const { pair } of last.values()) shown.add(pair);
  return [...shown];
}
