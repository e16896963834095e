// The cluster's health: the stages as /readyz shows them, asked again while the view is open.

import * as api from "./api.js";
import { byId, count, h, heading, table, waiting } from "./dom.js";

const PERIOD_MS = 2000;
const NAMES = { embed: "Embed", retrieve: "Retrieve", rerank: "Rerank" };

/** Show the stages and the models, and ask again until another view is shown. Raises ApiError. */
export async function open(view) {
  view.replaceChildren(heading("Cluster"), waiting("Asking every stage"));
  const models = await api.models();
  const columns = [["model", "code"], ["task"], ["dimensions", "number"]];
  const rows = models.map((one) => [one.id, one.task, one.dimensions === null ? "–" : count(one.dimensions)]);
  const now = h("div", {});
  const each = h("div", {});
  view.replaceChildren(heading("Cluster"), now, each, h("h2", {}, "Models"), table(columns, rows));
  const asksReplicas = (await api.readiness()).stages.embed !== undefined;
  const ask = async () => {
    if (view.hidden || !now.isConnected) return;
    if (document.visibilityState === "visible") {
      now.replaceChildren(...health(await refreshHealth()));
      // A key that may not ask would be told so each time.
      if (asksReplicas) each.replaceChildren(...replicaTable(await api.replicas().catch(() => null)));
    }
    setTimeout(ask, PERIOD_MS);
  };
  await ask();
}

/** Ask for the readiness and show it in the header; null where nothing answers. */
export async function refreshHealth() {
  const readiness = await api.readiness().catch(() => null);
  const [state, words] = readiness === null ? ["down", "No answer"] : readiness.ready ? ["ready", "Ready"] : ["degraded", "Not ready"];
  const shown = byId("health");
  if (shown.dataset.state !== state) {
    shown.dataset.state = state;
    shown.textContent = words;
  }
  return readiness;
}

function health(readiness) {
  if (readiness === null) return [h("div", { class: "alert", role: "alert" }, h("strong", {}, "No answer."), " The service could not be reached; this page asks again every 2 s.")];
  const stages = Object.entries(readiness.stages);
  if (stages.length === 0)
    return [h("p", { class: "lead" }, readiness.ready ? "Every stage has a replica that answers." : "At least one stage has no healthy replica."),
      h("p", { class: "hint" }, "The stages are shown to keys with the scope admin.")];
  return [h("div", { class: "cards" }, stages.map(([name, stage]) => card(name, stage)))];
}

function card(name, stage) {
  const facts = [
    ["model", stage.model], ["fingerprint", stage.fingerprint], ["durability", stage.durability],
    ["queued rows", stage.queued_rows === null ? null : count(stage.queued_rows)],
    ["queued tokens", stage.queued_tokens === null ? null : count(stage.queued_tokens)],
    ["detail", stage.detail],
  ].filter(([, value]) => value !== null);
  return h("section", { class: "card stage-card", "data-ready": String(stage.ready) },
    h("h2", {}, h("i", { class: `dot ${name}`, "aria-hidden": "true" }), NAMES[name] ?? name,
      h("span", { class: stage.ready ? "state good" : "state bad" }, stage.ready ? "ready" : "not ready")),
    h("dl", { class: "facts" }, facts.map(([field, value]) => h("div", {}, h("dt", {}, field), h("dd", {}, value)))));
}

function replicaTable(found) {
  if (found === null) return [];
  const columns = [["stage"], ["replica", "code"], ["queued rows", "number"], ["queued cost", "number"], ["waits, s", "number"], ["batches", "number"], ["done", "number"], ["done a batch", "number"]];
  const rows = Object.entries(found.stages).flatMap(([name, each]) => each.map((one) => {
    const cost = (amount) => `${count(Math.round(amount))} ${name === "retrieve" ? "ms" : "tokens"}`;
    return [
      h("span", {}, h("i", { class: `dot ${name}`, "aria-hidden": "true" }), NAMES[name] ?? name),
      one.replica, count(one.queued_rows), cost(one.queued_cost), one.oldest_wait_s.toFixed(1),
      count(one.batches_done), cost(one.cost_done), one.batches_done ? cost(one.cost_done / one.batches_done) : "–",
    ];
  }));
  const silent = found.silent.map((name) => h("p", { class: "hint" }, `A replica of ${NAMES[name] ?? name} did not answer in time.`));
  return [h("h2", {}, "Replicas"), table(columns, rows), ...silent];
}
