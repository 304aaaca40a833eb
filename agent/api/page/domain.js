// @ts-check
/** One domain: its accuracy over time, what changed, why it is on a list, its predictions and its responses. */

import { find, get, pages } from "./api.js";
import { alertTable } from "./alerts.js";
import { histogram, reliability } from "./charts.js";
import { h } from "./dom.js";
import { over } from "./history.js";
import { responseDialog, responseTable } from "./responses.js";
import { segmentTable, sliceTable } from "./segments.js";
import { address, change } from "./route.js";
import { choice, factList, note, section } from "./table.js";
import { clean, count, interval, known, knownInterval, number, ratio, SIGNS, signed, unknown, when } from "./words.js";

/** @typedef {import("./route.js").State} State */

const MAX_ESTIMATES = 10_000;
const MAX_ALERTS = 20;
/** @type {Record<string, string>} */
const SPANS = { 7: "7 days", 30: "30 days", 90: "90 days", all: "all" };
const PER_PAGE = 25;

/** @param {State} state */
export const title = (state) => clean(state.domain);

/** @param {State} state */
export async function load(state) {
  const { domain } = state;
  const one = await get("/v1/domain", { domain, fingerprint: state.fingerprint });
  const series = { domain, fingerprint: one.fingerprint };
  const from = start(one.window_end, state.span ?? "30");
  const [estimates, alerts, responses, response] = await Promise.all([
    pages("/v1/estimates/history", { ...series, from }, MAX_ESTIMATES),
    get("/v1/alerts", { state: "all", domain, limit: MAX_ALERTS }),
    get("/v1/responses", { ...series, labelled: state.labelled, after: state.after, limit: PER_PAGE }),
    state.response ? find("/v1/responses/one", { id: state.response, text: "true" }) : null,
  ]);
  return { one, estimates, alerts, responses, response };
}

/** @param {Awaited<ReturnType<typeof load>>} data @param {State} state @param {import("./dom.js").Memory} memory */
export function draw({ one, estimates, alerts, responses, response }, state, memory) {
  return [
    h("p", { class: "note" }, h("a", { href: "#view=overview" }, "← All domains")),
    h("h1", { tabindex: "-1" }, clean(one.domain)),
    h("p", { class: "lead" }, sentence(one)),
    one.priority && h("p", { key: "why" }, `On the data list at rank ${one.priority.rank}: ${clean(one.priority.why)}.`),
    section("time", "Over time", overTime(one, estimates, alerts.items, state)),
    section("alerts", "What changed", alerts.items.length
      ? [alertTable("Alerts of this domain", alerts.items, { isOfDomain: true }),
         alerts.next && h("p", null, h("a", { href: address({ view: "alerts", state: "all", domain: one.domain }) }, "All alerts of this domain"))]
      : h("p", null, "No alerts.")),
    section("lists", "Lists", lists(one)),
    section("slices", "Slices", sliceTable(one.slices), segmentTable(one.weak_segments, false)),
    section("predictions", "Predictions and labels", predictions(one)),
    section("features", "What responses look like", features(one)),
    section("responses", "Responses", responseTable(responses, state, memory)),
    section("numbers", "The estimate in full", estimateFacts(one)),
    state.response && responseDialog(response, state.response),
  ];
}

/** @param {any} one */
function sentence(one) {
  const behind = `from ${count(one.n_events, "response")} and ${count(one.n_labels, "label")}`;
  const sign = `${SIGNS[one.verdict]} `;
  if (one.accuracy === null)
    return [`${sign}No estimate: ${clean(one.status_reason ?? one.status)}; ${behind}, window until `, when(one.window_end), "."];
  const numbers = `${ratio(one.accuracy)} (${interval(one.ci_low, one.ci_high)})`;
  const words = /** @type {Record<string, string>} */ ({
    "below target": `Below target: accuracy ${numbers} against ${ratio(one.target)}`,
    unclear: `Not clear yet: accuracy ${numbers}, and the target ${ratio(one.target)} lies inside the interval`,
    "meets target": `On target: accuracy ${numbers} against ${ratio(one.target)}`,
  });
  return [`${sign}${words[one.verdict]}; ${behind}, window until `, when(one.window_end), "."];
}

