// @ts-check
/** Tables that are read as tables on a wide screen, and as cards on a narrow one. */

import { h } from "./dom.js";

/** @typedef {import("./dom.js").Content} Content */
/** @typedef {import("./dom.js").Item} Item */

/**
 * @typedef {object} Column
 * @property {string} name its heading
 * @property {string} [kind] n: number, w: long text, p: picture, v: verdict
 * @property {Content} [below] what stands below the heading, such as an axis
 */

/**
 * @param {string} caption what the table holds
 * @param {Column[]} columns the first names the row
 * @param {Item[]} rows made by `row`
 * @param {string} [kind]
 */
export const table = (caption, columns, rows, kind = "") =>
  h(
    "div", { class: "scroll", role: "region", tabindex: "0", "aria-label": caption },
    h(
      "table", { class: `${kind} cards`.trim(), role: "table" },
      h("caption", { class: "hidden" }, caption),
      h(
        "thead", { role: "rowgroup" },
        h("tr", { role: "row" }, columns.map(({ name, kind: k, below }) =>
          h("th", { scope: "col", role: "columnheader", class: k ?? null }, name, below))),
      ),
      h("tbody", { role: "rowgroup" }, rows),
    ),
  );

/**
 * @param {string} key names the row in its table
 * @param {Column[]} columns @param {Content[]} cells one for each column
 * @param {Record<string, any>} [attributes]
 */
export const row = (key, columns, cells, attributes = {}) =>
  h(
    "tr", { key, role: "row", ...attributes },
    columns.map(({ name, kind }, at) =>
      at === 0
        ? h("th", { scope: "row", role: "rowheader", class: kind ?? null }, cells[at])
        : h("td", { role: "cell", class: kind ?? null, "data-name": name }, cells[at])),
  );

/** A heading and what is below it. @param {string} id @param {string} title @param {...Content} content */
export const section = (id, title, ...content) =>
  h("section", { key: id, "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title), ...content);

/** @param {...Content} content */
export const note = (...content) => h("p", { class: "note" }, ...content);

/**
 * Names and values of one thing.
 * @param {[string, Content][]} facts
 */
export const factList = (facts) =>
  h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", { key: name }, h("dt", null, name), h("dd", null, value))));

/**
 * A choice that changes the page at once.
 * @param {string} id @param {string} name @param {string} value @param {[string, string][]} options value and words
 * @param {(value: string) => void} onChoice
 */
export const choice = (id, name, value, options, onChoice) =>
  h(
    "span", { class: "field", key: id },
    h("label", { for: id }, name),
    h(
      "select", { id, value, onchange: (/** @type {Event} */ event) => onChoice(/** @type {HTMLSelectElement} */ (event.target).value) },
      options.map(([one, words]) => h("option", { key: one, value: one }, words)),
    ),
  );

/** A link to another place, where the address is one of the web; otherwise the text. @param {string | null | undefined} url @param {string} text */
export const outside = (url, text) =>
  url && /^https?:\/\//i.test(url) ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, text) : text;
