// @ts-check
/** Every domain with its accuracy against the target, the worst first. More rows come as the end is reached. */

import { pages } from "./api.js";
import { intervalAxis, intervalRow, lowest, trendLine } from "./charts.js";
import { h } from "./dom.js";
import { change, domainAddress } from "./route.js";
import { note, row, table } from "./table.js";
import { clean, count, interval, known, number, ratio, SIGNS, unknown, VERDICTS, when } from "./words.js";

/** @typedef {import("./route.js").State} State */

const PIECE = 100; // rows that are made at once
const MAX_PICTURES_ON_AXIS = 50;

export const title = () => "Overview";

/** @param {State} state */
export async function load({ search, verdict, shown }) {
  const { items, next, first } = await pages("/v1/domains", { search, verdict }, Number(shown) || PIECE);
  return { rows: items, next, counts: first.counts, as_of: first.as_of };
}

/** @param {Awaited<ReturnType<typeof load>>} data @param {State} state @param {import("./dom.js").Memory} memory */
export function draw({ rows, next, counts, as_of }, state, memory) {
  const bottom = lowest(rows.slice(0, MAX_PICTURES_ON_AXIS).flatMap((r) => [r.ci_low, r.target]));
  const isMixed = new Set(rows.map((r) => r.model)).size > 1;
  const several = repeated(rows.map((r) => `${r.domain}\n${r.model}`));
  const columns = [
    { name: "domain" }, { name: "verdict", kind: "v" }, { name: "accuracy", kind: "n" },
    { name: "against the target", kind: "p", below: intervalAxis(bottom) }, { name: "target", kind: "n" },
    { name: "trend", kind: "p" }, { name: "responses", kind: "n" }, { name: "labels", kind: "n" },
    { name: "open alerts", kind: "v" },
  ];
  const made = rows.map((r) => {
    const name = clean(r.domain) + (isMixed ? `, ${clean(r.model || "unnamed model")}` : "");
    const full = several.has(`${r.domain}\n${r.model}`) ? `${name} (context ${r.fingerprint})` : name;
    const key = `${r.fingerprint} ${r.domain}`;
    return memory.item(key, JSON.stringify([r, bottom, full]), () => row(key, columns, cells(r, full, bottom)));
  });
  return [
    h("h1", { tabindex: "-1" }, "Accuracy of each domain"),
    h("p", { class: "lead" }, sentence(counts)),
    as_of && note("Newest window: until ", when(as_of), "."),
    filters(state, counts),
    made.length ? table("Domains, the worst first", columns, made, "overview") : h("p", null, empty(state, counts)),
    h(
      "p", { class: "note", role: "status", key: "shown" },
      made.length > 0 && `${count(made.length, "row")}${next ? ", the worst of more" : ""}.`,
    ),
    next && h("button", { type: "button", class: "more", widget: more, data: made.length }),
    made.length > 0 && note(
      "◆ below target, ○ not clear yet: the target lies inside the interval, ● on target, ? no estimate. The upright ",
      "line is the target. Responses and labels are those of the newest window of each domain.",
    ),
  ];
}

/** @param {any} r @param {string} name @param {number} bottom */
function cells(r, name, bottom) {
  const reason = clean(r.status_reason ?? r.status.replaceAll("_", " "));
  const verdict = `${SIGNS[r.verdict]} ${r.verdict}`;
  return [
    h("a", { href: domainAddress(r) }, name),
    [
      r.verdict === "below target" ? h("strong", null, verdict) : verdict,
      r.accuracy === null && h("span", { class: "note block" }, reason),
    ],
    r.accuracy === null
      ? unknown(reason)
      : [h("b", null, ratio(r.accuracy)), h("span", { class: "note block" }, interval(r.ci_low, r.ci_high))],
    intervalRow({ value: r.accuracy, low: r.ci_low, high: r.ci_high }, r.target, bottom),
    known(r.target, "no target"),
    r.trend.accuracy.length ? trendLine(r.trend.accuracy, r.target, bottom) : unknown("no estimate so far"),
    number(r.n_events), number(r.n_labels),
    r.alerts.length ? alertCounts(r.alerts) : h("span", { class: "note" }, "none"),
  ];
}

/** @param {{severity: string, message: string}[]} alerts */
function alertCounts(alerts) {
  const parts = ["alarm", "warning", "info"].flatMap((severity) => {
    const n = alerts.filter((alert) => alert.severity === severity).length;
    return n ? [h("span", { class: `badge ${severity}`, key: severity }, severity === "info" ? `${n} info` : count(n, severity))] : [];
  });
  return h("span", { title: alerts.map(({ message }) => clean(message)).join("\n") }, parts);
}

/** @param {State} state @param {Record<string, number>} counts */
const filters = (state, counts) =>
  h(
    "div", { class: "filters", role: "search", "aria-label": "Domains", key: "filters" },
    h(
      "span", { class: "field" },
      h("label", { for: "search" }, "Search"),
      h("input", { id: "search", type: "search", value: state.search ?? "", autocomplete: "off", spellcheck: "false", oninput: onSearch }),
    ),
    h(
      "span", { class: "chips", role: "group", "aria-label": "Verdict" },
      chip("all", null, Object.values(counts).reduce((a, b) => a + b, 0), state),
      Object.keys(VERDICTS).map((verdict) => chip(`${SIGNS[verdict]} ${verdict}`, verdict, counts[verdict] ?? 0, state)),
    ),
  );

/** @param {string} words @param {string | null} verdict @param {number} n @param {State} state */
const chip = (words, verdict, n, state) =>
  h(
    "button",
    {
      type: "button", key: words, "aria-pressed": String((state.verdict ?? null) === verdict),
      onclick: () => change({ verdict, shown: null }, false),
    },
    `${words} `, h("span", { class: "note" }, number(n)),
  );

/** @type {number | undefined} */
let typing;

/** @param {Event} event */
function onSearch(event) {
  clearTimeout(typing);
  const search = /** @type {HTMLInputElement} */ (event.target).value;
  typing = setTimeout(() => change({ search, shown: null }, false), 150);
}

/** A button for more rows that also acts when it comes into view. @type {import("./dom.js").Widget<number>} */
const more = {
  open(element, n) {
    let had = n;
    const act = () => change({ shown: String(had + PIECE) }, false);
    const watch = new IntersectionObserver(([entry]) => entry.isIntersecting && act(), { rootMargin: "300px" });
    element.textContent = `Show ${PIECE} more`;
    element.onclick = act;
    watch.observe(element);
    return {
      update(now) {
        had = now;
        watch.unobserve(element); // it may be in view still: then it acts again
        watch.observe(element);
      },
      close: () => watch.disconnect(),
    };
  },
};

/** How many domains have which verdict. @param {Record<string, number>} counts */
function sentence(counts) {
  const parts = Object.keys(VERDICTS).filter((verdict) => counts[verdict]);
  const n = parts.reduce((sum, verdict) => sum + counts[verdict], 0);
  return n ? `${count(n, "domain")}: ${parts.map((v) => `${number(counts[v])} ${VERDICTS[v]}`).join(", ")}.` : "No domain has an estimate yet.";
}

/** @param {State} state @param {Record<string, number>} counts */
function empty({ search, verdict }, counts) {
  if (!Object.values(counts).some(Boolean)) return "The first estimates come when the first window ends.";
  return `No domain${verdict ? ` with the verdict “${verdict}”` : ""}${search ? ` whose name has “${clean(search)}”` : ""}.`;
}

/** @param {string[]} names */
function repeated(names) {
  const once = new Set();
  return new Set(names.filter((name) => once.has(name) || !once.add(name)));
}
