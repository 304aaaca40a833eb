// @ts-check
/** The stream of changes: read with fetch, so that the token goes along, and opened again by itself when it ends. */

import { credentials, Problem, request } from "./api.js";

const FIRST_WAIT_S = 1;
const MAX_WAIT_S = 30;
const SILENCE_S = 45; // the API sends something every 15 s

/**
 * @typedef {object} Listener
 * @property {() => void} onChange the store changed
 * @property {(since: Date | null) => void} onConnection null: connected; otherwise since when not
 * @property {() => void} onRefusal a token is needed
 */

/** The connection to `/v1/stream`. */
export class Stream {
  /** @type {Date | null} */
  #lostAt = null;
  #wait = FIRST_WAIT_S;
  /** @type {number | undefined} */
  #timer;
  /** @type {AbortController | undefined} */
  #open;

  /** @param {Listener} listener */
  constructor(listener) {
    this.listener = listener;
  }

  /** Opens the stream now, also where it waits to be opened again. */
  start() {
    clearTimeout(this.#timer);
    this.#open?.abort();
    const open = new AbortController();
    this.#open = open;
    this.#read(open).catch((error) => {
      if (this.#open !== open) return; // a newer one took its place
      if (error instanceof Problem && (error.status === 401 || error.status === 403)) this.listener.onRefusal();
      else this.#lost();
    });
  }

  /** @param {AbortController} open */
  async #read(open) {
    const response = await request("/v1/stream", { headers: credentials(), signal: open.signal });
    const reader = /** @type {ReadableStream<BufferSource>} */ (response.body).pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const silence = setTimeout(() => open.abort(), SILENCE_S * 1000);
      const { done, value } = await reader.read().finally(() => clearTimeout(silence));
      if (done) throw new Problem(0, "the stream ended");
      this.#connected();
      const messages = (text + value).split(/\r?\n\r?\n/);
      text = messages.pop() ?? "";
      if (messages.some((message) => /^event: ?changed$/m.test(message))) this.listener.onChange();
    }
  }

  #connected() {
    this.#wait = FIRST_WAIT_S;
    if (this.#lostAt === null && this.isConnected) return;
    this.#lostAt = null;
    this.isConnected = true;
    this.listener.onConnection(null);
  }

  isConnected = false;

  #lost() {
    this.isConnected = false;
    this.#lostAt ??= new Date();
    this.listener.onConnection(this.#lostAt);
    this.#timer = setTimeout(() => this.start(), this.#wait * 1000 * (0.75 + Math.random() / 2));
    this.#wait = Math.min(2 * this.#wait, MAX_WAIT_S);
  }
}
