// The page: which view is shown, the key, the scheme, the keyboard.

import * as api from "./api.js";
import * as cluster from "./cluster.js";
import * as collections from "./collections.js";
import { toOtherSide } from "./compare.js";
import { byId, heading, h, showError } from "./dom.js";
import { moveFocus } from "./rows.js";
import * as search from "./search.js";
import * as usage from "./usage.js";

const VIEWS = { search, collections, usage, cluster };
const NAMES = Object.keys(VIEWS);
const HEALTH_MS = 10_000;

/** What the address names: `#collections/notes` is the view and the name in it. */
function place() {
  const [view, name] = location.hash.slice(1).split("/");
  return [NAMES.includes(view) ? view : "search", name]; // names have no character that is escaped
}

async function show() {
  const [name, argument] = place();
  const shown = api.hasKey() ? name : "signin";
  for (const view of document.querySelectorAll(".view")) view.hidden = view.id !== `view-${shown}`;
  for (const link of document.querySelectorAll(".bar nav a")) {
    if (link.hash === `#${name}` && shown !== "signin") link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  byId("key-button").textContent = api.hasKey() ? "Forget key" : "Key";
  if (shown === "signin") return byId("key").focus();
  const view = byId(`view-${shown}`);
  try {
    await VIEWS[shown].open(view, argument);
  } catch (error) {
    if (error.status === 401) return signOut(error);
    if (shown === "search") return showError(byId("search-error"), error);
    const box = h("div", { class: "alert", role: "alert" });
    showError(box, error);
    view.replaceChildren(heading(argument ?? shown), box);
  }
}

function signOut(error) {
  api.forgetKey();
  byId("answer").replaceChildren();
  byId("verdict").textContent = "";
  show();
  showError(byId("signin-error"), error);
}

async function signIn(event) {
  event.preventDefault();
  api.setKey(byId("key").value.trim(), byId("keep").checked);
  byId("key").value = "";
  showError(byId("signin-error"), null);
  await show();
  if (api.hasKey()) byId("query").focus();
}

function toggleTheme() {
  const root = document.documentElement;
  const dark = isDark();
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("winnow-theme", root.dataset.theme);
  showTheme();
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function showTheme() {
  byId("theme-button").setAttribute("aria-pressed", String(isDark()));
}

const KEYS = {
  "/": () => {
    if (!api.hasKey()) return;
    if (place()[0] !== "search") location.hash = "search";
    byId("view-search").hidden = false;
    byId("query").focus();
    byId("query").select();
  },
  "?": () => byId("help").showModal(),
  t: toggleTheme,
  j: () => step(1),
  k: () => step(-1),
  h: () => toOtherSide("before"),
  l: () => toOtherSide("after"),
};

function step(by) {
  const inside = document.activeElement.closest?.(".rows");
  const shown = ".view:not([hidden])";
  const list = inside ?? document.querySelector(`${shown} #after`) ?? document.querySelector(`${shown} .rows`);
  if (list) moveFocus(list, by);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const field = event.target.closest("input, select, textarea");
  if (field) {
    if (event.key === "Escape") field.blur();
    return;
  }
  const view = NAMES[Number(event.key) - 1];
  if (view) location.hash = view;
  else if (Object.hasOwn(KEYS, event.key)) KEYS[event.key]();
  else return;
  event.preventDefault();
}

async function keepHealth() {
  if (document.visibilityState === "visible") await cluster.refreshHealth();
  setTimeout(keepHealth, HEALTH_MS);
}

search.listen();
byId("signin").addEventListener("submit", signIn);
byId("key-button").addEventListener("click", () => (api.hasKey() ? signOut(null) : byId("key").focus()));
byId("theme-button").addEventListener("click", toggleTheme);
byId("help-button").addEventListener("click", KEYS["?"]);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  (api.hasKey() ? byId("query") : byId("key")).focus();
});
addEventListener("keydown", onKey);
addEventListener("hashchange", show);
showTheme();
show();
keepHealth();
