// Recorded soak runs with their verdicts, and the report of each.

import {access, onAccess} from "./access.js";
import {ask, askText, Refused} from "./api.js";
import {byId, element, problem, say, table} from "./dom.js";
import {isBound, onStatus} from "./status.js";
import {count, duration, moment, ms, percent, perSecond} from "./words.js";

const MOST = 50;
const EVERY_MS = 30000;

const SIGNS = {PASS: "✓", FAIL: "✗", INVALID: "?", running: "▶", unfinished: "…", damaged: "!"};
const TONES = {PASS: "good", FAIL: "bad"};

let timer;
// What this key may not see is not asked for.
let isShown = null;

async function list() {
  clearTimeout(timer);
  if (!access.isOpen || isShown === false || document.hidden) return;
  const box = byId("runs-list");
  try {
    const {data} = await ask(`v1/runs?limit=${MOST}`);
    // Not while somebody goes through it by keys.
    if (!box.contains(document.activeElement)) box.replaceChildren(...page(data));
  } catch (error) {
    if (error instanceof Refused && error.status == 403) withheld();
    else box.replaceChildren(problem(error));
  }
  clearTimeout(timer);
  timer = setTimeout(list, EVERY_MS);
}

function withheld() {
  byId("runs-list").replaceChildren(element("p", {class: "quiet"},
    "Soak runs are about the whole daemon, and this key is bound to collections: they are not shown to it."));
}

function page({runs, total}) {
  if (!runs.length) {
    return [element("p", {class: "quiet"}, "No run is recorded. Make one: ",
      element("code", {}, "alfred soak --target http://127.0.0.1:8080/v1/query --qps 10 --duration 1m"))];
  }
  const heads = [{name: "Verdict", text: true}, {name: "Scenario", text: true}, {name: "Start (UTC)", text: true}, {name: "For"},
    {name: "Rate"}, {name: "Requests"}, {name: "p95"}, {name: "Errors"}, {name: "Report", text: true}];
  const left = total - runs.length;
  const caption = `The newest ${count(runs.length)} of ${count(total)} recorded`;
  return [table(left > 0 ? caption : `All ${count(total)} recorded, the newest first`, heads, runs.map(row))];
}

function row(run) {
  const word = run.verdict ?? run.state;
  const name = run.name || run.run;
  return element("tr", {},
    element("th", {scope: "row", class: `verdict ${TONES[word] ?? "doubt"}`},
      element("span", {class: "sign", "aria-hidden": "true"}, SIGNS[word] ?? "?"), ` ${word}`),
    element("td", {class: "text long"}, name, run.kind == "capacity" ? " (capacity)" : null,
      run.stopped_early ? " (stopped early)" : null),
    element("td", {class: "text"}, moment(run.start)),
    element("td", {}, run.state == "damaged" ? "–" : duration(run.duration_s)),
    element("td", {}, run.qps ? perSecond(run.qps) : "–"),
    element("td", {}, count(run.requests)),
    element("td", {}, ms(run.p95_ms)),
    element("td", {}, percent(run.error_rate)),
    element("td", {class: "text"}, run.state == "damaged" ? "–" : link(run, name)));
}

function link(run, name) {
  const path = `v1/runs/${encodeURIComponent(run.run)}/report.html`;
  return element("a", {
    href: path, target: "_blank", rel: "noopener", "aria-label": `Report of ${name}, ${moment(run.start)} UTC, in a new tab`,
    onclick: event => {
      // A link sends no key: the page asks for the report and hands it to the tab.
      if (!access.key) return;
      event.preventDefault();
      view(path);
    },
  }, "Report");
}

async function view(path) {
  const tab = window.open(new URL("console/viewer.html", document.baseURI), "_blank");
  if (!tab) {
    say("The browser lets no tab be opened");
    return;
  }
  const loaded = new Promise(done => {
    // The tab has an origin of its own, so that its loading is only seen by asking it.
    addEventListener("message", function heard(event) {
      if (event.source != tab || event.data != "loaded") return;
      removeEventListener("message", heard);
      done();
    });
  });
  const message = await askText(path).then(page => ({page}), error => ({problem: `${error.title}: ${error.detail}`}));
  await loaded;
  tab.postMessage(message, "*");
}

export function start() {
  onAccess(isOpen => {
    isShown = null;
    if (!isOpen) {
      clearTimeout(timer);
      byId("runs-list").replaceChildren(element("p", {class: "quiet"}, "Soak runs are shown for a key."));
    }
  });
  onStatus(status => {
    const may = !isBound(status);
    if (may == isShown) return;
    isShown = may;
    if (may) list();
    else withheld();
  });
  document.addEventListener("visibilitychange", () => { if (isShown) list(); });
}
