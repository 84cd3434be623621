// The replay on the page: its controls, its clock, and its two arms.

import { colouring, readColours } from "./replay_colours.js";
import { ArmDrawing } from "./replay_draw.js";
import { shortestWay } from "./replay_journey.js";
import { Layout, clientNodes, heightFor } from "./replay_layout.js";
import { ArmRecord } from "./replay_record.js";
import { curveOf, drawTimeline, highestRate, rateAt, ratesOf, tellingMoment } from "./replay_timeline.js";
import { armTitle, nodeWords, rateWords, seconds, sentence } from "./replay_words.js";

const SPEEDS = [0.05, 0.1, 0.25, 0.5, 1];
const STEP_MS = 50;
const STILLS = 12; // pictures from beginning to end where motion is not wanted
const WORDS_EVERY_MS = 250; // how often the text changes while it plays
const TIMELINE_HEIGHT = 74;

/** Sets a canvas to a size in CSS pixels and returns its context, scaled for the screen. */
function sized(canvas, width, height) {
  const scale = Math.max(1, window.devicePixelRatio || 1);
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return context;
}

class Player {
  constructor(root, data) {
    this.root = root;
    this.data = data;
    this.records = new Map();
    this.part = (name) => root.querySelector(`[data-part="${name}"]`);
    this.panels = [...root.querySelectorAll("[data-side]")];
    this.stillMotion = window.matchMedia("(prefers-reduced-motion: reduce)");
    this.playing = false;
    this.colourBy = "client";
    this.speed = 0.25;
  }

  async start() {
    this.chosen = this.data.shown.slice(0, this.panels.length);
    await this.choose();
    this.t = tellingMoment(this.shown);
    this.listen();
    this.layOut();
    this.root.dataset.ready = "true";
  }

  /** Takes the chosen arms: unpacks those that nobody has looked at yet. */
  async choose() {
    for (const name of this.chosen) {
      if (this.records.has(name)) continue;
      const arm = this.data.arms.find((one) => one.name === name);
      this.records.set(name, await ArmRecord.of(arm, this.data));
    }
    const records = this.chosen.map((name) => this.records.get(name));
    const { from, load_end: loadEnd } = this.data;
    const to = Math.max(...records.map((record) => record.arm.end));
    const curves = records.map((record) => curveOf(record, from, to));
    this.shown = { records, from, to, loadEnd, curves, rates: ratesOf(records, this.data.rates) };
  }

