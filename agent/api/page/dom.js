// @ts-check
/**
 * Elements as plain values, and the part of the page that is brought in line with them. Elements that are still wanted
 * stay in the page, so focus, scroll position and what is open stay too. Text is only ever set as text, never as HTML.
 */

/**
 * What keeps its own content in an element, such as a zoomable chart.
 * @template T
 * @typedef {object} Widget
 * @property {(element: HTMLElement, data: T) => {update: (data: T) => void, close: () => void}} open
 */

/**
 * @typedef {object} Item a description of an element; `key` names it among its siblings
 * @property {string} tag `#text` for text
 * @property {string} [key]
 * @property {Record<string, any>} attributes `on…` are listeners, null and false are left out
 * @property {Item[]} children
 * @property {string} [text]
 * @property {Widget<any>} [widget] fills the element itself, with `data`
 * @property {any} [data]
 * @property {any} [opened] what the widget gave
 * @property {Node} [node] the node in the page
 */

/** @typedef {Item | string | number | null | undefined | false | any[]} Content a list holds contents */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Describes an element.
 * @param {string} tag
 * @param {Record<string, any> | null} attributes `key`, `widget` and `data` are those of `Item`
 * @param {...Content} children
 * @returns {Item}
 */
export function h(tag, attributes, ...children) {
  const { key, widget, data, ...others } = attributes ?? {};
  return { tag, key, attributes: others, children: items(children), widget, data };
}

/**
 * Brings the children of an element in line with a description. The same `Item` as before is not looked into again.
 * @param {Element} parent
 * @param {Content} content
 */
export function show(parent, content) {
  const wanted = items([content]);
  const focused = document.activeElement;
  if (!shown.has(parent)) parent.replaceChildren(); // what the file of the page has there
  align(parent, shown.get(parent) ?? [], wanted);
  shown.set(parent, wanted);
  if (focused instanceof HTMLElement && focused !== document.activeElement && focused.isConnected)
    focused.focus({ preventScroll: true }); // an element that moved lost it
}

/** @type {WeakMap<Element, Item[]>} */
const shown = new WeakMap();

const MAX_CHANGES = 100; // of known descriptions between two sweeps: more would stop the page for too long

/**
 * Keeps descriptions whose value did not change, so that `show` leaves their elements alone. Of many that changed, some
 * stay as they were: then `isBehind`, and the same is to be drawn again in the next frame.
 */
export class Memory {
  isBehind = false;
  #changes = 0;
  /** @type {Map<string, {value: string, item: Item}>} */
  #known = new Map();
  /** @type {Map<string, {value: string, item: Item}>} */
  #next = new Map();

  /**
   * @param {string} key
   * @param {string} value equal to the one before: so is the description
   * @param {() => Item} make
   * @returns {Item}
   */
  item(key, value, make) {
    const before = this.#known.get(key);
    const isNew = before?.value !== value;
    if (isNew && before) this.#changes += 1;
    this.isBehind ||= this.#changes > MAX_CHANGES;
    const entry = before && (!isNew || this.isBehind) ? before : { value, item: make() };
    this.#next.set(key, entry);
    return entry.item;
  }

  /** Forgets what was not asked for since the last call. */
  sweep() {
    this.isBehind = false;
    this.#changes = 0;
    this.#known = this.#next;
    this.#next = new Map();
  }
}

/** @param {Content[]} contents @returns {Item[]} */
function items(contents) {
  /** @type {Item[]} */
  const found = [];
  for (const content of contents) {
    if (content === null || content === undefined || content === false) continue;
    if (Array.isArray(content)) found.push(...items(content));
    else if (typeof content === "object") found.push(content);
    else found.push({ tag: "#text", attributes: {}, children: [], text: String(content) });
  }
  return found;
}

/** @param {Element} parent @param {Item[]} before @param {Item[]} wanted */
function align(parent, before, wanted) {
  const old = new Map(names(before).map((name, at) => [name, before[at]]));
  const pairs = names(wanted).map((name, at) => {
    const match = old.get(name);
    old.delete(name);
    return /** @type {[Item | undefined, Item]} */ ([match, wanted[at]]);
  });
  for (const item of old.values()) remove(item);
  let next = parent.firstChild;
  for (const [match, item] of pairs) {
    if (match) update(match, item);
    else create(item, parent);
    const node = /** @type {Node} */ (item.node);
    if (node === next) next = next.nextSibling;
    else parent.insertBefore(node, next);
  }
}

/** A name for each item among its siblings: by key, otherwise by its place among those of its kind. @param {Item[]} siblings */
function names(siblings) {
  /** @type {Record<string, number>} */
  const places = {};
  return siblings.map(({ tag, key, widget }) => {
    if (key !== undefined) return `${tag} ${key}`;
    const kind = widget ? `${tag} widget` : tag;
    places[kind] = (places[kind] ?? 0) + 1;
    return `${kind} ${places[kind]} unnamed`;
  });
}

/** @param {Item} item @param {Element} parent */
function create(item, parent) {
  if (item.tag === "#text") {
    item.node = document.createTextNode(item.text ?? "");
    return;
  }
  const isSvg = item.tag === "svg" || parent.namespaceURI === SVG;
  const element = isSvg ? document.createElementNS(SVG, item.tag) : document.createElement(item.tag);
  item.node = element;
  for (const child of item.children) {
    create(child, element);
    element.append(/** @type {Node} */ (child.node));
  }
  for (const [name, value] of Object.entries(item.attributes)) set(element, name, value); // a choice needs its options
  if (item.widget) item.opened = item.widget.open(/** @type {HTMLElement} */ (element), item.data);
}

/** @param {Item} before @param {Item} item */
function update(before, item) {
  if (before === item) return;
  const node = /** @type {Node} */ (before.node);
  item.node = node;
  if (item.tag === "#text") {
    if (before.text !== item.text) node.nodeValue = item.text ?? "";
    return;
  }
  const element = /** @type {Element} */ (node);
  if (item.widget) {
    item.opened = before.opened;
    if (before.data !== item.data) item.opened.update(item.data);
  } else align(element, before.children, item.children);
  for (const name of Object.keys(before.attributes)) if (!(name in item.attributes)) set(element, name, null);
  for (const [name, value] of Object.entries(item.attributes))
    if (before.attributes[name] !== value) set(element, name, value);
}

/** @param {Item} item */
function remove(item) {
  close(item);
  /** @type {ChildNode} */ (item.node).remove();
}

/** @param {Item} item */
function close(item) {
  item.opened?.close();
  item.children.forEach(close);
}

/** @param {Element} element @param {string} name @param {any} value */
function set(element, name, value) {
  if (name.startsWith("on")) {
    /** @type {any} */ (element)[name] = value;
  } else if (name === "value") {
    const isTypedInto = element === document.activeElement && element.matches("input");
    if (!isTypedInto) /** @type {any} */ (element).value = value ?? "";
  } else if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : String(value));
}
