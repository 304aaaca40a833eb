// @ts-check
/** The chart of accuracy over time, by uPlot: zoom by pointer and keyboard, colours of the theme. */

import { lowest } from "./charts.js";
import { clock, count, interval, moment, ratio } from "./words.js";

/** @typedef {import("./history.js").Drawn} Drawn */

const HEIGHT_REM = 19;
const ZOOM = 0.7;

/** uPlot is loaded as a script beside the modules. @type {any} */
const uPlot = /** @type {any} */ (globalThis).uPlot;

/** @type {import("./dom.js").Widget<Drawn>} */
export const timeline = {
  open(element, first) {
    let drawn = first;
    const bar = document.createElement("div");
    const box = document.createElement("div");
    const readout = document.createElement("p");
    bar.className = "filters";
    readout.className = "note readout";
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    element.append(bar, box, readout);
    const plot = new uPlot(options(() => drawn, (/** @type {number | null} */ at) => (readout.textContent = words(drawn, at))), values(drawn), box);
    const actions = moves(plot, () => drawn);
    for (const [name, words] of Object.entries({ in: "Zoom in", out: "Zoom out", left: "Earlier", right: "Later", all: "Show all" })) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = words;
      button.onclick = () => actions[name]();
      bar.append(button);
    }
    box.onkeydown = (event) => onKey(event, plot, actions);
    box.onfocus = () => readout.setAttribute("aria-live", "polite"); // spoken for those who move by key only
    box.onblur = () => readout.removeAttribute("aria-live");
    const describe = () => {
      box.setAttribute("aria-label", drawn.text);
      readout.textContent = words(drawn, null);
    };
    describe();
    const sizes = new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height: HEIGHT_REM * rem() }));
    sizes.observe(box);
    const theme = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => plot.redraw(false, true);
    theme.addEventListener("change", redraw);
    return {
      update(now) {
        const [start, end] = [plot.scales.x.min, plot.scales.x.max];
        const wasAll = isAll(plot, drawn);
        drawn = now;
        plot.setData(values(now), wasAll);
        if (!wasAll) plot.setScale("x", { min: start, max: end });
        describe();
      },
      close() {
        sizes.disconnect();
        theme.removeEventListener("change", redraw);
        plot.destroy();
      },
    };
  },
};

/** @param {Drawn} drawn */
function values({ series, target }) {
  return [series.at, series.high, series.low, series.accuracy, series.labelled, series.at.map(() => target), series.nLabels];
}

/** @param {() => Drawn} drawn @param {(at: number | null) => void} onCursor the place of the estimate at the cursor */
function options(drawn, onCursor) {
  const line = { scale: "y", stroke: colour("--value") };
  const none = { show: false };
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") }, font: `${0.75 * rem()}px system-ui, sans-serif` };
  return {
    width: 600, height: HEIGHT_REM * rem(), legend: none,
    padding: [16, 28, 0, 0],
    cursor: { drag: { x: true, y: false, setScale: true }, points: none },
    scales: {
      x: { time: true },
      y: { range: () => [bottom(drawn()), 1] },
      n: { range: () => [0, 5 * Math.max(1, ...drawn().series.nLabels.map((n) => n ?? 0))] },
    },
    axes: [
      { ...axis, values: timeMarks, space: 5 * rem(), size: 3 * rem() },
      { ...axis, scale: "y", size: 3.25 * rem(), values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map(ratio) },
    ],
    series: [
      {},
      { ...line, width: 0, points: none }, { ...line, width: 0, points: none },
      { ...line, width: 2, points: { show: drawn().series.at.length < 100, size: 5, fill: colour("--value") } },
      { scale: "y", width: 0, paths: () => null, points: { show: true, size: 6, width: 1.5, stroke: colour("--target"), fill: colour("--card") } },
      { scale: "y", width: 1.5, dash: [5, 3], stroke: colour("--target"), points: none },
      { scale: "n", width: 0, fill: colour("--muted"), paths: uPlot.paths.bars({ size: [0.6, 8] }), points: none, alpha: 0.6 },
    ],
    bands: [{ series: [1, 2], fill: colour("--band") }],
    hooks: {
      drawClear: [(/** @type {any} */ plot) => shadeGaps(plot, drawn())],
      draw: [(/** @type {any} */ plot) => drawMarks(plot, drawn())],
      setCursor: [(/** @type {any} */ plot) => onCursor(plot.cursor.idx ?? null)],
    },
  };
}

/** Pixels of the page's font, which grows with the screen. */
const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize);

/** @param {string} name a custom property of the page */
const colour = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** @param {Drawn} drawn */
const bottom = ({ series, target }) => lowest([...series.low, target]);

/** Times of an axis, with the day at the first one in view and where it changes. @param {any} plot @param {number[]} at */
function timeMarks(plot, at) {
  const first = at.findIndex((seconds) => seconds >= plot.scales.x.min);
  const isDays = at.length > 1 && at[1] - at[0] >= 86_400;
  return at.map((seconds, place) => {
    const text = moment(seconds * 1000);
    const isNewDay = place <= first || moment(at[place - 1] * 1000).slice(0, 10) !== text.slice(0, 10);
    if (isDays) return text.slice(5, 10);
    const time = at.length > 1 && at[1] - at[0] < 60 ? clock(new Date(seconds * 1000)) : text.slice(11);
    return isNewDay ? `${time}\n${text.slice(5, 10)}` : time;
  });
}

