// @ts-check
/** Alerts: what changed, what to do, and what became of it. */

import { get } from "./api.js";
import { h } from "./dom.js";
import { action } from "./guide.js";
import { change, domainAddress } from "./route.js";
import { choice, note, outside, row, table } from "./table.js";
import { capital, clean, number, spoken, unknown, when, zone } from "./words.js";

/** @typedef {import("./route.js").State} State */

const PER_PAGE = 100;
const MAX_NAMES = 5;
/** @type {Record<string, string>} */
const SIGNS = { alarm: "◆", warning: "▲", info: "•" };

export const title = () => "Alerts";

/** @param {State} state */
export const load = ({ state = "open", severity, domain, after }) => get("/v1/alerts", { state, severity, domain, after, limit: PER_PAGE });

/** @param {{items: any[], next: string | null}} data @param {State} state */
export function draw({ items, next }, { state = "open", severity = "", domain, after }) {
  return [
    h("h1", { tabindex: "-1" }, domain ? `Alerts of ${clean(domain)}` : "Alerts"),
    h(
      "div", { class: "filters" },
      choice("state", "State", state, [["open", "open"], ["all", "all, also those that are over"]], (value) => change({ state: value, after: null }, false)),
      choice("severity", "Severity", severity, [["", "all"], ["alarm", "alarms"], ["warning", "warnings"], ["info", "info"]],
        (value) => change({ severity: value, after: null }, false)),
      domain && h("button", { type: "button", onclick: () => change({ domain: null, after: null, view: "alerts" }) }, "Alerts of all domains"),
    ),
    note("An alarm rests on labels, a warning on signals, info on neither."),
    items.length ? alertTable("Alerts, newest first", items) : h("p", null, state === "open" ? "No open alerts." : "No alerts."),
    pager(next, after),
  ];
}

/** Newer and older pages. @param {string | null} next @param {string | undefined} after */
export const pager = (next, after) =>
  (next || after) && h(
    "p", { class: "pager", key: "pager" },
    after && h("button", { type: "button", onclick: () => change({ after: null }) }, "Newest"),
    next && h("button", { type: "button", onclick: () => change({ after: next }) }, "Older"),
  );

/** @param {string} caption @param {any[]} alerts @param {{isOfDomain?: boolean}} [options] */
export function alertTable(caption, alerts, { isOfDomain = false } = {}) {
  const columns = [
    { name: isOfDomain ? "slice" : "domain" }, { name: "severity", kind: "v" }, { name: "state", kind: "v" }, { name: "what happened, and what to do", kind: "w" },
    { name: `at (${zone()})`, kind: "v" }, { name: "responses or labels", kind: "n" },
  ];
  return table(caption, columns, alerts.map((a) => row(String(a.number), columns, [
    name(a, isOfDomain), h("span", { class: `badge ${a.severity}` }, `${SIGNS[a.severity] ?? ""} ${a.severity}`), a.severity === "info" ? "–" : spoken(a.state), words(a),
    [when(a.event_time), a.since && h("span", { class: "note block" }, "since ", when(a.since))],
    a.n == null ? unknown("this kind of alert counts neither") : number(a.n),
  ])));
}

/** @param {any} a @param {boolean} isOfDomain */
function name(a, isOfDomain) {
  if (isOfDomain) return a.slice ? clean(a.slice) : "the whole domain";
  const link = isReal(a.domain) ? h("a", { href: domainAddress(a) }, clean(a.domain)) : clean(a.domain);
  return [link, a.slice && h("span", { class: "note block" }, clean(a.slice))];
}

/** Whether alerts of this domain are about one domain. @param {string} domain */
const isReal = (domain) => domain !== "(all)";

/** @param {any} a */
const words = (a) => [
  sentence(a.message),
  h(
    "span", { class: "note block" }, `To do: ${action(a)}.`,
    a.inhibited_by && ` It follows from another alert that fires: ${clean(a.inhibited_by)}.`,
    a.link && [" ", outside(a.link, "Open in your tool"), "."],
  ),
  a.rows?.length > 0 && h("span", { class: "note block" }, "Responses: ", responseLinks(a), "."),
];

/** A message with a capital, but for names such as n_tokens, and with an end. @param {string} message */
function sentence(message) {
  const text = clean(message);
  const start = /^\w*_/.test(text) ? text : capital(text);
  return /[.?!]$/.test(start) ? start : `${start}.`;
}

/** Links to some responses of a series. @param {{domain: string, fingerprint: string, rows?: string[], worst?: string[]}} series */
export function responseLinks({ domain, fingerprint, rows, worst }) {
  const ids = rows ?? worst ?? [];
  const links = ids.slice(0, MAX_NAMES).map((id, at) => [
    at > 0 && ", ",
    isReal(domain) ? h("a", { href: domainAddress({ domain, fingerprint }, { response: id }) }, clean(id)) : clean(id),
  ]);
  return [links, ids.length > MAX_NAMES && ` and ${number(ids.length - MAX_NAMES)} more`];
}
