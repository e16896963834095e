// The same query without and with reranking, side by side: how far each candidate moved.

import { count, h, milliseconds, plural } from "./dom.js";
import { documentRow } from "./rows.js";
import { stageBar } from "./stages.js";

const SVG = "http://www.w3.org/2000/svg";

/** Rank by id, from 1. */
export const ranks = (results) => new Map(results.map((one, at) => [one.id, at + 1]));

/** One sentence on what reranking did. */
export function verdict(before, after, shown) {
  if (after.results.length === 0) return "Nothing matches: no candidate passed the filter, or the collection is empty.";
  if (after.degraded) return "Degraded: the reranker had no time or no room, so both sides are in retrieval order.";
  const from = ranks(before.results);
  const head = after.results.slice(0, shown);
  const moved = head.filter((one, at) => from.get(one.id) !== at + 1).length;
  const first = from.get(after.results[0].id);
  const cost = after.timings_ms.rerank ?? 0;
  const share = Math.round((100 * cost) / after.timings_ms.total);
  const best =
    first === 1 ? "The first result stayed the first" : first ? `The first result came from rank ${first}` : "The first result is new";
  return `${best}; ${moved} of the first ${head.length} moved. Reranking ${plural(after.usage.candidates, "candidate")} took ${milliseconds(cost)} ms, ${share}% of the time.`;
}

/** The comparison as an element. `shown` results a side, and a button for all candidates. */
export function comparison(before, after, shown) {
  const longest_ms = Math.max(before.timings_ms.total, after.timings_ms.total);
  const from = ranks(before.results);
  const to = after.degraded ? new Map() : ranks(after.results);
  const left = h("ol", { class: "rows", id: "before", "aria-label": "Retrieval order" },
    before.results.map((one, at) => beforeRow(one, at + 1)));
  const right = h("ol", { class: "rows", id: "after", "aria-label": "Reranked" },
    after.results.map((one, at) => afterRow(one, at + 1, from.get(one.id), after.degraded)));
  const lines = document.createElementNS(SVG, "svg");
  lines.setAttribute("class", "lines");
  lines.setAttribute("aria-hidden", "true");
  const root = h("div", { class: "compare" },
    side("Without rerank", "by cosine similarity", before, longest_ms, left, "side-before"),
    h("div", { class: "gap" }, lines),
    side(after.degraded ? "Degraded" : "With rerank", after.degraded ? "no rerank: retrieval order" : "by relevance", after, longest_ms, right, "side-after"));
  const draw = () => drawLines(lines, left, right, to);
  show(root, shown);
  new ResizeObserver(draw).observe(left.parentElement.parentElement);
  for (const list of [left, right]) new ResizeObserver(draw).observe(list);
  for (const event of ["focusin", "pointerover"]) root.addEventListener(event, (at) => mark(root, at.target.closest(".row")?.dataset.id));
  root.addEventListener("pointerleave", () => mark(root, document.activeElement.closest?.(".row")?.dataset.id));
  return h("div", {}, root, more(root, after.results.length, shown));
}

/** Focus the same document on the other side, if it is shown there. */
export function toOtherSide(side) {
  const row = document.activeElement.closest?.(".compare .row");
  if (!row) return;
  const other = document.querySelector(`#${side} .row[data-id="${CSS.escape(row.dataset.id)}"]`);
  if (other && !other.hidden) other.querySelector(".row-head").focus();
}

function side(title, order, answer, longest_ms, list, name) {
  const { usage } = answer;
  const cached = usage.cached_tokens ? `, ${count(usage.cached_tokens)} of them cached` : "";
  return h("section", { class: `side ${name}`, "aria-label": title },
    h("header", { class: answer.degraded ? "side-head degraded" : "side-head" },
      h("h2", {}, title, h("small", {}, order)),
      h("p", { class: "total" }, h("b", {}, milliseconds(answer.timings_ms.total)), " ms"),
      stageBar(answer.timings_ms, longest_ms),
      h("p", { class: "spent" }, `${plural(usage.candidates, "candidate")}, ${plural(usage.total_tokens, "token")}${cached}`)),
    list);
}

