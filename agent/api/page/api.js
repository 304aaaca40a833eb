// @ts-check
/** Requests to the API: the token, ETags, problems, pages. Bounded: `MAX_KEPT` answers are kept. */

const TOKEN = "driftgauge-token";
const MAX_KEPT = 30; // of some MB at most

/** An answer other than success; `status` 0: none came. */
export class Problem extends Error {
  /** @param {number} status @param {string} detail */
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** @type {Map<string, {etag: string, data: any}>} */
const kept = new Map();

/** The token of this tab; it is in no other storage. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  /** @param {string | null} value */
  set(value) {
    kept.clear();
    if (value) sessionStorage.setItem(TOKEN, value);
    else sessionStorage.removeItem(TOKEN);
  },
};

/** @param {string | null} [other] instead of the token of the tab @returns {Record<string, string>} */
export function credentials(other) {
  const value = other || token.get();
  return value ? { Authorization: `Bearer ${value}` } : {};
}

/**
 * Reads JSON. An answer that did not change is the same value as before.
 * @param {string} path
 * @param {Record<string, string | number | null | undefined>} [query] empty values are left out
 * @returns {Promise<any>}
 */
export async function get(path, query = {}) {
  const url = address(path, query);
  const known = kept.get(url);
  const headers = { Accept: "application/json", ...credentials(), ...(known && { "If-None-Match": known.etag }) };
  const response = await request(url, { headers });
  if (response.status === 304 && known) {
    remember(url, known);
    return known.data;
  }
  const data = await response.json();
  const etag = response.headers.get("ETag");
  if (etag) remember(url, { etag, data });
  return data;
}

/** Reads JSON; null where there is none. @param {string} path @param {Record<string, any>} [query] */
export async function find(path, query = {}) {
  try {
    return await get(path, query);
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return null;
    throw error;
  }
}

/**
 * Reads the first `n` items of a list that comes in pages.
 * @param {string} path @param {Record<string, any>} query @param {number} n
 * @returns {Promise<{items: any[], next: string | null, first: any}>} `first` is the first page
 */
export async function pages(path, query, n) {
  const first = await get(path, { ...query, limit: Math.min(n, 1000) });
  let { items, next } = first;
  while (next && items.length < n) {
    const page = await get(path, { ...query, limit: 1000, after: next });
    items = [...items, ...page.items];
    next = page.next;
  }
  return { items, next, first };
}

/** @param {string} path @param {object} body @param {string} [other] a token for this request alone @returns {Promise<any>} */
export async function post(path, body, other) {
  const headers = { "Content-Type": "application/json", ...credentials(other) };
  const response = await request(path, { method: "POST", headers, body: JSON.stringify(body) });
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

/** @param {string} url @param {RequestInit} options */
export async function request(url, options) {
  let response;
  try {
    response = await fetch(url, { cache: "no-store", redirect: "error", ...options });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(0, "the API does not answer");
  }
  if (response.ok || response.status === 304) return response;
  throw new Problem(response.status, await reason(response));
}

/** @param {Response} response */
async function reason(response) {
  try {
    const { title, detail } = await response.json();
    return detail ?? title ?? `the API answered ${response.status}`;
  } catch {
    return `the API answered ${response.status}`;
  }
}

/** @param {string} path @param {Record<string, any>} query */
function address(path, query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}` : path;
}

/** @param {string} url @param {{etag: string, data: any}} answer */
function remember(url, answer) {
  kept.delete(url);
  kept.set(url, answer);
  if (kept.size > MAX_KEPT) kept.delete(/** @type {string} */ (kept.keys().next().value));
}
