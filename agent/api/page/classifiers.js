// @ts-check
/** The stored classifier versions of each context: compare them, and let an older one predict again. */

import { get, post, Problem } from "./api.js";
import { h } from "./dom.js";
import { close, opener } from "./responses.js";
import { change, parse } from "./route.js";
import { note, row, section, table } from "./table.js";
import { capital, clean, count, decimal, number, ratio, spoken, unknown } from "./words.js";

/** @typedef {import("./route.js").State} State */

const NO_LABEL = "no label was predicted before it came";

export const title = () => "Classifiers";

export const load = () => get("/v1/classifiers");

/** @param {{items: any[]}} data @param {State} state */
export function draw({ items }, state) {
  return [
    h("h1", { tabindex: "-1" }, "Classifier versions"),
    note("Each version was scored on labels before it learned from them. Brier score and calibration error: lower is better. AUROC: higher is better."),
    items.length ? items.map((context) => of(context)) : h("p", null, "No context yet: the first one comes with the first response."),
    state.back && confirmation(items, state),
  ];
}

/** @param {any} context */
const of = ({ fingerprint, model, versions, scores }) =>
  section(
    fingerprint, `${clean(model || "Unnamed model")} (context ${fingerprint})`,
    versions.length ? versionTable(fingerprint, versions) : h("p", null, "No version yet: the first fit needs more labels."),
    scores.length > 0 && h("details", null, h("summary", null, "Predictions by domain"), scoreTable(fingerprint, scores)),
  );

/** @param {string} fingerprint @param {any[]} versions */
function versionTable(fingerprint, versions) {
  const present = versions.find((version) => version.predicts);
  const columns = [
    { name: "version" }, { name: "kind", kind: "v" }, { name: "fitted to labels", kind: "n" }, { name: "scored on labels", kind: "n" }, { name: "Brier score", kind: "n" },
    { name: "AUROC", kind: "n" }, { name: "calibration error", kind: "n" }, { name: "why stored" }, { name: "go back", kind: "v" },
  ];
  const rows = [...versions].reverse().map((v) => row(String(v.number), columns, [
    [`version ${v.number} `, v.predicts && h("span", { class: "badge" }, "predicts")], spoken(v.kind), number(v.n_labels), number(v.metric.n),
    ...["brier", "auroc", "calibration_error"].map((name) => score(v.metric[name], v.predicts ? null : present?.metric[name])),
    clean(v.reason),
    !v.predicts && h("button", { type: "button", onclick: () => change({ back: String(v.number), context: fingerprint }) }, `Roll back to ${v.number}…`),
  ]));
  return table(`Versions of context ${fingerprint}, newest first`, columns, rows);
}

/** A score, and how far it is from that of the version that predicts. @param {number | null} value @param {number | null | undefined} present */
const score = (value, present) =>
  value == null
    ? unknown(NO_LABEL)
    : [decimal(value), present != null && h("span", { class: "note block" }, difference(value - present))];

/** @param {number} change */
const difference = (change) => (Math.abs(change) < 0.0005 ? "the same" : `${Math.abs(change).toFixed(3)} ${change > 0 ? "higher" : "lower"}`);

/** @param {string} fingerprint @param {any[]} scores */
function scoreTable(fingerprint, scores) {
  const columns = [
    { name: "domain" }, { name: "predictions", kind: "v" }, { name: "labels", kind: "n" }, { name: "Brier score", kind: "n" },
    { name: "AUROC", kind: "n" }, { name: "calibration error", kind: "n" }, { name: "too optimistic by", kind: "n" },
  ];
  return table(`Predictions by domain in context ${fingerprint}`, columns, scores.map((s) => row(`${s.classifier} ${s.domain}`, columns, [
    s.domain === null ? "all domains" : clean(s.domain), s.classifier === "published" ? "as published" : spoken(s.classifier), number(s.n),
    ...[s.brier, s.auroc, s.calibration_error, s.gap].map((value) => (value == null ? unknown(s.n ? "all labels are the same" : "no labels") : decimal(value))),
  ])));
}

/** @param {any[]} items @param {State} state */
function confirmation(items, { back, context }) {
  const found = items.find(({ fingerprint }) => fingerprint === context);
  const version = found?.versions.find((/** @type {any} */ v) => String(v.number) === back);
  return h(
    "dialog", { key: `back ${back}`, "aria-labelledby": "back-title", onclose: shut },
    h("h2", { id: "back-title" }, `Roll back to version ${back}?`),
    version
      ? [
          h("p", null, `Version ${back}, fitted to ${count(version.n_labels, "label")} (Brier score ${ratio(version.metric.brier)}), then predicts for all new responses of ${clean(found.model || "the unnamed model")}. It learns nothing more. Stored predictions stay as they are.`),
          h("form", { onsubmit: (/** @type {SubmitEvent} */ event) => rollBack(event, context, Number(back)) },
            h("p", null, h("label", { for: "operate" }, "Token with the role operate (leave empty where none is needed)"),
              h("input", { id: "operate", type: "password", autocomplete: "off" })),
            h("p", { class: "failure", role: "alert", id: "back-failure" }),
            h("p", { class: "pager" },
              h("button", { type: "button", onclick: close }, "Cancel"),
              h("button", { type: "submit", class: "danger" }, `Roll back to version ${back}`))),
        ]
      : [h("p", null, "This version is not in the store (any more)."), h("button", { type: "button", onclick: close }, "Close")],
    h("span", { widget: opener, data: null }),
  );
}

/** @param {SubmitEvent} event @param {string} fingerprint @param {number} version */
async function rollBack(event, fingerprint, version) {
  event.preventDefault();
  const form = /** @type {HTMLFormElement} */ (event.target);
  const failure = /** @type {HTMLElement} */ (form.querySelector("#back-failure"));
  const field = /** @type {HTMLInputElement} */ (form.querySelector("input"));
  failure.textContent = "";
  try {
    await post("/v1/classifiers/rollback", { fingerprint, version }, field.value.trim());
    form.closest("dialog")?.close();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    failure.textContent = `Not rolled back: ${capital(error.message)}.`;
    field.focus();
  }
}

function shut() {
  if (parse(location.hash).back) change({ back: null, context: null });
}
