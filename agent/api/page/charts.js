// @ts-check
/**
 * Small charts as SVG, drawn as those of a report (agent/outlets/charts.py). An unknown value is a gap or dashed: it
 * cannot be taken for zero. Meaning never rests on colour alone.
 */

import { h } from "./dom.js";
import { count, number, ratio } from "./words.js";

/** @typedef {import("./dom.js").Item} Item */
/** @typedef {{value: number | null, low: number | null, high: number | null}} Point */

const ROW = { width: 180, height: 20, margin: 6 };
const TREND = { width: 120, height: 24, margin: 3 };

/**
 * Values from `low` to `high` as positions from `start` to `end`; what lies outside is at the edge.
 * @param {number} low @param {number} high @param {number} start @param {number} end
 */
export const scale = (low, high, start, end) => (/** @type {number} */ value) =>
  start + Math.min(Math.max((value - low) / (high - low || 1), 0), 1) * (end - start);

/** Where the axis of some shares begins: the tenth below the smallest. @param {(number | null)[]} values */
export function lowest(values) {
  const given = values.filter((value) => value !== null);
  return given.length ? Math.min(Math.max(Math.floor(Math.min(.../** @type {number[]} */ (given)) * 10) / 10, 0), 0.9) : 0;
}

/**
 * One value with its interval and the target (a tick). A diamond is below the target, a ring is unclear, a dot meets it.
 * The numbers stand beside it, so a screen reader skips it.
 * @param {Point} point @param {number} target @param {number} bottom
 */
export function intervalRow({ value, low, high }, target, bottom) {
  const x = scale(bottom, 1, ROW.margin, ROW.width - ROW.margin);
  const middle = ROW.height / 2;
  const tick = line("tick", x(target), 3, x(target), ROW.height - 3);
  if (value === null || low === null || high === null)
    return picture(ROW, null, line("unknown", x(bottom), middle, x(1), middle), tick);
  return picture(
    ROW, null,
    line("grid", x(bottom), middle, x(1), middle), tick,
    line("value", x(low), middle, x(high), middle),
    mark(x(value), middle, low, high, target),
  );
}

/** The axis of some rows that `intervalRow` made. @param {number} bottom */
export const intervalAxis = (bottom) =>
  picture(
    { width: ROW.width, height: 14 }, null,
    label(ROW.margin, 10, ratio(bottom)), label(ROW.width - ROW.margin, 10, ratio(1), "end"),
  );

/**
 * The accuracy of a series over time, oldest first, on the axis of the row.
 * @param {(number | null)[]} values @param {number} target @param {number} bottom
 */
export function trendLine(values, target, bottom) {
  const x = scale(0, Math.max(values.length - 1, 1), TREND.margin, TREND.width - TREND.margin);
  const y = scale(bottom, 1, TREND.height - TREND.margin, TREND.margin);
  const given = values.filter((value) => value !== null);
  const middle = TREND.height / 2;
  const title = given.length
    ? `From ${ratio(given[0])} to ${ratio(given[given.length - 1])}, ${count(given.length, "value")}` +
      (given.length < values.length ? `, ${values.length - given.length} unknown` : "")
    : "No estimate so far";
  return picture(
    TREND, title,
    line("target", x(0), y(target), x(values.length), y(target)),
    !given.length && line("unknown", TREND.margin, middle, TREND.width - TREND.margin, middle),
    runs(values).map((run) => path("value", run.map((at) => [x(at), y(/** @type {number} */ (values[at]))]))),
    runs(values).slice(-1).map((run) => {
      const last = run[run.length - 1];
      return h("circle", { class: "dot", cx: digits(x(last)), cy: digits(y(/** @type {number} */ (values[last]))), r: 2.5 });
    }),
  );
}

/**
 * One bar from zero; to the left where negative.
 * @param {number | null} value @param {[number, number]} extent smallest and largest value of all rows
 */
export function barRow(value, extent) {
  const x = scale(Math.min(extent[0], 0), Math.max(extent[1], 0), ROW.margin, ROW.width - ROW.margin);
  const [zero, middle] = [x(0), ROW.height / 2];
  if (value === null) return picture(ROW, null, line("unknown", ROW.margin, middle, ROW.width - ROW.margin, middle));
  const [left, right] = [Math.min(zero, x(value)), Math.max(zero, x(value))];
  return picture(ROW, null, bar(value > 0 ? "bar" : "bar none", left, 4, right - left, 12), line("grid", zero, 0, zero, ROW.height));
}

/** @typedef {{n: number, predicted: number, correct: number, ci_low: number, ci_high: number}} Bin */

