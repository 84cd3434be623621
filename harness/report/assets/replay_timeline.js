// The strip above the slider: how many requests are under way in each arm over time, errors, events, and where
// we are.

import { FAILED } from "./replay_colours.js";
import { countBefore } from "./replay_record.js";

const POINTS = 300;
const MUCH = 15; // waiting requests, in the mean over some time
const ERROR_ROW = 5; // height of an arm's row of errors
const RATE_DOT = 4; // radius of the mark at the moment shown

/** Returns what an arm's part of the strip shows, at POINTS + 1 moments: requests under way, errors since the last. */
export function curveOf(record, from, to) {
  const moments = Array.from({ length: POINTS + 1 }, (_, point) => Math.round(from + ((to - from) * point) / POINTS));
  const failed = moments.map((t) => countBefore(record.failed, t));
  return {
    underWay: moments.map((t) => record.underWayAt(t)),
    waiting: moments.map((t) => record.countsAt(t).waiting),
    errors: failed.map((count, point) => count - (point ? failed[point - 1] : 0)),
  };
}

/**
 * Returns the moment to look at first: the waiting differs most between the arms and stays so for a while;
 * where little waits, there are most errors; where there are none either, the load has gone on for some time.
 */
export function tellingMoment({ curves, from, to, loadEnd }) {
  const at = (point) => Math.round(from + ((to - from) * point) / POINTS);
  const difference = (count, point) => Math.abs(count - (curves[1] ? curves[1].waiting[point] : 0));
  const waiting = smooth(curves[0].waiting.filter((_, point) => at(point) <= loadEnd).map(difference));
  if (Math.max(...waiting) >= MUCH) return at(waiting.indexOf(Math.max(...waiting)));
  const errors = smooth(curves[0].errors.map((count, point) => count + (curves[1] ? curves[1].errors[point] : 0)));
  if (Math.max(...errors) > 0) return at(errors.indexOf(Math.max(...errors)));
  return Math.round(from + (Math.min(to, loadEnd) - from) * 0.6);
}

/** Returns the means over each point and its neighbours, some five per cent of the strip. */
function smooth(values) {
  const reach = Math.round(POINTS / 40);
  return values.map((_, point) => {
    const near = values.slice(Math.max(0, point - reach), point + reach + 1);
    return near.reduce((sum, value) => sum + value, 0) / near.length;
  });
}

/**
 * Returns the planned rates of the arms that are shown, each once: its line, its colour, and its record (null: it is that
 * of all of them). A line is [[time, rate in requests/s], ...], straight in between.
 */
export function ratesOf(records, rates) {
  const lines = records.map((record) => (record.arm.rate === null ? null : rates[record.arm.rate]));
  if (lines.every((line) => line === lines[0])) return lines[0] ? [{ line: lines[0], colour: "rate", record: null }] : [];
  return lines.flatMap((line, side) => (line ? [{ line, colour: side ? "right" : "left", record: records[side] }] : []));
}

/** Returns the planned rate of a line at t, in requests/s; null after the load. */
export function rateAt(line, t) {
  if (t > line[line.length - 1][0]) return null;
  const place = Math.max(0, line.findLastIndex(([time]) => time <= t));
  const [[time, rate], [nextTime, nextRate]] = [line[place], line[Math.min(place + 1, line.length - 1)]];
  return nextTime > time ? rate + ((nextRate - rate) * (t - time)) / (nextTime - time) : rate;
}

/** Returns the highest of the planned rates, where the scale of all of them ends. */
export const highestRate = (rates) => Math.max(Number.MIN_VALUE, ...rates.flatMap(({ line }) => line.map(([, rate]) => rate)));

/** Returns the events of the arms that are shown, those with the same name and about the same time once. */
function eventsOf(records, close) {
  const events = [];
  for (const record of records) {
    for (const event of record.arm.events) {
      const known = events.some((one) => one.label === event.label && Math.abs(one.at - event.at) < close);
      if (!known) events.push(event);
    }
  }
  return events;
}

