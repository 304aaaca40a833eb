// @ts-check
/** The form that asks for a token, kept in this tab only. */

import { token } from "./api.js";
import { h } from "./dom.js";
import { capital } from "./words.js";

/** @param {string} reason why it is asked for @param {() => void} onToken */
export const tokenForm = (reason, onToken) => [
  h("h1", { tabindex: "-1" }, "Token"),
  h("p", null, `${capital(reason)}.`),
  h(
    "form", { class: "token", onsubmit: (/** @type {SubmitEvent} */ event) => keep(event, onToken) },
    h("label", { for: "token" }, "Token with the role read"),
    h("input", { id: "token", type: "password", autocomplete: "off", required: true }),
    h("button", { type: "submit" }, "Go on"),
  ),
  h("p", { class: "note" }, "It stays in this tab, and is forgotten when the tab is closed."),
];

/** @param {SubmitEvent} event @param {() => void} onToken */
function keep(event, onToken) {
  event.preventDefault();
  const field = /** @type {HTMLInputElement} */ (/** @type {HTMLFormElement} */ (event.target).querySelector("input"));
  token.set(field.value.trim());
  field.value = "";
  onToken();
}
