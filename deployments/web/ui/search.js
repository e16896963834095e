// The search: a question asked twice, with and without reranking, and the answers side by side.

import * as api from "./api.js";
import { comparison, verdict } from "./compare.js";
import { byId, h, showError } from "./dom.js";

let asking = null;
let filling = Promise.resolve();

/** Fill the choice of collections. Raises ApiError. */
export function open() {
  return (filling = fill());
}

async function fill() {
  const chosen = byId("collection").value;
  const found = await api.collections();
  byId("collection").replaceChildren(...found.map(({ name }) => h("option", { value: name, selected: name === chosen }, name)));
  byId("run").disabled = found.length === 0;
  if (found.length === 0) byId("answer").replaceChildren(noCollections());
  else if (!byId("answer").children.length) byId("answer").replaceChildren(beforeTheFirst());
}

export function listen() {
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  byId("top-k").addEventListener("change", keepOrder);
  byId("top-n").addEventListener("change", keepOrder);
}

function keepOrder() {
  byId("top-n").max = byId("top-k").value;
}

async function search() {
  asking?.abort();
  const mine = (asking = new AbortController());
  const answer = byId("answer");
  showError(byId("search-error"), null);
  byId("verdict").textContent = "Searching…";
  answer.setAttribute("aria-busy", "true");
  byId("ask").classList.add("busy");
  if (!answer.querySelector(".compare")) answer.replaceChildren(skeleton());
  try {
    await filling; // who types fast searches before there is a collection to choose
    if (!byId("collection").value) {
      byId("verdict").textContent = "";
      return;
    }
    const request = readRequest();
    // One after the other, so that neither waits for the other. The first is the one with the reranker: the
    // second finds the query's vector in the cache, which its count of cached tokens says.
    const after = await api.search({ ...request, rerank: true }, mine.signal);
    const before = await api.search({ ...request, rerank: false, on_timeout: "error" }, mine.signal);
    const shown = Number(byId("top-n").value);
    byId("verdict").textContent = verdict(before, after, shown);
    answer.replaceChildren(after.results.length ? comparison(before, after, shown) : nothing());
  } catch (error) {
    if (error.name === "AbortError") return;
    byId("verdict").textContent = "";
    answer.replaceChildren();
    showError(byId("search-error"), error);
  } finally {
    if (asking === mine) {
      answer.setAttribute("aria-busy", "false");
      byId("ask").classList.remove("busy");
    }
  }
}

/** The request without `rerank`. All candidates are results, so that each can be followed. */
function readRequest() {
  const top_k = Number(byId("top-k").value);
  const given = byId("filter").value.trim();
  return {
    collection: byId("collection").value,
    query: byId("query").value,
    top_k,
    top_n: top_k,
    ...(given ? { filter: readFilter(given) } : {}),
    on_timeout: byId("may-degrade").checked ? "retrieval_order" : "error",
  };
}

function readFilter(given) {
  try {
    return JSON.parse(given);
  } catch {
    throw Object.assign(new Error('Write a JSON object of conditions, as {"year": {"$gte": 2010}}, or leave it empty.'), { title: "The filter is not JSON." });
  }
}

function skeleton() {
  const side = () => h("div", { class: "side" }, Array.from({ length: 6 }, () => h("div", { class: "bone" })));
  return h("div", { class: "compare", "aria-hidden": "true" }, side(), h("div", { class: "gap" }), side());
}

function beforeTheFirst() {
  return h("div", { class: "empty" },
    h("h2", {}, "Ask something"),
    h("p", {}, "Each query runs twice: once in the order of the vector index, once reranked. You see where the time went, and how far each candidate moved."),
    h("p", { class: "hint" }, h("kbd", {}, "/"), " to write, ", h("kbd", {}, "Enter"), " to search, ", h("kbd", {}, "j"), " ", h("kbd", {}, "k"), " through the results, ", h("kbd", {}, "?"), " for all keys."));
}

function nothing() {
  return h("div", { class: "empty" },
    h("h2", {}, "No candidates"),
    h("p", {}, "Loosen the filter, or look under Collections whether there are documents."));
}

function noCollections() {
  return h("div", { class: "empty" },
    h("h2", {}, "No collections yet"),
    h("p", {}, "This key’s tenant has stored nothing. Ingest the demo corpus, or files of your own:"),
    h("pre", {}, "winnow demo\nwinnow ingest notes README.md docs/*.md"));
}
