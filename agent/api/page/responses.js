// @ts-check
/** The newest responses of a domain in pages, and one response with its features and labels. */

import { pager } from "./alerts.js";
import { h } from "./dom.js";
import { address, change, parse } from "./route.js";
import { choice, factList, note, row, table } from "./table.js";
import { clean, decimal, number, ratio, spoken, unknown, when, zone } from "./words.js";

/** @typedef {import("./route.js").State} State */

const REASONS = { prediction: "it had no usable log-probabilities, or came before the first fit", label: "no label so far" };

/** @param {{items: any[], next: string | null}} page @param {State} state @param {import("./dom.js").Memory} memory */
export function responseTable({ items, next }, state, memory) {
  const columns = [
    { name: "response" }, { name: `at (${zone()})`, kind: "v" }, { name: "p_correct", kind: "n" }, { name: "label", kind: "v" },
    { name: "tokens", kind: "n" }, { name: "ended by", kind: "v" }, { name: "slices", kind: "w" },
  ];
  const rows = items.map((r) => memory.item(`response ${r.response_id}`, JSON.stringify([r, state]), () => row(r.response_id, columns, [
    h("a", { href: address({ ...state, response: r.response_id }) }, clean(r.response_id)),
    when(r.event_time),
    r.p_correct === null ? unknown(REASONS.prediction) : ratio(r.p_correct),
    label(r),
    number(r.n_tokens), clean(r.finish_reason || "not given"), slices(r.slices),
  ])));
  return [
    h("div", { class: "filters" }, choice("labelled", "Labels", state.labelled ?? "",
      [["", "with and without"], ["true", "only with a label"], ["false", "only without"]],
      (value) => change({ labelled: value, after: null }, false))),
    rows.length ? table("Newest responses", columns, rows) : h("p", null, "No such response."),
    pager(next, state.after),
  ];
}

/** @param {any} r */
function label({ correct, label_kind, weight }) {
  if (correct === null) return unknown(label_kind === "withdrawn" ? "the label was withdrawn" : REASONS.label);
  const how = weight === 0 ? "does not count in estimates" : label_kind === "designed" ? `drawn, weight ${decimal(weight, 1)}` : "not drawn";
  return [truth(correct), h("span", { class: "note block" }, how)];
}

/** @param {number} correct in [0, 1] */
const truth = (correct) => (correct === 1 ? "✓ correct" : correct === 0 ? h("strong", null, "✗ wrong") : ratio(correct));

/** @param {Record<string, string> | null | undefined} given */
const slices = (given) => Object.entries(given ?? {}).map(([name, value]) => `${clean(name)}=${clean(value)}`).join(", ") || h("span", { class: "note" }, "none");

/** @param {any} r null: not found @param {string} id */
export const responseDialog = (r, id) =>
  h("dialog", { key: `response ${id}`, "aria-labelledby": "response-title", onclose: shut, onclick: onBackdrop }, [
    h("button", { type: "button", class: "end", onclick: close }, "Close"),
    h("h2", { id: "response-title" }, `Response ${clean(id)}`),
    r ? details(r) : h("p", null, "This response is not in the store (any more)."),
    h("span", { widget: opener, data: null }),
  ]);

/** @param {any} r */
const details = (r) => [
  factList([
    ["At", when(r.event_time)], ["Domain", clean(r.domain)], ["Context", r.fingerprint],
    ["p_correct", r.p_correct === null ? unknown(REASONS.prediction) : decimal(r.p_correct)],
    ["Label", label(r)],
    ["Classifier version", r.classifier_version === null ? unknown("no prediction") : String(r.classifier_version)],
    ["Tokens", number(r.n_tokens)], ["Ended by", clean(r.finish_reason || "not given")], ["Slices", slices(r.slices)],
  ]),
  r.text && [h("h3", null, "Text"), h("pre", { tabindex: "0" }, r.text)],
  h("h3", null, "Labels"),
  r.labels.length ? labelTable(r.labels) : h("p", null, "No label so far."),
  h("h3", null, "Features"),
  featureTable(r.features ?? {}),
];

/** @param {any[]} labels */
function labelTable(labels) {
  const columns = [{ name: "label" }, { name: "says", kind: "v" }, { name: `at (${zone()})`, kind: "v" }, { name: "by" }, { name: "source" }, { name: "inclusion probability", kind: "n" }];
  return table("Labels of the response", columns, labels.map((l) => row(l.label_id, columns, [
    clean(l.label_id), l.correct === null ? "withdrawn" : truth(l.correct), when(l.event_time), spoken(l.annotator_kind), clean(l.source || "not given"),
    l.inclusion_probability === null ? unknown("the response was not drawn") : decimal(l.inclusion_probability),
  ])));
}

/** @param {Record<string, number | null>} features */
function featureTable(features) {
  const columns = [{ name: "feature" }, { name: "value", kind: "n" }];
  const found = Object.entries(features);
  if (!found.length) return note("No features: the response has no usable log-probabilities.");
  return table("Features of the response", columns, found.map(([name, value]) =>
    row(name, columns, [clean(name), value === null ? unknown("not known for this response") : String(Number(value.toPrecision(4)))])), "narrow");
}

/** Opens the dialog around it as a modal one. @type {import("./dom.js").Widget<null>} */
export const opener = {
  open(element) {
    queueMicrotask(() => {
      const dialog = /** @type {HTMLDialogElement | null} */ (element.closest("dialog"));
      if (dialog?.isConnected && !dialog.open) dialog.showModal();
    });
    return { update() {}, close() {} };
  },
};

/** Closes the dialog around what was pressed. @param {Event} event */
export const close = ({ target }) => /** @type {Element} */ (target).closest("dialog")?.close();

function shut() {
  if (parse(location.hash).response) change({ response: null });
}

/** A click beside the dialog closes it. @param {MouseEvent} event */
const onBackdrop = ({ target }) => target instanceof HTMLDialogElement && target.close();