/** @param {Drawn} drawn @param {number | null} at */
function words({ series }, at) {
  const place = at ?? series.at.length - 1;
  const start = `${at === null ? "Newest: " : ""}${moment(series.at[place] * 1000)}: `;
  if (series.nEvents[place] === null) return `${start}no estimate.`;
  const behind = `${count(series.nEvents[place] ?? 0, "response")}, ${count(series.nLabels[place] ?? 0, "label")}`;
  if (series.accuracy[place] === null) return `${start}no estimate; ${behind}.`;
  return `${start}${ratio(series.accuracy[place])} (${interval(series.low[place], series.high[place])}); by labels alone ${ratio(series.labelled[place])}; ${behind}.`;
}

/** Grey where there is no estimate. @param {any} plot @param {Drawn} drawn */
function shadeGaps(plot, { series }) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.fillStyle = colour("--line")();
  ctx.globalAlpha = 0.6;
  series.at.forEach((at, place) => {
    if (series.accuracy[place] !== null) return;
    const [left, right] = [series.at[place - 1] ?? at, series.at[place + 1] ?? at].map((time) => plot.valToPos(time, "x", true));
    const [start, end] = [Math.max(left, bbox.left), Math.min(right, bbox.left + bbox.width)];
    if (end > start) ctx.fillRect(start, bbox.top, end - start, bbox.height);
  });
  ctx.restore();
}

/** Alerts above the chart, each with a line down. @param {any} plot @param {Drawn} drawn */
function drawMarks(plot, { marks }) {
  const { ctx, bbox } = plot;
  const pxRatio = devicePixelRatio;
  ctx.save();
  for (const { at, severity, isOver } of marks) {
    const x = plot.valToPos(at, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = ctx.fillStyle = colour(severity === "info" ? "--muted" : "--bad")();
    ctx.lineWidth = pxRatio;
    ctx.setLineDash([2 * pxRatio, 3 * pxRatio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.setLineDash([]);
    shape(ctx, x, bbox.top - 7 * pxRatio, 5 * pxRatio, severity);
    if (isOver) ctx.stroke();
    else ctx.fill();
  }
  ctx.restore();
}

/** @param {CanvasRenderingContext2D} ctx @param {number} x @param {number} y @param {number} r @param {string} severity */
function shape(ctx, x, y, r, severity) {
  ctx.beginPath();
  if (severity === "info") ctx.arc(x, y, 0.6 * r, 0, 2 * Math.PI);
  else {
    const corners = severity === "alarm" ? [[0, -r], [r, 0], [0, r], [-r, 0]] : [[0, -r], [r, r], [-r, r]];
    corners.forEach(([dx, dy], at) => (at ? ctx.lineTo(x + dx, y + dy) : ctx.moveTo(x + dx, y + dy)));
    ctx.closePath();
  }
}

/** What buttons and keys do. @param {any} plot @param {() => Drawn} drawn @returns {Record<string, () => void>} */
function moves(plot, drawn) {
  const set = (/** @type {number} */ min, /** @type {number} */ max) => {
    const { at } = drawn().series;
    const [first, last] = [at[0], at[at.length - 1]];
    const width = Math.min(max - min, last - first) || 1;
    const start = Math.min(Math.max(min, first), last - width);
    plot.setScale("x", { min: start, max: start + width });
  };
  const change = (/** @type {(start: number, width: number) => [number, number]} */ by) => () => {
    const { min, max } = plot.scales.x;
    const [start, width] = by(min, max - min);
    set(start, start + width);
  };
  return {
    in: change((start, width) => [start + (width * (1 - ZOOM)) / 2, width * ZOOM]),
    out: change((start, width) => [start - (width * (1 / ZOOM - 1)) / 2, width / ZOOM]),
    left: change((start, width) => [start - width / 4, width]),
    right: change((start, width) => [start + width / 4, width]),
    all: () => set(-Infinity, Infinity),
  };
}

/** @param {KeyboardEvent} event @param {any} plot @param {Record<string, () => void>} actions */
function onKey(event, plot, actions) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const zoom = /** @type {Record<string, string>} */ ({ "+": "in", "=": "in", "-": "out", 0: "all", PageUp: "left", PageDown: "right" })[event.key];
  const step = /** @type {Record<string, number>} */ ({ ArrowLeft: -1, ArrowRight: 1 })[event.key];
  if (zoom) actions[zoom]();
  else if (step) {
    const n = plot.data[0].length;
    const place = Math.min(Math.max((plot.cursor.idx ?? n) + step, 0), n - 1);
    plot.setCursor({ left: plot.valToPos(plot.data[0][place], "x"), top: 0 });
  } else return;
  event.preventDefault();
}

/** Whether the chart shows all of the time. @param {any} plot @param {Drawn} drawn */
function isAll(plot, { series: { at } }) {
  return plot.scales.x.min <= at[0] && plot.scales.x.max >= at[at.length - 1];
}
