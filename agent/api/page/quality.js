// @ts-check
/** What arrived and could not be used, and how far labels and predictions can be trusted. */

import { get } from "./api.js";
import { reliability } from "./charts.js";
import { h } from "./dom.js";
import { note, row, section, table } from "./table.js";
import { clean, count, number, spoken, unknown, when } from "./words.js";

export const title = () => "Data quality";

export const load = () => get("/v1/quality");

/** @type {Record<string, string>} what is true of the name that a label gives */
const CAUSES = {
  ambiguous: "several responses have this name as an alias",
  white_space: "a response has this id without the white space",
  choice: "a response has this id with another number of the choice (#0)",
  case: "a response has this id in upper or lower case",
  never_seen: "no response with an id like this was seen",
};

/** @param {any} q */
export const draw = (q) => [
  h("h1", { tabindex: "-1" }, "Data quality"),
  h("p", { class: "lead" }, `${number(q.n_predicted)} of ${count(q.n_stored, "stored response")} have a prediction.`,
    q.n_predicted < q.n_stored && " The others lack usable log-probabilities, or came before the first fit."),
  section("rejected", "Rejected records", rejected(q)),
  section("pending", "Labels without a response", pending(q.pending)),
  section("sources", "Sources of labels", sources(q.label_sources)),
  section("reliability", "Predictions and labels", q.reliability.length
    ? [note("All domains together. On the dashed line predictions are right."), h("figure", { class: "single" }, reliability(q.reliability))]
    : h("p", null, "No labels in the last period.")),
];

/** @param {any} q */
function rejected({ rejected: reasons, dropped_dead_letters: dropped, sample }) {
  const n = Object.values(reasons).reduce((a, b) => a + b, 0);
  if (!n) return h("p", null, `No record was rejected${dropped ? ` that is still kept; ${number(dropped)} made room for newer ones` : ""}.`);
  const columns = [{ name: "reason" }, { name: "records", kind: "n" }];
  return [
    h("p", null, `${count(n, "dead letter")} are in the store, of any time${dropped ? `; ${number(dropped)} more made room for newer ones` : ""}.`),
    table("Rejected records by reason", columns, Object.entries(reasons).map(([reason, found]) => row(reason, columns, [spoken(reason), number(found)])), "narrow"),
    sample.length > 0 && sampleTable(sample),
  ];
}

/** @param {any[]} sample */
function sampleTable(sample) {
  const columns = [{ name: "number" }, { name: "reason", kind: "v" }, { name: "detail", kind: "w" }, { name: "where", kind: "v" }, { name: "bytes", kind: "n" }];
  return [
    h("h3", null, "The newest of them"),
    note("Without their content, which may be confidential. ", h("code", null, "driftgauge dead-letters"), " shows it."),
    table("Newest rejected records", columns, sample.map((s) => row(String(s.seq), columns, [
      number(s.seq), spoken(s.reason), clean(s.detail || "none"), s.topic === null ? unknown("not from a topic") : `${clean(s.topic)}/${s.partition} at ${number(s.offset)}`,
      s.size_bytes == null ? unknown("not kept") : number(s.size_bytes),
    ]))),
  ];
}

/** @param {{n: number, oldest: string | null, causes: Record<string, number>, examples?: Record<string, string[]>}} waiting */
function pending({ n, oldest, causes, examples }) {
  if (!n) return h("p", null, "Every label met its response.");
  const columns = [{ name: "likely cause" }, { name: "labels", kind: "n" }, { name: "example" }];
  return [
    h("p", null, `${count(n, "label")} met no response so far; the oldest is of `, when(oldest), "."),
    table("Likely causes, of the oldest labels", columns, Object.entries(causes).map(([cause, found]) => row(cause, columns, [
      CAUSES[cause] ?? spoken(cause), number(found), examples?.[cause] ? examples[cause].map(clean).join(" → ") : h("span", { class: "note" }, "none"),
    ]))),
  ];
}

/** @param {any[]} found */
function sources(found) {
  if (!found.length) return h("p", null, "No label of the last period names its source.");
  const columns = [{ name: "source" }, { name: "labels", kind: "n" }, { name: "with a drawn label too", kind: "n" }, { name: "contradict it", kind: "n" }];
  return [
    note("Labels of responses that were drawn are a fair sample. Others are compared with them where a response has both."),
    table("Labels by source", columns, found.map((s) => row(s.source, columns, [
      clean(s.source || "not given"), number(s.n), number(s.n_compared), s.n_compared ? number(s.n_compared - s.n_agreeing) : unknown("nothing to compare with"),
    ]))),
  ];
}