/** @param {any} one @param {{items: any[], next: string | null}} estimates @param {any[]} alerts @param {State} state */
const overTime = (one, estimates, alerts, state) => [
  h("div", { class: "filters" }, choice("span", "Span", state.span ?? "30", Object.entries(SPANS), (span) => change({ span }, false))),
  over(one, estimates.items, alerts),
  estimates.next !== null && note(`The first ${number(MAX_ESTIMATES)} estimates of the span; choose a shorter one.`),
];

/** @param {any} one */
function lists({ priority, label_list: list, domain }) {
  /** @type {[string, import("./dom.js").Content][]} */
  const facts = [];
  if (priority)
    facts.push(["On the data list", [
      h("a", { href: "#view=data" }, `rank ${priority.rank}`), ", worth ",
      priority.value === null ? unknown("no estimate") : `${signed(priority.value * 100, 1)} points of the accuracy of all traffic`,
    ]]);
  else facts.push(["On the data list", "no"]);
  facts.push(["To label", list
    ? [h("a", { href: address({ view: "labels", open: domain }) }, count(list.requests.length, "response")),
       ` of ${number(list.n_responses)}, until `, when(list.expires), `: ${clean(list.reason)}.`]
    : "no list for this domain"]);
  return factList(facts);
}

/** @param {any} one */
function predictions({ calibration }) {
  const n = calibration.reduce((/** @type {number} */ sum, /** @type {{n: number}} */ bin) => sum + bin.n, 0);
  if (!n) return h("p", null, "No labels in the last period, so predictions cannot be compared with them.");
  return [
    note(
      "Of responses with about the same predicted probability to be correct, this share was right, by ",
      count(n, "label"), " of the last period. On the dashed line predictions are right.",
    ),
    h("figure", { class: "single" }, reliability(calibration)),
  ];
}

/** @param {any} one */
function features({ features: found, n_now, n_before }) {
  if (!found.length || !n_now) return h("p", null, "No features yet.");
  return [
    note(`Bars: ${count(n_now, "response")} of the newest window. Line: `,
         n_before ? `${count(n_before, "response")} before them.` : "none before them."),
    h("div", { class: "cards-grid" }, found.map((/** @type {any} */ feature) => {
      const distance = apart(feature);
      const words = distance === null ? "nothing to compare with" : `${Math.round(100 - distance * 100)}% overlap with before`;
      return h("figure", { key: feature.name },
        h("figcaption", null, h("h3", null, clean(feature.name)), h("p", null, words)),
        histogram(feature, `${clean(feature.name)}, ${words}`));
    })),
  ];
}

/** Half the sum of differences of the shares; null without a reference. @param {{now: number[], before: number[]}} feature */
const apart = ({ now, before }) =>
  before.some(Boolean) && now.some(Boolean) ? now.reduce((sum, share, at) => sum + Math.abs(share - before[at]), 0) / 2 : null;

/** @param {any} one */
const estimateFacts = ({ estimate: e, accuracy_labelled, model, fingerprint, confidence_level }) =>
  factList([
    ["Window", [when(e.window_start), " to ", when(e.window_end)]],
    ["Model", clean(model || "unnamed model")],
    ["Context", fingerprint],
    ["By labels alone", known(accuracy_labelled, "no labels in the window")],
    ["Interval from labels alone, valid at any time", knownInterval(e.anytime_low, e.anytime_high, "no labels since the last alert of this kind")],
    ["Labels are worth", `${e.effective_sample_size.toFixed(0)} of equal weight`],
    ["Confidence level", String(confidence_level)],
    ["Estimator", `${e.estimator}, classifier version ${e.classifier_version}`],
    ["Estimators apart by", known(e.spread, "one estimator")],
    ["Revision", String(e.revision)],
    ["Watermark", when(e.watermark)],
  ]);

/** The start of the span that ends at a time. @param {string} end @param {string} span days, or all */
const start = (end, span) => (span === "all" || !end ? null : new Date(Date.parse(end) - Number(span) * 86_400_000).toISOString());
