// Elements made from text alone: nothing that the daemon says becomes markup.

export const byId = id => document.getElementById(id);

// `on…` are listeners, `null` and `false` are left out, `true` is an attribute without a value.
export function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value == null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter(child => child != null));
  return made;
}

let speaking;

// Says it to screen readers; of many in a row the last.
export function say(text) {
  clearTimeout(speaking);
  speaking = setTimeout(() => { byId("live").textContent = text; }, 80);
}

// Names and values into a list of definitions. What is there already is changed, not made anew, so that
// a selection stays and screen readers do not begin again.
export function fill(list, pairs) {
  const wanted = pairs.filter(pair => pair && pair[1] != null);
  const names = wanted.map(([name]) => name).join("\n");
  if (list.dataset.names != names) {
    list.dataset.names = names;
    list.replaceChildren(...wanted.map(([name]) =>
      element("div", {}, element("dt", {}, name), element("dd"))));
  }
  wanted.forEach(([, value, tone], place) => {
    const shown = list.children[place].lastChild;
    if (shown.textContent != value) shown.textContent = value;
    shown.className = tone ?? "";
  });
}

// A table with a caption, in a box that scrolls by itself where the page is narrow.
export function table(caption, heads, rows) {
  const head = element("tr", {}, ...heads.map(({name, text}) =>
    element("th", {scope: "col", class: text ? "text" : null}, name)));
  return element("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": caption},
    element("table", {},
      element("caption", {}, caption),
      element("thead", {}, head),
      element("tbody", {}, ...rows)));
}

const HINTS = {
  unauthorized: "Give the key anew above. Was it revoked, or is it for another daemon?",
  forbidden: "Another key may: see what each role may do in docs/access.md.",
  misdirected: "Add the name in the address bar to server.allowed_hosts.",
  overloaded: "Ask again in a moment. If it stays so, see server.max_in_flight.",
  not_ready: "Wait until the daemon is ready; the state above says what is missing.",
  rate_limited: "Wait a little: server.rate_limit allows no more.",
  timeout: "Ask again. If it stays so, look at the timings of other queries and at the journal.",
  search_error: "The store failed. The journal has the cause under the request id.",
  openai_error: "The embedding failed. Search by text works meanwhile.",
  internal: "This is a defect. The journal has the details under the request id.",
  unknown_collection: "Choose one of the collections that there are.",
  run_too_large: "Run the command on the machine, and open the file that it writes.",
};

// An error in full words: what, why, what to try, and by which id the journal knows it.
export function problem(error) {
  const {title, detail, kind, requestId, retryAfterS} = error;
  const box = element("div", {class: "note bad", role: "alert"},
    element("p", {}, element("strong", {}, title ?? "It did not work"), ": ", detail ?? String(error.message)));
  const hint = HINTS[kind] ?? (error.isUnreachable ? "Is the daemon running? systemctl status alfred" : null);
  if (hint) box.append(element("p", {}, hint));
  const facts = [kind && `kind ${kind}`, requestId && `request id ${requestId}`,
    retryAfterS && `try again after ${retryAfterS} s`].filter(Boolean);
  if (facts.length) box.append(element("p", {class: "quiet"}, facts.join(" · ")));
  return box;
}
