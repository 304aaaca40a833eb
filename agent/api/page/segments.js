// @ts-check
/** Slices of a domain with their accuracy, and weak segments. */

import { responseLinks } from "./alerts.js";
import { h } from "./dom.js";
import { domainAddress } from "./route.js";
import { note, row, table } from "./table.js";
import { clean, known, knownInterval, number, ratio, spoken, unknown } from "./words.js";

/** @param {any[] | null | undefined} slices */
export function sliceTable(slices) {
  if (!slices?.length) return h("p", { key: "slices" }, "No slice of this domain has enough responses.");
  const columns = [
    { name: "slice" }, { name: "accuracy", kind: "n" }, { name: "interval", kind: "n" },
    { name: "by labels alone", kind: "n" }, { name: "responses", kind: "n" }, { name: "labels", kind: "n" },
  ];
  const weakest = [...slices].sort((a, b) => (a.accuracy ?? 2) - (b.accuracy ?? 2));
  const reason = (/** @type {any} */ s) => clean(s.status_reason ?? spoken(s.status));
  return table("Slices, those with the lowest accuracy first", columns, weakest.map((s) => row(s.slice, columns, [
    clean(s.slice), s.accuracy === null ? unknown(reason(s)) : ratio(s.accuracy),
    knownInterval(s.ci_low, s.ci_high, reason(s)), known(s.accuracy_labelled, "no labels"), number(s.n_events), number(s.n_labels),
  ])));
}

/** @param {any[] | null | undefined} segments @param {boolean} hasDomain whether rows name their domain */
export function segmentTable(segments, hasDomain) {
  if (!segments?.length) return h("p", { key: "segments" }, "No weak segment.");
  const columns = [
    ...(hasDomain ? [{ name: "domain" }] : []), { name: "weak segment" }, { name: "how sure", kind: "v" }, { name: "accuracy", kind: "n" }, { name: "elsewhere in the domain", kind: "n" },
    { name: "labels or responses", kind: "n" }, { name: "why", kind: "w" }, { name: "worst responses", kind: "w" },
  ];
  return [
    table("Segments, the weakest first", columns, segments.map((s) => row(`${s.domain} ${s.fingerprint} ${s.slice}`, columns, [
      ...(hasDomain ? [h("a", { href: domainAddress(s) }, clean(s.domain))] : []), clean(s.slice), s.basis === "labels" ? "labels prove it" : "predictions suggest it",
      ratio(s.accuracy), ratio(s.accuracy_outside), number(s.n), clean(s.why), s.worst.length ? responseLinks(s) : unknown("none kept"),
    ]))),
    note("Weak segments come from the newest search, at the end of a period."),
  ];
}
