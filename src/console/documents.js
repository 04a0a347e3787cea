// The corpus: collections, documents by source page by page, and one with its chunks.

import {access, onAccess} from "./access.js";
import {ask, Refused} from "./api.js";
import {byId, element, problem, say, table} from "./dom.js";
import {onStatus} from "./status.js";
import {bytes, count, moment, plural} from "./words.js";

const PAGE = 20;
// Chunks that are shown at first, and more each time.
const CHUNKS = 40;

// Cursors of the pages before this one, this one's last; `null` is the first page.
let trail = [null];
let known = "";

const listed = () => ({
  source: byId("documents-source").value.trim(),
  collection: byId("documents-collection").value || "default",
});

async function collections() {
  const {data} = await ask("v1/collections");
  const names = data.collections.map(({name}) => name);
  if (names.join("\n") == known) return;
  known = names.join("\n");
  for (const select of document.querySelectorAll("select.collections")) {
    const chosen = select.value;
    select.replaceChildren(...names.map(name => element("option", {}, name)));
    // A key may be bound to others than the default one.
    select.value = names.includes(chosen) ? chosen : names[0] ?? "default";
  }
}

async function list(isAsked) {
  const box = byId("documents-list");
  if (!access.isOpen) return;
  const {source, collection} = listed();
  const query = new URLSearchParams({limit: PAGE, collection});
  if (source) query.set("source", source);
  const cursor = trail.at(-1);
  if (cursor) query.set("cursor", cursor);
  try {
    const {data} = await ask(`v1/documents?${query}`);
    box.replaceChildren(...page(data, collection));
    if (isAsked) say(`${plural(data.documents.length, "document", "documents")} listed`);
  } catch (error) {
    box.replaceChildren(problem(error));
  }
}

function page({documents, next_cursor: next}, collection) {
  if (!documents.length && trail.length == 1) {
    return [element("p", {class: "quiet"}, listed().source
      ? `No source in “${collection}” fits. A pattern such as docs/*.md takes all below.`
      : `The collection “${collection}” is empty. Fill it: alfred ingest PATH`)];
  }
  const rows = documents.map(one => element("tr", {},
    element("th", {scope: "row", class: "long"}, element("button", {type: "button", class: "link",
      onclick: () => open(one.id)}, one.source)),
    element("td", {class: "text long"}, one.title ?? ""),
    element("td", {}, count(one.chunks)),
    element("td", {}, bytes(one.bytes)),
    element("td", {}, moment(one.updated_at))));
  const from = (trail.length - 1) * PAGE;
  const heads = [{name: "Source", text: true}, {name: "Title", text: true}, {name: "Chunks"}, {name: "Size"}, {name: "Updated (UTC)"}];
  const caption = `Documents ${count(from + 1)} to ${count(from + documents.length)} of “${collection}”, by source`;
  const turn = (words, isThere, go) => element("button", {type: "button", disabled: !isThere, onclick: async () => {
    go();
    await list(true);
    byId("documents-list").querySelector(".scroll")?.focus();
  }}, words);
  return [table(caption, heads, rows), element("p", {class: "acts"},
    turn("Earlier", trail.length > 1, () => trail.pop()),
    turn("More", next != null, () => trail.push(next)))];
}

// Shows one document with its chunks, and goes there.
export async function open(id) {
  const box = byId("document");
  try {
    const {data} = await ask(`v1/documents/${encodeURIComponent(id)}`);
    box.replaceChildren(whole(data));
  } catch (error) {
    box.replaceChildren(problem(error));
    return;
  }
  const heading = byId("document-heading");
  heading.focus({preventScroll: true});
  heading.scrollIntoView({block: "nearest"});
}

function whole(found) {
  const facts = [found.source, found.collection && `collection ${found.collection}`,
    plural(found.chunks, "chunk", "chunks"), bytes(found.bytes), `updated ${moment(found.updated_at)} UTC`,
    ...Object.entries(found.metadata ?? {}).map(([name, value]) => `${name}: ${value}`)];
  const chunks = element("ol", {class: "chunks", start: "0"});
  const more = element("button", {type: "button"});
  const add = () => {
    const from = chunks.children.length;
    const next = found.chunk_texts.slice(from, from + CHUNKS);
    chunks.append(...next.map(text => element("li", {}, element("pre", {}, text))));
    const left = found.chunk_texts.length - chunks.children.length;
    more.hidden = left == 0;
    more.textContent = `${count(Math.min(left, CHUNKS))} more of ${count(left)}`;
  };
  more.addEventListener("click", add);
  add();
  return element("article", {class: "document", "aria-labelledby": "document-heading"},
    element("h3", {id: "document-heading", tabindex: "-1"}, found.title || found.source),
    element("p", {class: "quiet long"}, facts.filter(Boolean).join(" · ")),
    element("p", {class: "acts"}, element("button", {type: "button", onclick: close}, "Close the document")),
    chunks, element("p", {class: "acts"}, more));
}

function close() {
  byId("document").replaceChildren();
  byId("documents-source").focus();
}

let counted = null;

export function start() {
  const begin = isAsked => {
    trail = [null];
    return list(isAsked);
  };
  byId("documents-form").addEventListener("submit", event => {
    event.preventDefault();
    begin(true);
  });
  byId("documents-collection").addEventListener("change", () => begin(true));
  onAccess(async isOpen => {
    known = "";
    if (!isOpen) {
      byId("documents-list").replaceChildren(element("p", {class: "quiet"}, "Documents are shown for a key."));
      byId("document").replaceChildren();
      return;
    }
    await refreshed();
    await begin(false);
  });
  // Another number of documents: there may be other collections.
  onStatus(({counts}) => {
    if (!counts) return;
    const now = `${counts.documents} ${counts.collections}`;
    if (counted != null && counted != now) refreshed().then(() => trail.length == 1 && list(false));
    counted = now;
  });
}

async function refreshed() {
  try {
    await collections();
  } catch (error) {
    // The list says what is wrong; a refusal of the key is said above.
    if (!(error instanceof Refused)) console.debug(error);
  }
}
