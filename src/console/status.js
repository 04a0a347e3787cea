// How the daemon is: asked while the page is seen, shown as figures, plots and facts.

import {access, onAccess} from "./access.js";
import {ask, Refused} from "./api.js";
import {byId, element, fill, say} from "./dom.js";
import * as plots from "./plots.js";
import {bytes, clock, count, duration, moment, ms, percent, perSecond, plural} from "./words.js";

// How often the daemon is asked; when it does not answer, ever more seldom.
const EVERY_MS = 2000;
const MOST_MS = 30000;
const PATIENCE_MS = 10000;

let timer;
let failures = 0;
let asking = false;
let again = false;
let last = null;
const listeners = [];

// Calls `work` with each status.
export function onStatus(work) {
  listeners.push(work);
}

const SIGNS = {ready: "✓", missing: "!", lost: "✗", waiting: "…"};

function state(tone, words) {
  const shown = byId("state");
  const was = shown.querySelector(".words");
  shown.className = `state ${tone}`;
  shown.querySelector(".sign").textContent = SIGNS[tone];
  if (was.textContent != words) was.textContent = words;
  // Said when it changes, and not each time that the page asks.
  if (last != tone) {
    if (last != null || tone != "ready") say(words);
    last = tone;
    document.title = tone == "ready" ? "alfred" : `${SIGNS[tone]} alfred`;
  }
}

// Without a key, what anybody may know.
async function readiness() {
  try {
    await ask("readyz", {patienceMs: PATIENCE_MS});
    return {isPublic: true, ready: true};
  } catch (error) {
    if (error instanceof Refused && error.kind == "not_ready") {
      return {isPublic: true, ready: false, why: error.detail.replace(/^not ready: /, "")};
    }
    throw error;
  }
}

async function poll() {
  clearTimeout(timer);
  if (document.hidden) return;
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  let wait = EVERY_MS;
  try {
    const status = access.isOpen ? (await ask("v1/status", {patienceMs: PATIENCE_MS})).data : await readiness();
    failures = 0;
    show(status);
  } catch (error) {
    if (!(error instanceof Refused && error.status == 401)) {
      failures += 1;
      wait = Math.min(EVERY_MS * 2 ** failures, MOST_MS);
      if (error.retryAfterS) wait = Math.max(wait, error.retryAfterS * 1000);
      state("lost", `${error.title}: ${error.detail}; trying again in ${wait / 1000} s`);
    }
  } finally {
    asking = false;
  }
  // A key was given meanwhile, or taken away.
  if (again) wait = 0;
  again = false;
  clearTimeout(timer);
  timer = setTimeout(poll, wait);
}

function show(status) {
  const why = status.why ?? (status.missing ?? []).map(({name, reason}) => `${name}: ${reason}`).join("; ");
  if (status.ready) state("ready", "Ready");
  else state("missing", `Not ready: ${why || "the daemon does not say why"}`);
  byId("updated").textContent = `As of ${clock(new Date())}`;
  if (status.isPublic || !access.isOpen) return;
  byId("version").textContent = status.version ?? "";
  tiles(status);
  facts(status);
  plots.update(status.recent ?? null);
  note(status);
  for (const work of listeners) work(status);
}

// A key that is bound to collections gets a status without what is about the whole daemon.
export const isBound = status => status.http === undefined;

function note(status) {
  const box = byId("overview-note");
  box.hidden = !isBound(status);
  box.textContent = "This key is bound to collections: latencies, store, cache and soak runs are about " +
    "the whole daemon, and are not shown to it. Counts are those of its collections.";
}

const sum = list => list.reduce((total, value) => total + value, 0);

function tiles(status) {
  const {recent, http, counts, pool} = status;
  const minute = recent?.minute;
  const failed = recent && sum(Object.values(recent.errors).map(sum));
  const asked = recent && sum(recent.requests);
  const lookups = status.cache && status.cache.hits + status.cache.misses;
  fill(byId("tiles"), [
    ["Queries, 1 min", minute && perSecond(minute.requests_per_s)],
    ["p50, 1 min", minute && ms(minute.p50_ms)],
    ["p95, 1 min", minute && ms(minute.p95_ms)],
    ["p99, 1 min", minute && ms(minute.p99_ms)],
    ["Errors, 15 min", recent && (failed ? `${count(failed)} of ${count(asked)}` : "none"), failed ? "bad" : null],
    ["Run · wait now", http && `${count(http.queries_running)} · ${count(http.queries_waiting)}`],
    ["Documents", counts && count(counts.documents)],
    ["Chunks", counts && count(counts.chunks)],
    ["Cache hits", status.cache && (lookups ? percent(status.cache.hits / lookups) : "–")],
    ["Pool busy", pool && `${count(pool.busy)} of ${count(pool.max)}`],
    ["Up for", duration(status.uptime_s)],
  ]);
}

