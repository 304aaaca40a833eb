// @ts-check
/** The data list, the weak segments, and the label lists: what to get and what to label. */

import { responseLinks } from "./alerts.js";
import { get, pages } from "./api.js";
import { barRow } from "./charts.js";
import { h } from "./dom.js";
import { change, domainAddress } from "./route.js";
import { segmentTable } from "./segments.js";
import { note, outside, row, section, table } from "./table.js";
import { capital, clean, count, decimal, interval, known, number, ratio, signed, unknown, when, zone } from "./words.js";

/** @typedef {import("./route.js").State} State */

const MAX_ROWS = 200;
const MAX_LISTS = 10_000;

export const data = {
  title: () => "Data list",

  load: async () => {
    const [list, weak] = await Promise.all([get("/v1/data-list"), get("/v1/weak-segments")]);
    return { list, weak };
  },

  /** @param {{list: any, weak: any}} found */
  draw: ({ list, weak }) => [
    h("h1", { tabindex: "-1" }, "Data to get"),
    list ? priorities(list) : h("p", null, "No list yet: the first one is made when the first window ends."),
    section("weak", "Weak segments", weak ? [
      note(`${count(weak.n_segments, "segment")} were compared by ${count(weak.n_labels, "label")}, ${number(weak.n_suggesting)} by predictions, at `, when(weak.event_time), "."),
      segmentTable(weak.segments.slice(0, MAX_ROWS), true),
    ] : h("p", null, "No search for weak segments yet.")),
  ],
};

/** @param {any} list */
function priorities({ event_time, priorities: found }) {
  const values = found.filter((/** @type {any} */ p) => p.value !== null).map((/** @type {any} */ p) => p.value);
  /** @type {[number, number]} */
  const extent = [Math.min(0, ...values), Math.max(0, ...values)];
  const columns = [
    { name: "domain" }, { name: "rank", kind: "n" }, { name: "points", kind: "n" }, { name: "value", kind: "p" }, { name: "accuracy", kind: "n" },
    { name: "target", kind: "n" }, { name: "share of traffic", kind: "n" }, { name: "responses", kind: "n" }, { name: "labels", kind: "n" },
    { name: "why, and the worst responses", kind: "w" },
  ];
  const rows = found.slice(0, MAX_ROWS).map((/** @type {any} */ p) => row(`${p.fingerprint} ${p.domain}`, columns, [
    [h("a", { href: domainAddress(p) }, clean(p.domain)), p.is_new && h("span", { class: "note block" }, "new")],
    number(p.rank), p.value === null ? unknown("no estimate") : signed(p.value * 100, 1), barRow(p.value, extent),
    p.accuracy === null ? unknown("no estimate") : [ratio(p.accuracy), h("span", { class: "note block" }, interval(p.ci_low, p.ci_high))],
    known(p.target, "not stored"), `${(p.traffic_share * 100).toFixed(1)}%`, number(p.n_events), number(p.n_labels),
    [clean(p.why), p.worst.length > 0 && h("span", { class: "note block" }, "Worst: ", responseLinks(p), ".")],
  ]));
  return [
    note("Made at ", when(event_time), ". Value: the points that the accuracy of all traffic gains when the domain reaches its target."),
    table("Data to get, the most valuable first", columns, rows),
    rest(found.length),
  ];
}

export const labels = {
  title: () => "Label list",

  load: () => pages("/v1/label-lists", {}, MAX_LISTS),

  /** @param {{items: any[]}} found @param {State} state */
  draw({ items }, state) {
    const n = items.reduce((sum, list) => sum + list.requests.length, 0);
    return [
      h("h1", { tabindex: "-1" }, "Responses to label"),
      items.length
        ? h("p", null, `${count(n, "response")} of the period that ended `, when(items[0].period_end), ", until ", when(items[0].expires), ":")
        : h("p", null, "No list yet: lists are made when a period ends, and need a labelling budget."),
      items.slice(0, MAX_ROWS).map((list) => labelList(list, state.open === list.domain)),
      rest(items.length),
    ];
  },
};

/** @param {any} list @param {boolean} isOpen */
function labelList(list, isOpen) {
  const { domain, fingerprint, requests } = list;
  const columns = [
    { name: "response" }, { name: "rank", kind: "n" }, { name: `at (${zone()})`, kind: "v" }, { name: "p_correct", kind: "n" },
    { name: "inclusion probability", kind: "n" }, { name: "slices", kind: "w" }, { name: "in your tool", kind: "v" },
  ];
  const rows = (isOpen ? requests : []).map((/** @type {any} */ r) => row(r.response_id, columns, [
    h("a", { href: domainAddress({ domain, fingerprint }, { response: r.response_id }) }, clean(r.response_id)),
    number(r.rank), when(r.event_time), r.p_correct === null ? unknown("no prediction") : ratio(r.p_correct), decimal(r.inclusion_probability),
    Object.entries(r.slices).map(([name, value]) => `${clean(name)}=${clean(String(value))}`).join(", ") || h("span", { class: "note" }, "none"),
    r.link ? outside(r.link, "Open") : unknown("no link is configured"),
  ]));
  return h(
    "details", { key: `${fingerprint} ${domain}`, class: "list", open: isOpen, ontoggle: (/** @type {Event} */ event) => onToggle(event, domain, isOpen) },
    h("summary", null, h("b", null, clean(domain)), `: ${count(requests.length, "response")}. ${capital(clean(list.reason))}.`),
    isOpen && note(
      `Drawn from ${count(list.n_responses, "response")}, of which ${number(list.n_labelled)} had a label. Asked before: ${number(list.n_asked)}, `,
      `labelled of these: ${number(list.n_answered)}`,
      list.p_answered !== null && list.p_unanswered !== null && `, with a mean p_correct of ${ratio(list.p_answered)} against ${ratio(list.p_unanswered)} of the others`,
      ". Lower ranks first: they are a fair sample too.",
    ),
    isOpen && (requests.length ? table(`Responses of ${clean(domain)} to label`, columns, rows) : h("p", null, "Nothing to label.")),
  );
}

/** Only the open list has rows in the page. @param {Event} event @param {string} domain @param {boolean} wasOpen */
function onToggle({ target }, domain, wasOpen) {
  const { open } = /** @type {HTMLDetailsElement} */ (target);
  if (open !== wasOpen) change({ open: open ? domain : null }, false);
}

/** @param {number} total */
const rest = (total) => total > MAX_ROWS && note(`The first ${MAX_ROWS} of ${number(total)}; the API has all.`);
