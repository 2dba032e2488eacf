// Talking to /api/v1: conditional GET, actions, problems in words.

const known = new Map();

export class Problem extends Error {
  constructor(status, body) {
    super(body.message ?? `the server answered ${status}`);
    this.status = status;
    this.advice = body.advice ?? "";
  }
}

async function refuse(response) {
  if (response.status === 401) {
    location.assign("/login");
  }
  const body = await response.json().catch(() => ({}));
  throw new Problem(response.status, body);
}

// `changed` is false where the server said 'not modified': then `body` is what it was.
export async function get(path) {
  const before = known.get(path);
  const headers = { Accept: "application/json", ...(before ? { "If-None-Match": before.tag } : {}) };
  const response = await fetch(`/api/v1/${path}`, { headers, cache: "no-store", redirect: "error" });
  if (response.status === 304) return { body: before.body, changed: false };
  if (!response.ok) await refuse(response);
  const body = await response.json();
  if (known.size > 200) known.clear();
  known.set(path, { tag: response.headers.get("ETag"), body });
  return { body, changed: true };
}

export const post = (path, body) => send("POST", path, body);
export const remove = (path) => send("DELETE", path);

async function send(method, path, body) {
  const headers = { Accept: "application/json" };
  if (body !== undefined && !(body instanceof FormData)) headers["Content-Type"] = "application/json";
  const content = body === undefined || body instanceof FormData ? body : JSON.stringify(body);
  const response = await fetch(`/api/v1/${path}`, { method, headers, body: content, redirect: "error" });
  if (!response.ok) await refuse(response);
  return response.json();
}

export function query(values) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value !== "" && value !== undefined && value !== null) params.set(name, value);
  return params.size ? `?${params}` : "";
}
