// @ts-check
/** Joins the address, the API and the page: what the address names is loaded, shown, and loaded again when it changed. */

import * as alerts from "./alerts.js";
import { get, Problem } from "./api.js";
import * as classifiers from "./classifiers.js";
import { h, Memory, show } from "./dom.js";
import * as domain from "./domain.js";
import { data, labels } from "./lists.js";
import * as overview from "./overview.js";
import * as quality from "./quality.js";
import { address, parse } from "./route.js";
import { Stream } from "./stream.js";
import { tokenForm } from "./token.js";
import { capital, clock, count, when, zone } from "./words.js";

/** @typedef {import("./route.js").State} State */

/**
 * @typedef {object} View
 * @property {(state: State) => string} title
 * @property {(state: State) => Promise<any>} load
 * @property {(data: any, state: State, memory: Memory) => import("./dom.js").Content} draw
 */

/** @type {Record<string, View>} */
const views = { overview, domain, alerts, data, labels, classifiers, quality };

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const LOOK_S = 30; // an agent that is not ready changes nothing in the store, so the stream does not tell of it

const memory = new Memory();
let run = 0; // number of the newest load
let isLoading = false;
let isStale = false; // the store changed during a load, or while the page was hidden
let needsToken = false;
let place = ""; // the view and domain that are shown

const stream = new Stream({
  onChange: () => {
    if (isLoading || document.hidden || needsToken) isStale = true;
    else load();
  },
  onConnection: showConnection,
  onRefusal: () => load(), // the load meets the same refusal and asks for a token
});

async function load() {
  const mine = ++run;
  const state = parse(location.hash);
  const view = Object.hasOwn(views, state.view) && (state.domain || state.view !== "domain") ? views[state.view] : overview;
  isLoading = true;
  isStale = false;
  element("main").setAttribute("aria-busy", "true");
  try {
    const [found, health] = await Promise.all([view.load(state), get("/v1/health").catch(() => null)]);
    if (mine !== run) return;
    needsToken = false;
    for (let isBehind = true; isBehind && mine === run; isBehind &&= await nextFrame()) {
      draw(state, view.title(state), [notice(health), view.draw(found, state, memory)]);
      isBehind = memory.isBehind;
      memory.sweep();
    }
    showFooter(health);
  } catch (error) {
    if (mine !== run) return;
    fail(error, state, view);
  } finally {
    if (mine === run) {
      isLoading = false;
      element("main").removeAttribute("aria-busy");
      if (isStale && !needsToken) load();
    }
  }
}

/** @returns {Promise<boolean>} true, when it is time to draw; a hidden page has no frames */
const nextFrame = () =>
  new Promise((resolve) => (document.hidden ? setTimeout(resolve, 50, true) : requestAnimationFrame(() => resolve(true))));

/** @param {unknown} error @param {State} state @param {View} view */
function fail(error, state, view) {
  if (!(error instanceof Problem)) {
    draw(state, view.title(state), failure(view.title(state), "this view cannot be shown; the console of the browser has the cause"));
    throw error;
  }
  if (error.status === 401 || (error.status === 403 && !needsToken && place === "")) {
    needsToken = true;
    draw(state, "Token", tokenForm(error.message, start));
  } else if (error.status || place !== placeOf(state))
    draw(state, view.title(state), failure(view.title(state), error.message));
  // otherwise the API does not answer: what is shown stays, and the connection says so
}

/** @param {string} title @param {string} reason */
const failure = (title, reason) => [h("h1", { tabindex: "-1" }, title), h("p", { class: "failure", role: "alert" }, `${capital(reason)}.`)];

/** @param {State} state @param {string} title @param {import("./dom.js").Content} content */
function draw(state, title, content) {
  const main = element("main");
  const isOther = place !== placeOf(state);
  document.title = `${title} · driftgauge`;
  show(element("nav"), links(state));
  show(main, content);
  if (!isOther) return;
  const isFirst = place === "";
  place = placeOf(state);
  if (isFirst) return;
  scrollTo(0, 0);
  main.querySelector("h1")?.focus({ preventScroll: true });
}

/** @param {State} state */
const placeOf = ({ view, domain: name, fingerprint }) => `${view} ${name ?? ""} ${fingerprint ?? ""}`;

/** @param {State} state */
const links = ({ view }) =>
  h("ul", null, ["overview", "alerts", "data", "labels", "classifiers", "quality"].map((name) =>
    h("li", { key: name }, h("a", { href: address({ view: name }), "aria-current": name === view && "page" }, views[name].title({})))));

/** @param {Date | null} since */
function showConnection(since) {
  document.body.classList.toggle("lost", since !== null);
  show(element("connection"), since
    ? [`Not connected since ${clock(since)}; trying again. `, h("button", { type: "button", onclick: () => stream.start() }, "Try now")]
    : "● live");
}

/** What is wrong with the agent, above everything. @param {any} health */
const notice = (health) =>
  health?.agent?.ready === false &&
  h("p", { class: "failure", key: "notice" }, `The agent is not ready, so numbers may be old: ${health.agent.reason ?? "it gave no reason"}.`);

/** @param {any} health */
const showFooter = (health) =>
  show(element("footer"), h("p", null, `Times are in ${zone()}. `, health && [`driftgauge ${health.version}. `, agentWords(health.agent)],
    h("a", { href: "/openapi.json" }, "The API"), "."));

/** @param {any} agent */
function agentWords(agent) {
  if (!agent) return "This is a store without its agent. ";
  const n = Object.values(agent.lag).reduce((a, b) => a + b, 0);
  return ["Watermark ", when(agent.watermark, "no event so far"), `, ${count(n, "record")} not read yet. `];
}

function start() {
  load();
  stream.start();
}

element("skip").onclick = (event) => {
  event.preventDefault(); // the part of the address after # says what is shown
  element("main").focus();
};
addEventListener("hashchange", load);
setInterval(() => document.hidden || isLoading || needsToken || load(), LOOK_S * 1000);
document.addEventListener("visibilitychange", () => !document.hidden && isStale && load());
start();
