// Where the time of a search went: a bar in proportion, and each stage in milliseconds.

import { h, milliseconds } from "./dom.js";

const STAGES = ["tokenize", "embed", "retrieve", "rerank"];

/** [name, milliseconds] of each stage that ran, and of the rest of the total. */
export function parts(timings) {
  const found = STAGES.filter((name) => name in timings).map((name) => [name, timings[name]]);
  const known = found.reduce((sum, [, ms]) => sum + ms, 0);
  return [...found, ["rest", Math.max(0, timings.total - known)]];
}

/** The bar and its legend; the bar is as long as the total is of `longest_ms`. */
export function stageBar(timings, longest_ms) {
  const shares = parts(timings);
  const bar = h("div", { class: "stages", "aria-hidden": "true" });
  bar.style.width = `${Math.max(1, (100 * timings.total) / longest_ms)}%`;
  for (const [name, ms] of shares) {
    const part = h("span", { class: `stage ${name}`, title: `${name} ${milliseconds(ms)} ms` });
    part.style.flexGrow = ms;
    bar.append(part);
  }
  const legend = shares.map(([name, ms]) =>
    h("li", {}, h("i", { class: `dot ${name}`, "aria-hidden": "true" }), name, " ", h("b", {}, milliseconds(ms))));
  return [h("div", { class: "track" }, bar), h("ul", { class: "legend", "aria-label": "Time of each stage in milliseconds" }, legend)];
}
