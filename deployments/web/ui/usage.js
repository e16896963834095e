// What the tenant was served, by stage and model, and what its plan leaves.

import * as api from "./api.js";
import { count, h, heading, showError, table, waiting } from "./dom.js";

const HOUR_S = 3600;
const SPANS = [["day", "24 hours", 24], ["week", "7 days", 168], ["month", "30 days", 720]];
let chosen = "week";

/** Show the usage of the chosen span. Raises ApiError. */
export async function open(view) {
  view.replaceChildren(heading("Usage", spans(view)), waiting("Counting"));
  const [, words, hours] = SPANS.find(([name]) => name === chosen);
  const report = await api.usage(Math.floor(Date.now() / 1000) - hours * HOUR_S);
  view.replaceChildren(heading("Usage", spans(view)), ...shown(report.usage, words), ...plan());
}

function spans(view) {
  return h("div", { class: "choice", role: "group", "aria-label": "Span of time" }, SPANS.map(([name, words]) =>
    h("button", { type: "button", "aria-pressed": String(name === chosen), click: () => {
      chosen = name;
      open(view).catch((error) => {
        const box = h("div", { class: "alert", role: "alert" });
        showError(box, error);
        view.replaceChildren(heading("Usage", spans(view)), box);
      });
    } }, words)));
}

function shown(usage, words) {
  if (usage.length === 0)
    return [h("div", { class: "empty" }, h("h2", {}, "Nothing was asked"), h("p", {}, `This tenant had no served request in the last ${words}.`))];
  const columns = [["stage"], ["model", "code"], ["requests", "number"], ["tokens", "number"], ["from a cache", "number"], ["share", "meter"]];
  const most = Math.max(...usage.map((one) => one.tokens), 1);
  const rows = usage.map((one) => [
    h("span", {}, h("i", { class: `dot ${one.stage}`, "aria-hidden": "true" }), one.stage),
    one.model, count(one.requests), count(one.tokens),
    one.tokens ? `${Math.round((100 * one.cached_tokens) / one.tokens)}%` : "–",
    bar(one, most),
  ]);
  const tenant = usage[0].tenant;
  return [h("p", { class: "lead" }, "Tenant ", h("b", {}, tenant), `, the last ${words}, whole hours. Counted when it was served; what was refused or failed is not in it.`), table(columns, rows)];
}

function bar(one, most) {
  const filled = h("span", { class: `stage ${one.stage}` });
  filled.style.width = `${(100 * one.tokens) / most}%`;
  return h("span", { class: "meter-track", "aria-hidden": "true" }, filled);
}

function plan() {
  if (api.limits.size === 0) return [h("p", { class: "hint" }, "The plan limits neither requests nor tokens a minute.")];
  const columns = [["limit a minute"], ["allowed", "number"], ["left, as of the last answer", "number"]];
  const rows = [...api.limits].map(([unit, { limit, left }]) => [unit, count(limit), count(left)]);
  return [h("h2", {}, "Plan"), table(columns, rows)];
}