/** Draws the strip. shown: {records, curves, rates, from, to, loadEnd}, times in quanta. */
export function drawTimeline(context, width, height, shown, t, colours) {
  const { records, curves, rates, from, to, loadEnd } = shown;
  const x = (time) => ((time - from) / (to - from)) * width;
  const bottom = height - 15;
  context.clearRect(0, 0, width, height);
  context.font = "11px system-ui, sans-serif";
  drawEvents(context, x, bottom, eventsOf(records, (to - from) / 50), colours, width, to);
  const most = Math.max(1, ...curves.flatMap((curve) => curve.underWay));
  const floor = curves.some((curve) => Math.max(...curve.errors)) ? bottom - curves.length * ERROR_ROW : bottom;
  curves.forEach((curve, side) => {
    drawCurve(context, curve.underWay, width, floor, most, side ? colours.right : colours.left);
    if (floor < bottom) drawErrors(context, curve.errors, width, floor + side * ERROR_ROW, colours);
  });
  drawRates(context, x, floor, rates, colours);
  drawSeconds(context, x, height, shown, colours);
  if (loadEnd > from && loadEnd < to) {
    context.strokeStyle = context.fillStyle = colours.faint;
    dashed(context, x(loadEnd), bottom);
    context.textAlign = x(loadEnd) > width - 90 ? "right" : "left";
    context.fillText("load ends", x(loadEnd) + (x(loadEnd) > width - 90 ? -4 : 4), 10);
  }
  context.strokeStyle = colours.text;
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(x(t), 0);
  context.lineTo(x(t), bottom);
  context.stroke();
  markRates(context, x(t), floor, rates, t, colours);
}

function drawEvents(context, x, bottom, events, colours, width, to) {
  let free = -Infinity; // where the names written so far end
  for (const event of events) {
    const left = x(event.at);
    context.fillStyle = colours.event;
    if (event.until !== null) context.fillRect(left, 0, x(Math.min(event.until, to)) - left, bottom);
    if (event.ends_another) continue;
    context.strokeStyle = context.fillStyle = colours.alarm;
    dashed(context, left, bottom);
    const size = context.measureText(event.label).width;
    const start = left + size + 4 > width ? left - size - 4 : left + 4;
    context.textAlign = "left";
    if (start > free) {
      context.fillText(event.label, start, 10);
      free = start + size + 6;
    }
  }
}

function dashed(context, x, bottom) {
  context.lineWidth = 1;
  context.setLineDash([4, 3]);
  context.beginPath();
  context.moveTo(x, 0);
  context.lineTo(x, bottom);
  context.stroke();
  context.setLineDash([]);
}

/** Returns how high a value stands on the strip; `most` stands at the top. */
const heightOf = (value, most, bottom) => bottom - (value / most) * (bottom - 14);

/** Draws the planned rates as dashed lines. They have a scale of their own, from 0 to the highest of them. */
function drawRates(context, x, bottom, rates, colours) {
  const most = highestRate(rates);
  context.lineWidth = 2;
  context.setLineDash([6, 3]);
  for (const { line, colour } of rates) {
    context.strokeStyle = colours[colour];
    context.beginPath();
    for (const [time, rate] of line) context.lineTo(x(time), heightOf(rate, most, bottom));
    context.stroke();
  }
  context.setLineDash([]);
}

/** Marks the planned rates of the moment on their lines. */
function markRates(context, at, bottom, rates, t, colours) {
  const most = highestRate(rates);
  context.strokeStyle = colours.page;
  for (const { line, colour } of rates) {
    const rate = rateAt(line, t);
    if (rate === null) continue;
    context.fillStyle = colours[colour];
    context.beginPath();
    context.arc(at, heightOf(rate, most, bottom), RATE_DOT, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
}

function drawCurve(context, curve, width, bottom, most, colour) {
  const y = (value) => heightOf(value, most, bottom);
  context.beginPath();
  curve.forEach((value, point) => context.lineTo((point / POINTS) * width, y(value)));
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.stroke();
  context.lineTo(width, bottom);
  context.lineTo(0, bottom);
  context.fillStyle = colour;
  context.globalAlpha = 0.18;
  context.fill();
  context.globalAlpha = 1;
}

/** Draws a mark for each point with an error, the stronger the more there are. */
function drawErrors(context, errors, width, top, colours) {
  const most = Math.max(...errors);
  context.fillStyle = colours.dots[FAILED];
  errors.forEach((count, point) => {
    if (!count) return;
    context.globalAlpha = 0.45 + (0.55 * count) / most;
    context.fillRect(((point - 1) / POINTS) * width, top + 1, Math.max(2, width / POINTS), ERROR_ROW - 1);
  });
  context.globalAlpha = 1;
}

function drawSeconds(context, x, height, { from, to, records }, colours) {
  const second = 1000 * records[0].quantaPerMs;
  const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].map((step) => step * second);
  const step = steps.find((one) => x(from + one) > 44) || steps[steps.length - 1];
  context.fillStyle = colours.faint;
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) {
    const at = x(time);
    context.textAlign = at < 12 ? "left" : at > x(to) - 16 ? "right" : "center";
    context.fillText(`${+(time / second).toFixed(2)} s`, at, height - 3);
  }
}
