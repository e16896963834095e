// A document in a list: one line to scan, which opens to all that is stored of it.

import { h } from "./dom.js";

const SNIPPET_CHARACTERS = 320;

/** A list item of `document`; `lead` stands before its text, `score` after it, `facts` in its detail. */
export function documentRow(document, { lead = [], score = null, facts = [] } = {}) {
  const title = document.metadata?.title;
  const named = typeof title === "string" && title !== "";
  const detail = h("div", { class: "detail", hidden: true });
  const row = h("li", { class: "row" });
  const open = () => {
    if (detail.hidden) detail.replaceChildren(...details(document, facts));
    detail.hidden = !detail.hidden;
    button.setAttribute("aria-expanded", String(!detail.hidden));
  };
  const button = h("button", { type: "button", class: "row-head", "aria-expanded": "false", click: open },
    lead,
    h("span", { class: "row-text" },
      h("span", { class: "title" }, named ? title : document.id),
      h("span", { class: "snippet" }, snippet(document.text ?? ""))),
    score === null ? null : h("span", { class: "score" }, score));
  row.append(button, detail);
  return row;
}

function snippet(text) {
  return text.length > SNIPPET_CHARACTERS ? `${text.slice(0, SNIPPET_CHARACTERS)}…` : text;
}

function details(document, facts) {
  const fields = [["id", document.id], ...facts, ...Object.entries(document.metadata ?? {})];
  const list = fields.map(([name, value]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, typeof value === "string" ? value : JSON.stringify(value))));
  return [h("p", { class: "full" }, document.text ?? ""), h("dl", { class: "facts" }, list)];
}

/** Focus the list's row `step` after the one that has the focus; the first if none has. */
export function moveFocus(list, step) {
  const heads = [...list.querySelectorAll(".row-head")].filter((head) => head.offsetParent);
  const at = heads.findIndex((head) => head.closest(".row").contains(document.activeElement));
  const next = heads[at < 0 ? 0 : Math.min(heads.length - 1, Math.max(0, at + step))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}
