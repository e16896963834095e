// The public HTTP API, with the key that the user typed. The key is kept in this module's memory,
// and in sessionStorage only if the user asks: that ends with the tab and no other tab reads it.

const KEPT = "winnow-key";
let key = sessionStorage.getItem(KEPT);

const TITLES = {
  400: "The request must change.",
  401: "The key was not accepted.",
  403: "This key may not do that.",
  404: "Not found.",
  409: "In conflict with what is stored.",
  413: "Too much at once.",
  429: "The plan’s limit is used up.",
  503: "No room, or a stage is away.",
  504: "Out of time.",
};

/** An answer with an error status, or none at all (status 0). */
export class ApiError extends Error {
  constructor(status, message, requestId) {
    super(message);
    this.status = status;
    this.title = TITLES[status] ?? (status ? `Status ${status}.` : "No answer.");
    this.requestId = requestId;
  }
}

export const hasKey = () => Boolean(key);

export function setKey(given, keep) {
  key = given;
  limits.clear(); // of another tenant
  if (keep) sessionStorage.setItem(KEPT, given);
  else sessionStorage.removeItem(KEPT);
}

export const forgetKey = () => setKey(null, false);

/** Send a request and return its JSON; `limits` gets the rate limits that the answer states. */
export async function call(method, path, body, signal) {
  let answer;
  try {
    answer = await fetch(`..${path}`, {
      method,
      signal,
      headers: { authorization: `Bearer ${key}`, ...(body ? { "content-type": "application/json" } : {}) },
      body: body ? JSON.stringify(body) : undefined,
      credentials: "omit",
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    // Of a key that no header can carry, or of a network.
    throw new ApiError(0, "The service could not be reached. Is it running, and is the key one line of plain letters?");
  }
  const read = await answer.json().catch(() => null);
  if (answer.ok) {
    noteLimits(answer.headers);
    return read;
  }
  const message = read?.error?.message ?? read?.message ?? "The answer was not JSON: something before the service answered.";
  throw new ApiError(answer.status, message, answer.headers.get("x-request-id"));
}

/** The readiness of the stages, which is an answer also where it is a 503. Without a key or with one that is
 * no admin's, `stages` is empty. */
export async function readiness() {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const answer = await fetch("../readyz", { headers, credentials: "omit", cache: "no-store" });
  return answer.json();
}

/** What every replica has waiting and has done, by stage; null for a key that is no admin's, or where the
 * admin API is off. */
export async function replicas() {
  try {
    return await call("GET", "/v1/admin/replicas");
  } catch (error) {
    if (error.status === 403 || error.status === 404) return null;
    throw error;
  }
}

export const search = (request, signal) => call("POST", "/v1/search", request, signal);
export const collections = async () => (await call("GET", "/v1/collections")).collections;
export const models = async () => (await call("GET", "/v1/models")).data;

export function documents(collection, cursor, limit) {
  const query = new URLSearchParams({ limit, ...(cursor === null ? {} : { cursor }) });
  return call("GET", `/v1/collections/${encodeURIComponent(collection)}/documents?${query}`);
}

/** The document of that id, or null. */
export async function documentOf(collection, id) {
  const path = `/v1/collections/${encodeURIComponent(collection)}/documents/get`;
  return (await call("POST", path, { ids: [id] })).documents[0];
}

export const usage = (since) => call("GET", `/v1/usage?${new URLSearchParams({ since })}`);

/** What the plan leaves, by unit, as the last answer said; empty for a plan without limits. */
export const limits = new Map();

function noteLimits(headers) {
  for (const unit of ["requests", "tokens"]) {
    const limit = headers.get(`x-ratelimit-limit-${unit}`);
    if (limit !== null) limits.set(unit, { limit: Number(limit), left: Number(headers.get(`x-ratelimit-remaining-${unit}`)) });
  }
}
