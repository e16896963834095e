// Collections of the tenant, and the documents of one, a page at a time.

import * as api from "./api.js";
import { count, h, heading, showError, table, waiting } from "./dom.js";
import { documentRow } from "./rows.js";

const PAGE = 25;

/** Show all collections, or the documents of the one that is named. Raises ApiError. */
export async function open(view, name) {
  view.replaceChildren(heading(name ?? "Collections"), waiting("Loading"));
  if (name === undefined) return view.replaceChildren(...overview(await api.collections()));
  return browse(view, name, [null]);
}

function overview(found) {
  if (found.length === 0)
    return [heading("Collections"), h("div", { class: "empty" },
      h("h2", {}, "No collections yet"),
      h("p", {}, "Create one with ", h("code", {}, "PUT /v1/collections/{name}"), ", or let the command line do it:"),
      h("pre", {}, "winnow ingest notes README.md docs/*.md"))];
  const columns = [["name"], ["documents", "number"], ["dimensions", "number"], ["model that made the vectors", "code"]];
  const rows = found.map((one) => [
    h("a", { href: `#collections/${one.name}` }, one.name),
    count(one.documents), count(one.dimensions), one.fingerprint,
  ]);
  return [heading("Collections"), table(columns, rows)];
}

/** Show the page that the last of `cursors` begins; those before it lead back. */
async function browse(view, name, cursors) {
  const page = await api.documents(name, cursors.at(-1), PAGE);
  const turn = (next) => browse(view, name, next).catch((error) => showError(problem, error));
  const problem = h("div", { class: "alert", role: "alert", hidden: true });
  const first = (cursors.length - 1) * PAGE + 1;
  const last = first + page.documents.length - 1;
  const list = h("ol", { class: "rows", "aria-label": `Documents of ${name}` }, page.documents.map((one) => documentRow(one)));
  view.replaceChildren(
    heading(name, h("a", { class: "back", href: "#collections" }, "All collections")),
    finder(name, list, problem),
    problem,
    page.documents.length ? list : h("div", { class: "empty" }, h("h2", {}, "No documents"), h("p", {}, "Store some with ", h("code", {}, `winnow ingest ${name} FILE…`), ".")),
    h("nav", { class: "pages", "aria-label": "Pages" },
      h("button", { type: "button", disabled: cursors.length === 1, click: () => turn(cursors.slice(0, -1)) }, "← Before"),
      h("span", { role: "status" }, page.documents.length ? `${count(first)} – ${count(last)}, by id` : ""),
      h("button", { type: "button", disabled: page.cursor === null, click: () => turn([...cursors, page.cursor]) }, "Next →")));
}

/** A form that shows the one document of an id in place of the page. */
function finder(name, list, problem) {
  const input = h("input", { type: "search", id: "document-id", autocomplete: "off", spellcheck: "false", required: true });
  return h("form", { class: "finder", submit: async (event) => {
    event.preventDefault();
    try {
      const found = await api.documentOf(name, input.value);
      if (!found) throw Object.assign(new Error(`${name} has no document with the id ${input.value}: ids are compared letter by letter.`), { title: "Not found." });
      list.replaceChildren(documentRow(found));
      list.querySelector(".row-head").click();
      showError(problem, null);
    } catch (error) {
      showError(problem, error);
    }
  } }, h("label", { for: "document-id" }, "Id"), input, h("button", {}, "Show"));
}