function card(id, heading, pairs) {
  const wanted = pairs.filter(pair => pair && pair[1] != null);
  let box = byId(`facts-${id}`);
  if (!wanted.length) {
    box?.remove();
    return;
  }
  if (!box) {
    box = element("section", {id: `facts-${id}`, class: "card", "aria-labelledby": `facts-${id}-heading`},
      element("h3", {id: `facts-${id}-heading`}, heading), element("dl"));
    byId("facts").append(box);
  }
  fill(box.querySelector("dl"), wanted);
}

const hits = ({hits, misses}) => `${count(hits)} of ${count(hits + misses)}`;

function facts(status) {
  const {store, embedder, pool, cache, http, provider, tls, reload} = status;
  const database = store?.database;
  card("store", "Store", store ? [
    ["Problem", store.problem, "bad"],
    ["Kind", store.kind && (database ? `${store.kind} ${database.server}, pgvector ${database.pgvector}` : store.kind)],
    ["Place", store.location],
    ["On disk", store.disk_bytes == null ? null : bytes(store.disk_bytes)],
    ["In memory", store.memory_bytes ? bytes(store.memory_bytes) : null],
    ["Vector index", database && (database.index_kind ?? "none yet: searches read everything")],
    ["Collections", status.counts && count(status.counts.collections)],
  ] : []);
  card("embedder", "Embedder", [
    ["Model", embedder?.model],
    ["Dimensions", embedder && count(embedder.dimensions)],
    ["Requests to the provider", provider && (worded(provider.requests) || "none yet")],
    ["Tokens embedded", provider && count(provider.embedding_tokens)],
    ["Tokens of the chat model", provider?.completion_tokens ? count(provider.completion_tokens) : null],
  ]);
  card("pool", "Pool", pool ? [
    ["Busy", count(pool.busy)],
    ["Idle", count(pool.idle)],
    ["Most", count(pool.max)],
    ["Waited in vain", count(pool.timeouts), pool.timeouts ? "bad" : null],
  ] : []);
  card("cache", "Cache of embeddings", cache ? [
    ["In memory", plural(cache.entries, "embedding", "embeddings")],
    ["Hits", hits(cache)],
    ["Redis", cache.redis && `${cache.redis.state}, ${hits(cache.redis)} found`, cache.redis?.state == "down" ? "bad" : null],
  ] : []);
  card("http", "Requests", http ? [
    ["By status", worded(http.requests_by_status) || "none yet"],
    ["In flight", count(http.in_flight)],
    ["Connections", count(http.connections)],
    ["Writes running · waiting", `${count(http.writes_running)} · ${count(http.writes_waiting)}`],
    ["Left before the reply", count(http.abandoned)],
  ] : []);
  card("daemon", "Daemon", http ? [
    ["API keys", status.access?.keys == null ? "none: nobody needs one" : count(status.access.keys)],
    ["TLS certificate", tls && `expires ${moment(tls.not_after)} UTC`, tls?.expires_in_days < 7 ? "bad" : null],
    ["Last reload", reload && (reload.last ? `${moment(reload.last)} UTC${reload.successful ? "" : `, refused: ${reload.reason}`}` : "none"),
      reload?.successful === false ? "bad" : null],
    ["Waits for a start", reload?.needs_restart?.length ? reload.needs_restart.join(", ") : null],
  ] : []);
}

const worded = counts => Object.entries(counts).map(([name, value]) =>
  `${name}: ${typeof value == "object" ? worded(value) : count(value)}`).join(", ");

// What was shown for a key is not for who comes without one.
function forget() {
  for (const id of ["tiles", "facts"]) {
    byId(id).replaceChildren();
    delete byId(id).dataset.names;
  }
  byId("version").textContent = "";
  byId("overview-note").hidden = false;
  byId("overview-note").textContent = "Figures are shown for a key.";
  plots.update(null);
}

export function start() {
  plots.start();
  onAccess(isOpen => {
    if (!isOpen) forget();
    poll();
  });
  document.addEventListener("visibilitychange", poll);
}
