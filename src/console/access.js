// The key, where the daemon asks for one: in memory, and in the tab's storage only when that was ticked.

import {byId, say} from "./dom.js";

const PLACE = "alfred.key";
const listeners = [];
let kept = null;

// Storage may be turned off in the browser; then the key is in memory alone.
const storage = {
  get() { try { return sessionStorage.getItem(PLACE); } catch { return null; } },
  set(key) { try { sessionStorage.setItem(PLACE, key); } catch { /* in memory */ } },
  remove() { try { sessionStorage.removeItem(PLACE); } catch { /* nothing is kept */ } },
};

export const access = {
  // Whether the daemon wants a key, as the page was told, and as it found out.
  isNeeded: document.documentElement.dataset.keys == "yes",
  get key() { return kept; },
  get isOpen() { return !access.isNeeded || kept != null; },
};

// Calls `work` now where the daemon may be asked, and again whenever that changes.
export function onAccess(work) {
  listeners.push(work);
  work(access.isOpen);
}

function changed() {
  byId("access").hidden = access.isOpen;
  byId("forget").hidden = kept == null;
  for (const work of listeners) work(access.isOpen);
}

function show(text) {
  const box = byId("key-problem");
  box.textContent = text;
  box.hidden = !text;
}

// The daemon answered 401.
export function refused(error) {
  const wasOpen = access.isOpen;
  access.isNeeded = true;
  if (kept != null) show(`The key was refused: ${error.detail}`);
  kept = null;
  storage.remove();
  if (wasOpen) changed();
}

export function start() {
  kept = storage.get();
  if (kept != null) access.isNeeded = true;
  byId("key-form").addEventListener("submit", event => {
    event.preventDefault();
    const key = byId("key").value.trim();
    if (!/^[\x21-\x7e]+$/.test(key)) return show("A key is made of visible ASCII characters.");
    kept = key;
    storage.remove();
    if (byId("keep").checked) storage.set(key);
    byId("key").value = "";
    show("");
    say("The key is in use");
    changed();
  });
  byId("forget").addEventListener("click", () => {
    kept = null;
    storage.remove();
    say("The key is forgotten");
    changed();
    if (!access.isOpen) byId("key").focus();
  });
  changed();
}
