// The drawings of the what-if: the load of each replica beside what it can serve, and a scale for each figure.
//
// What was simulated is a hatched band with a line at its median. What was measured is a diamond.

const HEIGHT = 230;
const MARGIN = { left: 48, right: 8, top: 22, bottom: 26 };
const MOST_BARS = 60;
const FEW_BARS = 8; // with names below them
const RANKS = ["busiest", "2nd", "3rd"];
const SCALE_HEIGHT = 34;
const SCALE_SIDE = 14;

/** Returns an element of SVG as text. */
const element = (name, attributes, text = "") =>
  `<${name} ${Object.entries(attributes).map(([key, value]) => `${key}="${typeof value === "number" ? +value.toFixed(2) : value}"`).join(" ")}>${text}</${name}>`;

const diamond = (x, y, size, kind) =>
  element("path", { class: `what-if-${kind}`, d: `M${x.toFixed(1)} ${(y - size).toFixed(1)}l${size} ${size}l${-size} ${size}l${-size} ${-size}z` });

/**
 * Draws the load of each replica, the busiest first.
 *
 * answer: of answerOf. measured: requests a second of each rank, or undefined.
 */
export function drawLoad(svg, width, answer, measured) {
  const { ranks, capacity_per_s: capacity } = answer;
  const bars = ranks.slice(0, MOST_BARS);
  const most = Math.max(capacity, ...bars.map((band) => band.high), ...(measured ?? [])) * 1.05;
  const room = width - MARGIN.left - MARGIN.right, ground = HEIGHT - MARGIN.bottom;
  const y = (value) => ground - (value / most) * (ground - MARGIN.top);
  const step = room / bars.length;
  const parts = [axis(y, most, width)];
  bars.forEach(({ low, median, high }, rank) => {
    const wide = Math.max(2, Math.min(70, step * 0.7)), left = MARGIN.left + step * (rank + 0.5) - wide / 2;
    const over = median > capacity ? " what-if-over" : "";
    parts.push(element("rect", { class: `what-if-bar${over}`, x: left, width: wide, y: y(median), height: Math.max(0, ground - y(median)) }));
    parts.push(element("rect", { class: "what-if-band", x: left, width: wide, y: y(high), height: Math.max(1.5, y(low) - y(high)) }));
    parts.push(element("path", { class: "what-if-median", d: `M${left.toFixed(1)} ${y(median).toFixed(1)}h${wide.toFixed(1)}` }));
    if (measured?.[rank] !== undefined) parts.push(diamond(left + wide / 2, y(measured[rank]), Math.min(7, wide / 2), "measured"));
    if (bars.length <= FEW_BARS) parts.push(element("text", { x: left + wide / 2, y: HEIGHT - 8, "text-anchor": "middle" }, RANKS[rank] ?? `${rank + 1}th`));
  });
  if (bars.length > FEW_BARS) parts.push(element("text", { x: MARGIN.left, y: HEIGHT - 8 }, `${ranks.length} replicas, the busiest first${ranks.length > MOST_BARS ? `; ${MOST_BARS} are drawn` : ""}`));
  parts.push(element("path", { class: "what-if-capacity", d: `M${MARGIN.left} ${y(capacity).toFixed(1)}H${width}` }));
  show(svg, width, HEIGHT, parts);
}

function axis(y, most, width) {
  const step = roundStep(most / 4);
  const parts = [element("text", { x: 0, y: 11 }, "requests/s")];
  for (let value = 0; value <= most; value += step) {
    parts.push(element("path", { class: "what-if-grid", d: `M${MARGIN.left} ${y(value).toFixed(1)}H${width}` }));
    parts.push(element("text", { x: MARGIN.left - 6, y: y(value) + 4, "text-anchor": "end" }, (+value.toPrecision(6)).toLocaleString("en")));
  }
  return parts.join("");
}

/** Returns 1, 2 or 5 times a power of ten: the smallest that is no less than `least`. */
function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= least * 0.999);
}

/**
 * Draws a band on a scale of its own.
 *
 * mark: {value, kind}, kind: `measured`, or `elsewhere` for a figure of other settings; or undefined. log: whether
 * the scale is logarithmic. text: writes a value of the scale.
 */
export function drawScale(svg, width, { low, median, high }, mark, log, text) {
  const place = log ? Math.log10 : (value) => value;
  const ends = [low, high, ...(mark ? [mark.value] : [])].map((value) => (log ? Math.max(0.1, value) : value));
  const from = log ? Math.floor(Math.log10(Math.min(...ends))) : 1;
  const to = log ? Math.max(from + 1, Math.ceil(Math.log10(Math.max(...ends)))) : Math.max(2, Math.ceil(Math.max(...ends)));
  const x = (value) => SCALE_SIDE + ((place(Math.max(log ? 0.1 : 0, value)) - from) / (to - from)) * (width - 2 * SCALE_SIDE);
  const every = Math.max(1, Math.ceil((to - from) / 6));
  const parts = [];
  for (let tick = from; tick <= to; tick += every) {
    const value = log ? 10 ** tick : tick, at = x(value);
    parts.push(element("path", { class: "what-if-grid", d: `M${at.toFixed(1)} 0V18` }));
    const anchor = tick === from ? "start" : tick + every > to && tick === to ? "end" : "middle";
    parts.push(element("text", { x: anchor === "start" ? 0 : anchor === "end" ? width : at, y: SCALE_HEIGHT - 3, "text-anchor": anchor }, text(value)));
  }
  parts.push(element("rect", { class: "what-if-band", x: x(low), y: 3, height: 12, width: Math.max(3, x(high) - x(low)) }));
  parts.push(element("path", { class: "what-if-median", d: `M${x(median).toFixed(1)} 1v16` }));
  if (mark) parts.push(diamond(x(mark.value), 9, 7, mark.kind));
  show(svg, width, SCALE_HEIGHT, parts);
}

function show(svg, width, height, parts) {
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  svg.setAttribute("preserveAspectRatio", "xMinYMin"); // on paper it is as wide as it was on the screen
  svg.innerHTML = parts.join("");
}
