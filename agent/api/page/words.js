// @ts-check
/** Numbers, times and names as plain English, as in a report. Unknown is a dash with its reason, never zero. */

import { h } from "./dom.js";

/** @typedef {import("./dom.js").Item} Item */

/** The signs of the verdicts; meaning never rests on colour alone. @type {Record<string, string>} */
export const SIGNS = { "below target": "◆", unclear: "○", "no estimate": "?", "meets target": "●" };

/** Verdicts after a number of domains, worst first. @type {Record<string, string>} */
export const VERDICTS = {
  "below target": "below target",
  unclear: "not clear yet",
  "no estimate": "without an estimate",
  "meets target": "on target",
};

/** @param {number} n */
export const number = (n) => n.toLocaleString("en-US");

/** @param {number} n @param {string} noun one of them */
export const count = (n, noun) => `${number(n)} ${noun}${n === 1 ? "" : "s"}`;

/** Two decimals. @param {number | null | undefined} value */
export const ratio = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));

/** @param {number | null | undefined} low @param {number | null | undefined} high */
export const interval = (low, high) => (low == null || high == null ? "–" : `${ratio(low)} to ${ratio(high)}`);

/** With its sign. @param {number} value @param {number} [decimals] */
export const signed = (value, decimals = 2) =>
  `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(decimals)}`;

/** @param {number | null | undefined} value @param {number} [decimals] */
export const decimal = (value, decimals = 3) => (value == null ? "–" : value.toFixed(decimals));

/** The dash of an unknown value, with its reason for the pointer and for screen readers. @param {string} reason */
export const unknown = (reason) =>
  h("span", { class: "unknown", title: reason }, "–", h("span", { class: "hidden" }, ` unknown: ${reason}`));

/** A value as text, or the dash with the reason. @param {number | null | undefined} value @param {string} reason */
export const known = (value, reason) => (value == null ? unknown(reason) : ratio(value));

/** Both ends, or the dash with the reason. @param {number | null | undefined} low @param {number | null | undefined} high @param {string} reason */
export const knownInterval = (low, high, reason) => (low == null || high == null ? unknown(reason) : interval(low, high));

/** The name of the reader's time zone. */
export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** The minute in the reader's zone: 2026-01-05 14:03. @param {string | number | Date} time RFC 3339 or milliseconds */
export function moment(time) {
  const at = new Date(time);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** The second in the reader's zone: 14:03:05. @param {Date} at */
export const clock = (at) => `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;

/** A time as an element that keeps the exact value. @param {string | null | undefined} time @param {string} [reason] */
export const when = (time, reason = "not given") =>
  time ? h("time", { datetime: time, title: `${time} (UTC)` }, moment(time)) : unknown(reason);

/** Words for a name with underscores. @param {string} name */
export const spoken = (name) => name.replaceAll("_", " ");

/** @param {string} text */
export const capital = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);

/** Text in one line without control characters and without marks that turn the direction of writing. @param {string} text */
export function clean(text) {
  const line = text.replace(/[\s\u0085]+/g, " ").replace(/(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Co}\p{Cs}]/gu, "\ufffd");
  return line.trim() || "(no name)";
}

/** @param {number} n */
const two = (n) => String(n).padStart(2, "0");
