// @ts-check
/** What the page shows, in the part of its address after #, so that links can be shared. */

/** @typedef {Record<string, string>} State `view`, and what else a view keeps: search, verdict, domain, after, … */

/** @param {string} hash @returns {State} */
export function parse(hash) {
  const state = Object.fromEntries(new URLSearchParams(hash.replace(/^#/, "")));
  if (!state.view) state.view = state.domain ? "domain" : "overview";
  return state;
}

/** The address of a state. @param {Record<string, string | null | undefined>} state empty values are left out */
export function address(state) {
  const kept = Object.entries(state).filter(([name, value]) => value && !(name === "view" && state.domain && value === "domain"));
  return `#${new URLSearchParams(/** @type {[string, string][]} */ (kept))}`;
}

/** The address of a domain. @param {{domain: string, fingerprint?: string}} series @param {Record<string, string>} [more] */
export const domainAddress = ({ domain, fingerprint }, more = {}) => address({ domain, fingerprint, ...more });

/**
 * Shows the present view with other values.
 * @param {Record<string, string | null>} changes null removes
 * @param {boolean} [isStep] whether "back" returns to what was before
 */
export function change(changes, isStep = true) {
  const hash = address({ ...parse(location.hash), ...changes });
  if (isStep) location.hash = hash;
  else {
    history.replaceState(null, "", hash);
    dispatchEvent(new HashChangeEvent("hashchange"));
  }
}
