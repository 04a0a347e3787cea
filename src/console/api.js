// Questions to the daemon: with the key, within a limit of time, and with errors in words.

import {access, refused} from "./access.js";

// The longest that an answer may take, where nothing else is said: above the daemon's own limits.
const PATIENCE_MS = 65000;

// The daemon answered, and not with what was asked for.
export class Refused extends Error {
  constructor(status, body, headers) {
    super(body.detail ?? `status ${status}`);
    this.status = status;
    this.title = `${status} ${body.title ?? ""}`.trim();
    this.detail = body.detail;
    this.kind = body.kind;
    this.requestId = body.request_id ?? headers.get("x-request-id");
    this.retryAfterS = Number(headers.get("retry-after")) || null;
  }
}

// Nobody answered.
export class Unreachable extends Error {
  constructor(why) {
    super(why);
    this.title = "No answer";
    this.detail = why;
    this.isUnreachable = true;
  }
}

async function sent(path, {method = "GET", body, signal, patienceMs = PATIENCE_MS} = {}) {
  const headers = {};
  const {key} = access;
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const limit = AbortSignal.timeout(patienceMs);
  try {
    return await fetch(new URL(path, document.baseURI), {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store", credentials: "omit", redirect: "error",
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable(limit.aborted ? `nothing within ${patienceMs / 1000} s` :
      "the daemon cannot be reached");
  }
}

async function checked(response) {
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  const error = new Refused(response.status, body, response.headers);
  if (response.status == 401) refused(error);
  throw error;
}

// The JSON of a reply, and the request's id.
export async function ask(path, options) {
  const response = await checked(await sent(path, options));
  return {data: await response.json(), requestId: response.headers.get("x-request-id")};
}

export async function askText(path, options) {
  const response = await checked(await sent(path, options));
  return response.text();
}
