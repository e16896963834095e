// Elements made from text that is never read as HTML: strings become text nodes.

/** Make an element. Properties are set as attributes; functions listen; false and null are left out. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return element;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Show an error of the API in `box`, with what it says to change; hide the box without one. */
export function showError(box, error) {
  box.hidden = !error;
  if (!error) return box.replaceChildren();
  const id = error.requestId ? h("span", { class: "request-id" }, `request ${error.requestId}`) : null;
  return box.replaceChildren(h("strong", {}, error.title ?? "This page failed"), ` ${error.message} `, id ?? "");
}

export function heading(title, ...aside) {
  return h("div", { class: "head" }, h("h1", {}, title), ...aside);
}

export function table(columns, rows) {
  const head = h("tr", {}, columns.map(([name, kind]) => h("th", { scope: "col", class: kind ?? null }, name)));
  const body = rows.map((cells) => h("tr", {}, cells.map((cell, at) => h("td", { class: columns[at][1] ?? null }, cell))));
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Table" },
    h("table", {}, h("thead", {}, head), h("tbody", {}, body)));
}

export function waiting(what) {
  return h("p", { class: "waiting", role: "status" }, `${what}…`);
}

const whole = new Intl.NumberFormat("en");
export const count = (number) => whole.format(number);
export const milliseconds = (ms) => (ms >= 100 ? count(Math.round(ms)) : ms.toFixed(1));
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