  listen() {
    const part = this.part;
    const slider = part("time");
    slider.min = this.data.from;
    slider.step = 1;
    slider.addEventListener("input", () => this.seek(+slider.value));
    part("play").addEventListener("click", () => this.toggle());
    part("speed").addEventListener("change", (event) => this.setSpeed(+event.target.value));
    part("colour").addEventListener("change", (event) => {
      this.colourBy = event.target.value;
      this.layOut();
    });
    for (const select of this.root.querySelectorAll("[data-part^=arm-]")) {
      select.addEventListener("change", () => this.chooseAgain());
    }
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.dragged(part("timeline"));
    for (const canvas of this.root.querySelectorAll("figure canvas")) canvas.addEventListener("click", () => this.toggle());
    part("figures").addEventListener("toggle", () => this.tell());
    this.stillMotion.addEventListener("change", () => this.pause());
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.layOut());
    window.matchMedia("print").addEventListener("change", (query) => this.print(query.matches));
    window.addEventListener("beforeprint", () => this.print(true));
    window.addEventListener("afterprint", () => this.print(false));
    new ResizeObserver(() => this.layOut()).observe(part("arms"));
  }

  async chooseAgain() {
    this.chosen = [...this.root.querySelectorAll("[data-part^=arm-]")].map((select) => select.value);
    await this.choose();
    this.t = Math.min(this.t, this.shown.to);
    this.layOut();
  }

  /** Finger, pen and mouse: moves in time while it is held on the strip. */
  dragged(canvas) {
    const seek = (event) => {
      const { left, width } = canvas.getBoundingClientRect();
      const part = Math.min(1, Math.max(0, (event.clientX - left) / width));
      this.seek(this.shown.from + part * (this.shown.to - this.shown.from));
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      seek(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) seek(event);
    });
  }

  /** Keys, wherever the focus is in the replay; lists keep theirs, and buttons the space bar. */
  key(event) {
    if (event.target.matches("select, summary") || event.altKey || event.ctrlKey || event.metaKey) return;
    const step = STEP_MS * this.quantaPerMs * (event.shiftKey ? 10 : 1);
    const actions = {
      " ": () => this.toggle(),
      k: () => this.toggle(),
      ArrowLeft: () => this.seek(this.t - step),
      ArrowRight: () => this.seek(this.t + step),
      Home: () => this.seek(this.shown.from),
      End: () => this.seek(this.shown.to),
      "+": () => this.faster(1),
      "-": () => this.faster(-1),
    };
    const action = actions[event.key];
    if (!action || (event.key === " " && event.target.matches("button"))) return;
    event.preventDefault();
    action();
  }

  get quantaPerMs() {
    return this.shown.records[0].quantaPerMs;
  }

  faster(by) {
    const place = Math.min(SPEEDS.length - 1, Math.max(0, SPEEDS.indexOf(this.speed) + by));
    this.part("speed").value = SPEEDS[place];
    this.setSpeed(SPEEDS[place]);
  }

  setSpeed(speed) {
    this.speed = speed;
    this.paint();
  }

  seek(t) {
    this.pause();
    this.moveTo(t);
    this.tell();
  }

  moveTo(t) {
    this.t = Math.round(Math.min(this.shown.to, Math.max(this.shown.from, t)));
    this.paint();
  }

  toggle() {
    if (this.stillMotion.matches) return this.nextStill();
    return this.playing ? this.pause() : this.play();
  }

  nextStill() {
    const step = (this.shown.to - this.shown.from) / STILLS;
    this.seek(this.t >= this.shown.to ? this.shown.from : this.t + step);
  }

  play() {
    this.playing = true;
    this.position = !this.moved || this.t >= this.shown.to ? this.shown.from : this.t;
    this.moved = true;
    this.before = undefined;
    this.told = 0;
    this.showState();
    this.moveTo(this.position);
    this.frame = requestAnimationFrame((now) => this.tick(now));
  }

  pause() {
    this.moved = true;
    if (this.frame) cancelAnimationFrame(this.frame);
    this.playing = false;
    this.showState();
    this.tell();
  }

  tick(now) {
    const passed = this.before === undefined ? 0 : Math.min(100, now - this.before);
    this.before = now;
    this.position += passed * this.speed * this.quantaPerMs;
    this.moveTo(this.position);
    if (this.t >= this.shown.to) return this.pause();
    if (now - this.told > WORDS_EVERY_MS) {
      this.told = now;
      this.tell();
    }
    this.frame = requestAnimationFrame((next) => this.tick(next));
  }

  showState() {
    const still = this.stillMotion.matches;
    this.part("play").textContent = still ? "Next picture" : this.playing ? "Pause" : "Play";
    // While it plays, a screen reader is not interrupted four times a second.
    for (const panel of this.panels) panel.querySelector("[data-words]").ariaLive = this.playing ? "off" : "polite";
    this.root.dataset.playing = this.playing;
  }

  print(printing) {
    this.printing = printing;
    this.root.classList.toggle("replay-printing", printing);
    this.layOut();
  }

  /** Measures the page and places everything anew: at first, and when width, colours or arms have changed. */
  layOut() {
    const { records } = this.shown;
    const longest = Math.max(...records.map((record) => record.longestLine()));
    const replicas = Math.max(...records.map((record) => record.replicas.length));
    const nodes = Math.max(...records.map((record) => record.arm.nodes.length));
    this.colours = readColours(this.root);
    this.drawings = records.map((record, side) => {
      const canvas = this.panels[side].querySelector("canvas");
      const width = canvas.clientWidth;
      const clients = clientNodes(record, this.data.clients.length);
      const layout = new Layout(record, clients, width, heightFor(width, replicas, nodes), longest);
      const context = sized(canvas, width, layout.height);
      return { canvas, context, arm: new ArmDrawing(record, layout, clients, colouring(record, this.colourBy)) };
    });
    const strip = this.part("timeline");
    this.strip = { context: sized(strip, strip.clientWidth, TIMELINE_HEIGHT), width: strip.clientWidth };
    this.nameCurves();
    this.part("time").max = this.shown.to;
    const perSquare = this.drawings[0].arm.layout.perSquare;
    this.part("per-square").textContent = perSquare > 1 ? `${perSquare} waiting requests` : "a waiting request";
    this.paint();
    this.showState();
    this.tell();
  }

  nameCurves() {
    const { records, curves } = this.shown;
    const most = Math.max(...curves.flatMap((curve) => curve.underWay));
    const errors = curves.some((curve) => Math.max(...curve.errors));
    this.part("curves").textContent = `Requests under way, at most ${most.toLocaleString("en")}${errors ? "; red: errors, an arm a row" : ""}`;
    records.forEach((record, side) => (this.part(`curve-${side}`).textContent = armTitle(record.name)));
  }

  /** Draws the moment. */
  paint() {
    const { records } = this.shown;
    for (const drawing of this.drawings) {
      const { context, arm } = drawing;
      drawing.placed = arm.draw(context, this.t, shortestWay(arm.record, this.speed), this.colours);
    }
    drawTimeline(this.strip.context, this.strip.width, TIMELINE_HEIGHT, this.shown, this.t, this.colours);
    this.part("clock").textContent = `${seconds(this.t, records[0])} s`;
    this.part("time").value = this.t;
  }

  /** Writes what the moment shows. */
  tell() {
    const { records } = this.shown;
    const at = `${seconds(this.t, records[0])} s`;
    const told = records.map((record, side) => {
      const counts = record.countsAt(this.t);
      const words = [sentence(record, counts, this.t), nodeWords(record, this.t)].filter(Boolean).join(" ");
      const { canvas, placed } = this.drawings[side];
      this.panels[side].querySelector("[data-words]").textContent = words;
      canvas.ariaLabel = `${armTitle(record.name)} at ${at}. ${words}`;
      Object.assign(canvas.dataset, placed); // so that a test can compare the drawing with the figures
      return { record, counts };
    });
    const planned = this.plannedWords();
    this.part("rate").textContent = planned;
    this.part("rate").dataset.of = this.shown.rates.every(({ record }) => record === null) ? "all" : "each";
    this.part("time").ariaValueText = [at, planned].filter(Boolean).join(". ");
    if (this.part("figures").open || this.printing) this.fillFigures(told); // on paper all is unfolded
  }

  /** Says what rate is planned at this moment; "" where it never changes. */
  plannedWords() {
    const { rates } = this.shown;
    if (!rates.length) return "";
    const now = rates.map(({ line, record }) => ({ record, rate: rateAt(line, this.t) }));
    return rateWords(now, highestRate(rates));
  }

  fillFigures(told) {
    const rows = told.flatMap(({ record, counts }) => [
      [record.name, "all", counts.requests, counts.waiting, sum(counts.replicas, "serving"), sum(counts.replicas, "open"), counts.sent, counts.underWay, counts.failed],
      ...counts.replicas.map((one) => [record.name, one.name, one.requests, one.waiting, one.serving, one.open, "", "", ""]),
    ]);
    this.part("rows").replaceChildren(...rows.map(tableRow));
  }
}

const sum = (list, key) => list.reduce((total, one) => total + one[key], 0);

function tableRow(values) {
  const row = document.createElement("tr");
  values.forEach((value, column) => {
    const cell = document.createElement(column === 1 ? "th" : "td");
    if (column === 1) cell.scope = "row";
    if (column === 0) cell.className = "text";
    cell.textContent = typeof value === "number" ? value.toLocaleString("en") : value;
    row.append(cell);
  });
  return row;
}

for (const root of document.querySelectorAll("[data-replay]")) {
  const data = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
  new Player(root, data).start().catch((error) => {
    root.querySelector("[data-part=problem]").textContent =
      `The replay cannot be shown: ${error.message}. It needs a browser of 2023 or later.`;
    throw error;
  });
}