/** Predicted against observed shares with intervals, and below it how many labels stand behind each. @param {Bin[]} bins */
export function reliability(bins) {
  const [x, y] = [scale(0, 1, 34, 312), scale(0, 1, 230, 10)];
  const most = Math.max(...bins.map(({ n }) => n), 1);
  const width = 278 / 10;
  const text = bins.map((b) => `predicted ${ratio(b.predicted)}, right ${ratio(b.correct)} of ${count(b.n, "label")}`);
  return picture(
    { width: 320, height: 312 }, text.join("; ") || "No labels",
    valueAxis(0, 1, y, 34, 312),
    line("target", x(0), y(0), x(1), y(1)),
    label(34, 246, "0"), label(173, 246, "predicted", "middle"), label(312, 246, "1", "end"),
    bins.map((bin) => {
      const left = 34 + Math.min(Math.floor(bin.predicted * 10), 9) * width;
      const height = Math.max((24 * bin.n) / most, 1);
      return [
        line("value", x(bin.predicted), y(bin.ci_low), x(bin.predicted), y(bin.ci_high)),
        h("circle", { class: "dot", cx: digits(x(bin.predicted)), cy: digits(y(bin.correct)), r: 3.5 }),
        bar("bar none", left + 2, 282 - height, width - 4, height),
        label(left + width / 2, 294, short(bin.n), "middle"),
      ];
    }),
    label(173, 308, "labels in each tenth", "middle"),
  );
}

/** @typedef {{name: string, edges: number[], now: number[], before: number[]}} Feature shares of responses by bin */

/** Shares now as bars and before as steps. @param {Feature} feature @param {string} title */
export function histogram({ edges, now, before }, title) {
  const [first, last] = [edges[0], edges[edges.length - 1]];
  const most = Math.max(...now, ...before, 0.01);
  const [x, y] = [scale(first, last, 34, 312), scale(0, most, 100, 10)];
  const steps = before.flatMap((share, at) => [[x(edges[at]), y(share)], [x(edges[at + 1]), y(share)]]);
  return picture(
    { width: 320, height: 124 }, title,
    [0, most].map((share) => [line("grid", 34, y(share), 312, y(share)), label(30, y(share) + 3.5, `${Math.round(share * 100)}%`, "end")]),
    now.map((share, at) => bar("bar soft", x(edges[at]), y(share), Math.max(x(edges[at + 1]) - x(edges[at]) - 1, 1), 100 - y(share))),
    steps.length > 0 && path("step", steps),
    label(34, 116, brief(first)), label(312, 116, brief(last), "end"),
  );
}

/** @param {{width: number, height: number}} box @param {string | null} title null: for the eye only @param {...import("./dom.js").Content} content */
function picture({ width, height }, title, ...content) {
  const named = title === null ? { "aria-hidden": "true" } : { role: "img", "aria-label": title };
  return h("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, ...named }, ...content);
}

/** @param {number} x @param {number} y @param {number} low @param {number} high @param {number} target */
function mark(x, y, low, high, target) {
  if (high < target)
    return h("path", { class: "dot below", d: `M${digits(x - 6)} ${y}L${digits(x)} ${y - 6}L${digits(x + 6)} ${y}L${digits(x)} ${y + 6}Z` });
  return h("circle", { class: low < target ? "dot unclear" : "dot", cx: digits(x), cy: y, r: 4.5 });
}

/** @param {number} low @param {number} high @param {(value: number) => number} y @param {number} left @param {number} right */
const valueAxis = (low, high, y, left, right) =>
  [low, (low + high) / 2, high].map((value) => [
    line("grid", left, y(value), right, y(value)),
    label(left - 4, y(value) + 3.5, ratio(value), "end"),
  ]);

/** Places of the known values, in runs without a gap. @param {(number | null)[]} values */
function runs(values) {
  /** @type {number[][]} */
  const found = [];
  values.forEach((value, at) => {
    if (value === null) return;
    if (at && values[at - 1] !== null) found[found.length - 1].push(at);
    else found.push([at]);
  });
  return found;
}

/** @param {string} kind @param {number[][]} points */
const path = (kind, points) => h("path", { class: kind, d: `M${points.map(([x, y]) => `${digits(x)} ${digits(y)}`).join("L")}` });

/** @param {string} kind @param {number} x1 @param {number} y1 @param {number} x2 @param {number} y2 */
const line = (kind, x1, y1, x2, y2) => h("line", { class: kind, x1: digits(x1), y1: digits(y1), x2: digits(x2), y2: digits(y2) });

/** @param {string} kind @param {number} x @param {number} y @param {number} width @param {number} height */
const bar = (kind, x, y, width, height) =>
  h("rect", { class: kind, x: digits(x), y: digits(y), width: digits(Math.max(width, 1)), height: digits(Math.max(height, 0)) });

/** @param {number} x @param {number} y @param {string} text @param {string | null} [anchor] */
const label = (x, y, text, anchor = null) => h("text", { x: digits(x), y: digits(y), "text-anchor": anchor }, text);

/** At most one decimal: enough for a position. @param {number} value */
const digits = (value) => String(Math.round(value * 10) / 10);

/** A count in at most four characters or so. @param {number} n */
const short = (n) => (n < 1000 ? `${n}` : n < 10000 ? `${(n / 1000).toFixed(1)}k` : `${number(Math.floor(n / 1000))}k`);

/** @param {number} value */
const brief = (value) => String(Number(value.toPrecision(3)));
