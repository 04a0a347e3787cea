// A question, its answer, and the citations that footnotes open.

import {onAccess} from "./access.js";
import {ask} from "./api.js";
import {open as openDocument} from "./documents.js";
import {byId, element, problem, say, table} from "./dom.js";
import {count, ms, percent, plural} from "./words.js";

let running = null;

function wanted() {
  const body = {
    query: byId("question").value,
    top_k: Number(byId("top-k").value),
    mode: byId("mode").value,
    collection: byId("ask-collection").value,
  };
  const answer = byId("answer-kind").value;
  if (answer) body.answer = answer;
  const source = byId("ask-source").value.trim();
  if (source) body.filter = {source};
  return body;
}

async function submit(event) {
  event.preventDefault();
  running?.abort();
  const mine = running = new AbortController();
  const box = byId("result");
  box.setAttribute("aria-busy", "true");
  box.classList.add("waiting");
  try {
    const {data, requestId} = await ask("v1/query", {method: "POST", body: wanted(), signal: mine.signal});
    box.replaceChildren(...answered(data, requestId));
    say(`${data.answer ? "An answer" : "No answer"} with ${plural(data.citations.length, "citation", "citations")} ` +
      `in ${ms(data.timings_ms.total)}`);
  } catch (error) {
    if (mine.signal.aborted) return;
    box.replaceChildren(problem(error));
  } finally {
    if (running == mine) {
      box.removeAttribute("aria-busy");
      box.classList.remove("waiting");
    }
  }
}

function answered(reply, requestId) {
  const parts = [
    element("h3", {id: "answer"}, "Answer"),
    answerText(reply),
  ];
  if (reply.answer_fallback) {
    parts.push(element("p", {class: "note"}, `Quoted, not generated: ${reply.answer_fallback}`));
  }
  parts.push(element("h3", {id: "citations"}, plural(reply.citations.length, "citation", "citations")));
  parts.push(reply.citations.length
    ? element("ol", {class: "citations", "aria-labelledby": "citations"}, ...reply.citations.map(citation))
    : element("p", {class: "quiet"}, "Nothing was found. Is the collection the right one, and does a filter fit?"));
  parts.push(timings(reply, requestId));
  return parts;
}

function answerText({answer, citations}) {
  if (answer == null) return element("p", {class: "quiet"}, "None was asked for; the citations are below.");
  if (answer == "") return element("p", {class: "quiet"}, "None of the passages answers this. The nearest ones are below.");
  const box = element("div", {class: "answer", "aria-labelledby": "answer", role: "region"});
  // Lines that are set in are code, as in Markdown.
  for (const part of answer.split(/((?:^|\n)(?: {4}[^\n]*(?:\n|$))+)/)) {
    const isCode = /^\n? {4}/.test(part);
    const text = isCode ? part.replace(/^\n|\n$/g, "").replace(/^ {4}/gm, "") : part.replace(/^\n+|\n+$/g, "");
    if (!text) continue;
    const line = element(isCode ? "pre" : "p");
    line.append(...inline(text, citations.length));
    box.append(line);
  }
  return box;
}

// Footnotes and code between back-ticks; all else as it stands.
function inline(text, most) {
  return text.split(/(\[\^\d+\]|`[^`\n]+`)/).filter(Boolean).map(piece => {
    const number = Number(/^\[\^(\d+)\]$/.exec(piece)?.[1]);
    if (number >= 1 && number <= most) return reference(number);
    return /^`[^`\n]+`$/.test(piece) ? element("code", {}, piece.slice(1, -1)) : piece;
  });
}

function reference(number) {
  return element("a", {
    href: `#citation-${number}`, class: "footnote", "data-citation": number,
    "aria-label": `Citation ${number}`,
    onclick: event => {
      event.preventDefault();
      show(number);
    },
  }, `[${number}]`);
}

// Opens a citation, and goes there.
function show(number) {
  const item = byId(`citation-${number}`);
  const details = item.querySelector("details");
  details.open = true;
  for (const other of document.querySelectorAll(".citations .meant")) other.classList.remove("meant");
  item.classList.add("meant");
  details.querySelector("summary").focus({preventScroll: true});
  item.scrollIntoView({block: "nearest"});
}

function citation(found, place) {
  const number = place + 1;
  const facts = [
    `chunk ${found.chunk}`,
    found.page == null ? null : `page ${found.page}`,
    ...Object.entries(found.metadata ?? {}).map(([name, value]) => `${name}: ${value}`),
  ].filter(Boolean).join(" · ");
  const bar = element("span", {class: "share", "aria-hidden": "true"}, element("span"));
  bar.firstChild.style.width = `${Math.min(Math.max(found.score, 0), 1) * 100}%`;
  return element("li", {id: `citation-${number}`},
    element("details", {},
      element("summary", {},
        element("span", {class: "number"}, `[${number}]`),
        element("span", {class: "name"}, element("span", {class: "title"}, found.title || found.source), " ",
          element("span", {class: "source"}, found.source)),
        element("span", {class: "score"}, bar, element("span", {class: "unseen"}, "score "), found.score.toFixed(3))),
      element("blockquote", {}, found.excerpt),
      element("p", {class: "quiet"}, facts),
      element("p", {class: "acts"},
        element("button", {type: "button", onclick: () => openDocument(found.document_id)}, "Show the document"),
        element("button", {type: "button", onclick: () => back(number)}, "Back to the answer"))));
}

function back(number) {
  const from = document.querySelector(`.footnote[data-citation="${number}"]`);
  (from ?? byId("question")).focus();
}

function timings({timings_ms: times, usage}, requestId) {
  const rest = Math.max(times.total - times.queue - times.embed - times.search, 0);
  const stages = [
    ["waiting for a place", times.queue],
    [usage.embedding_cached ? "embedding (from the cache)" : "embedding", times.embed],
    ["search", times.search],
    ["answer and the rest", rest],
  ];
  const rows = stages.map(([name, value]) => {
    const bar = element("span", {class: "share", "aria-hidden": "true"}, element("span"));
    const share = times.total ? value / times.total : 0;
    bar.firstChild.style.width = `${share * 100}%`;
    return element("tr", {}, element("th", {scope: "row"}, name), element("td", {}, ms(value)),
      element("td", {}, bar, " ", percent(Math.round(share * 1000) / 1000)));
  });
  rows.push(element("tr", {class: "total"}, element("th", {scope: "row"}, "total"),
    element("td", {}, ms(times.total)), element("td")));
  const tokens = [`${plural(usage.embedding_tokens, "token", "tokens")} of the question`,
    usage.prompt_tokens == null ? null : `${count(usage.prompt_tokens)} read and ${count(usage.completion_tokens)} written by the chat model`,
    `request id ${requestId}`];
  return element("div", {class: "timings"},
    table("Timings by stage", [{name: "Stage", text: true}, {name: "Time"}, {name: "Share"}], rows),
    element("p", {class: "quiet"}, tokens.filter(Boolean).join(" · ")));
}

export function start() {
  byId("ask-form").addEventListener("submit", submit);
  byId("question").addEventListener("keydown", event => {
    if (event.key != "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    byId("ask-form").requestSubmit();
  });
  onAccess(isOpen => byId("result").replaceChildren(...isOpen ? [] :
    [element("p", {class: "quiet"}, "Questions are answered for a key.")]));
}