function beforeRow(one, rank) {
  const row = documentRow(one, {
    lead: [h("span", { class: "rank" }, String(rank))],
    score: one.retrieval_score.toFixed(4),
    facts: [["retrieval score", one.retrieval_score]],
  });
  row.dataset.id = one.id;
  return row;
}

function afterRow(one, rank, from, degraded) {
  const score = one.relevance_score ?? one.retrieval_score;
  const facts = [["relevance", one.relevance_score ?? "not reranked"], ["retrieval score", one.retrieval_score], ["rank before", from ?? "not there"]];
  const lead = [h("span", { class: "rank" }, String(rank)), ...(degraded ? [] : [movement(rank, from)])];
  const row = documentRow(one, { lead, score: score.toFixed(4), facts });
  row.dataset.id = one.id;
  return row;
}

/** How far a candidate moved: an arrow and the distance to the eye, words to a screen reader. */
function movement(rank, from) {
  if (from === undefined) return chip("new", "●", "new", "was not among the candidates before");
  const up = from - rank;
  if (up === 0) return chip("same", "=", "", "kept its rank");
  const words = `${up > 0 ? "up" : "down"} ${Math.abs(up)}, from rank ${from}`;
  return chip(up > 0 ? "up" : "down", up > 0 ? "▲" : "▼", String(Math.abs(up)), words);
}

function chip(kind, sign, distance, words) {
  return h("span", { class: `move ${kind}`, title: words },
    h("span", { "aria-hidden": "true" }, sign, distance ? h("b", {}, distance) : ""), h("span", { class: "unseen" }, words));
}

/** Show the first `shown` rows a side. */
function show(root, shown) {
  for (const list of root.querySelectorAll(".rows"))
    [...list.children].forEach((row, at) => {
      row.hidden = at >= shown;
    });
}

function more(root, all, shown) {
  if (all <= shown) return "";
  const label = (open) => (open ? `Show the first ${shown}` : `Show all ${all} candidates`);
  const button = h("button", { type: "button", class: "more", "aria-expanded": "false", click: () => {
    const open = button.getAttribute("aria-expanded") === "false";
    button.setAttribute("aria-expanded", String(open));
    button.textContent = label(open);
    show(root, open ? all : shown);
  } }, label(false));
  return button;
}

/** A line for each document on the right, from its row on the left, or from below where that is hidden. */
function drawLines(svg, left, right, to) {
  svg.replaceChildren();
  const { top, width, height } = svg.getBoundingClientRect();
  if (!width || !to.size) return;
  const middle = (row) => {
    const head = row.querySelector(".row-head").getBoundingClientRect();
    return head.top + Math.min(head.height, 64) / 2 - top;
  };
  const rows = new Map([...left.children].map((row, at) => [row.dataset.id, [row, at + 1]]));
  for (const row of [...right.children].reverse()) {
    if (row.hidden || !rows.has(row.dataset.id)) continue;
    const [source, from] = rows.get(row.dataset.id);
    const kind = from === to.get(row.dataset.id) ? "same" : from > to.get(row.dataset.id) ? "up" : "down";
    const start = source.hidden ? Math.min(height, left.getBoundingClientRect().bottom - top + 14) : middle(source);
    const end = middle(row);
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", `M0 ${start}C${width / 2} ${start} ${width / 2} ${end} ${width} ${end}`);
    path.setAttribute("class", `line ${kind}${source.hidden ? " far" : ""}`);
    path.dataset.id = row.dataset.id;
    svg.append(path);
  }
}

function mark(root, id) {
  for (const one of root.querySelectorAll("[data-id]")) one.classList.toggle("marked", one.dataset.id === id);
}
