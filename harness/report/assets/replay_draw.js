// Draws one arm at one moment into a canvas. Everything that moves is collected first, by shape and colour, and
// then drawn with one call for each: a browser draws thousands of squares so in a few milliseconds.

import { COLOURS, FAILED, colourOfClient } from "./replay_colours.js";
import { eachMessage, eachOnItsWay } from "./replay_journey.js";
import { labels } from "./replay_labels.js";
import { ProxyDrawing } from "./replay_proxy.js";

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
    this.proxy = new ProxyDrawing(record, layout, clients);
  }

  /** Draws the arm at t. way: see shortestWay. Returns how many waiting and served requests it has, and its nodes. */
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
    const nodes = this.proxy.draw(context, t, colours).join("|");
    this.placeStays(t);
    this.placeTravellers(t, way);
    this.drawReplicas(counts, t);
    this.drawShapes();
    this.drawClients();
    this.drawZones();
    return { ...this.placed, nodes };
  }

  /** Shades the replicas, or the proxy, to which an event has happened, and names it. Nodes are named elsewhere. */
  drawEvents(t) {
    const { context, layout, colours } = this;
    context.font = "600 11px system-ui, sans-serif";
    for (const event of this.record.eventsAt(t)) {
      context.fillStyle = colours.event;
      for (const replica of event.replicas) {
        context.fillRect(layout.hubX + 14, layout.rowY[replica] - layout.rowHeight / 2 + 1,
          layout.width - layout.hubX - 14, layout.rowHeight - 2);
      }
      for (const { top, step } of event.until === null ? [] : event.nodes.flatMap((node) => layout.nodes[node] ?? [])) {
        context.fillRect(layout.hubX - 14, top - 3, 28, step - 1);
      }
      if (event.replicas.length || (event.nodes.length && layout.nodes.length)) continue;
      context.fillRect(layout.hubX - 14, layout.top, 28, layout.height - layout.top);
      context.fillStyle = colours.alarm;
      context.textAlign = "center";
      context.fillText(event.name, layout.hubX, layout.top - 8);
    }
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
    const [x, y] = this.through(node, replica, row);
    const spread = 3 * (number % 5) - 6; // streams of one client to one replica lie beside each other
    this.streams.byColour[colour].push(
      layout.clientX, layout.clientY[node], x, y + spread / 2, layout.boxLeft, layout.rowY[replica] + spread);
  }

  /**
   * Returns the point between client and replica that a request's way leads through: the proxy, the node of it
   * that the record names, or where there is none the straight middle.
   */
  through(node, replica, row) {
    const { layout } = this;
    const place = layout.nodes[this.record.requests.node[row]];
    if (place) return [layout.hubX, place.y];
    if (layout.route === "envoy" && !layout.nodes.length) return [layout.hubX, layout.hubY];
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
    const [middleX, middleY] = this.through(node, replica, row);
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

  /** Draws a bracket beside the replicas of each zone, with its name. */
  drawZones() {
    const { context, layout, colours } = this;
    context.fillStyle = context.strokeStyle = colours.faint;
    context.lineWidth = 1;
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "center";
    for (const { zone, first, last } of layout.zones) {
      const top = layout.rowY[first] - layout.rowHeight / 2 + 2;
      const bottom = layout.rowY[last] + layout.rowHeight / 2 - 2;
      context.beginPath();
      this.line(layout.width - 15.5, top, layout.width - 15.5, bottom);
      context.stroke();
      const text = [`zone ${zone}`, zone].find((one) => context.measureText(one).width <= bottom - top);
      if (!text) continue;
      context.save();
      context.translate(layout.width - 4, (top + bottom) / 2);
      context.rotate(-Math.PI / 2);
      context.fillText(text, 0, 0);
      context.restore();
    }
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
