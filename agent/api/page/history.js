// @ts-check
/** The accuracy of one domain over time: a zoomable chart, what stands at the cursor, and the same as a table. */

import { h } from "./dom.js";
import { timeline } from "./timeline.js";
import { note, row, table } from "./table.js";
import { count, knownInterval, moment, number, ratio, SIGNS, unknown, when, zone } from "./words.js";

const MAX_STEPS = 3; // two estimates further apart than this many usual steps have a gap between them
const MAX_ROWS = 100;

/**
 * @typedef {object} Series columns over time; a null value is unknown
 * @property {number[]} at seconds
 * @property {(number | null)[]} accuracy @property {(number | null)[]} low @property {(number | null)[]} high
 * @property {(number | null)[]} labelled by labels alone
 * @property {(number | null)[]} nLabels @property {(number | null)[]} nEvents
 */

/** @typedef {{series: Series, target: number, marks: {at: number, severity: string, isOver: boolean}[], text: string}} Drawn */

/** @type {{from: any, alerts: any, drawn: Drawn} | null} */
let newest = null;

/** @param {any} one the row of the domain @param {any[]} estimates by window end @param {any[]} alerts */
export function over(one, estimates, alerts) {
  if (!estimates.length) return h("p", null, "No estimate in this span.");
  if (newest?.from !== estimates || newest.alerts !== alerts)
    newest = { from: estimates, alerts, drawn: drawing(one, estimates, alerts) };
  return [
    h("div", { class: "timeline", widget: timeline, data: newest.drawn }),
    note(
      "Line: accuracy. Band: its interval. Dashed: target. Hollow dots: labels alone. Bars below: labels in the window. ",
      "Marks above: ", h("b", null, "◆"), " alarm, ", h("b", null, "▲"), " warning, ", h("b", null, "•"), " info. Grey: no estimate. ",
      "Drag to zoom; with the keyboard, arrows move, + and − zoom, 0 shows all.",
    ),
    h("details", null, h("summary", null, `The numbers as a table (${count(estimates.length, "estimate")})`), asTable(estimates, one.target)),
  ];
}

/** @param {any[]} estimates @param {number} target */
function asTable(estimates, target) {
  const columns = [
    { name: `window until (${zone()})` }, { name: "verdict", kind: "v" }, { name: "accuracy", kind: "n" }, { name: "interval", kind: "n" },
    { name: "by labels alone", kind: "n" }, { name: "responses", kind: "n" }, { name: "labels", kind: "n" },
  ];
  const rows = estimates.slice(-MAX_ROWS).reverse().map((e) =>
    row(`${e.window_end}`, columns, [
      when(e.window_end), verdict(e, target), e.accuracy === null ? unknown(e.status_reason ?? e.status) : ratio(e.accuracy),
      knownInterval(e.ci_low, e.ci_high, e.status_reason ?? e.status), e.accuracy_labelled === null ? unknown("no labels") : ratio(e.accuracy_labelled),
      number(e.n_events), number(e.n_labels),
    ]));
  return [
    table("Accuracy over time, newest first", columns, rows),
    estimates.length > MAX_ROWS && note(`The newest ${MAX_ROWS} of ${number(estimates.length)}.`),
  ];
}

/** @param {any} e @param {number} target */
function verdict(e, target) {
  const word = e.ci_low === null ? "no estimate" : e.ci_high < target ? "below target" : e.ci_low < target ? "unclear" : "meets target";
  return `${SIGNS[word]} ${word}`;
}

/** @param {any} one @param {any[]} estimates @param {any[]} alerts @returns {Drawn} */
function drawing(one, estimates, alerts) {
  const series = columns(estimates);
  const [first, last] = [estimates[0], estimates[estimates.length - 1]];
  return {
    series,
    target: one.target,
    marks: alerts.map((a) => ({ at: Date.parse(a.event_time) / 1000, severity: a.severity, isOver: a.state === "resolved" || a.state === "ok" })),
    text:
      `Accuracy over time, ${count(estimates.length, "estimate")} from ${moment(first.window_end)} to ${moment(last.window_end)}: ` +
      `${ratio(first.accuracy)} at first, ${ratio(last.accuracy)} at last; target ${ratio(one.target)}. ` +
      `${count(alerts.length, "alert")}. The table below has the numbers.`,
  };
}

/** Columns, with an unknown row in each gap. @param {any[]} estimates @returns {Series} */
function columns(estimates) {
  /** @type {Series} */
  const found = { at: [], accuracy: [], low: [], high: [], labelled: [], nLabels: [], nEvents: [] };
  const ends = estimates.map((e) => Date.parse(e.window_end) / 1000);
  const step = median(ends.slice(1).map((end, at) => end - ends[at]));
  estimates.forEach((e, at) => {
    if (at && ends[at] - ends[at - 1] > MAX_STEPS * step) add(found, ends[at - 1] + step, {});
    add(found, ends[at], e);
  });
  return found;
}

/** @param {Series} series @param {number} at @param {any} e */
function add(series, at, e) {
  series.at.push(at);
  series.accuracy.push(e.accuracy ?? null);
  series.low.push(e.ci_low ?? null);
  series.high.push(e.ci_high ?? null);
  series.labelled.push(e.accuracy_labelled ?? null);
  series.nLabels.push(e.n_labels ?? null);
  series.nEvents.push(e.n_events ?? null);
}

/** @param {number[]} values */
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
