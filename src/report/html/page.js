// Puts plots in their places; one cursor and one zoom for all of them; keys, flags, print.
const data = JSON.parse(document.getElementById("data").textContent);
const shown = [];
const live = document.getElementById("live");
let speaking;

// Says it to screen readers; of many in a row the last.
function speak(text) {
  clearTimeout(speaking);
  speaking = setTimeout(() => { live.textContent = text; }, 80);
}

const view = {
  length: Math.max(1, ...data.runs.map(run => run.length_s)), min: 0, max: 1, busy: false,
  set(min, max) {
    const wide = Math.min(Math.max(max - min, this.length / 20000), this.length);
    this.min = Math.min(Math.max(min, 0), this.length - wide);
    this.max = this.min + wide;
    this.busy = true;
    for (const {u} of shown) u.setScale("x", {min: this.min, max: this.max});
    queueMicrotask(() => { this.busy = false; });
  },
  all() { this.set(0, this.length); },
  // Another plot was zoomed with the mouse.
  follow(u) {
    const {min, max} = u.scales.x;
    if (!this.busy && (Math.abs(min - this.min) > 1e-9 || Math.abs(max - this.max) > 1e-9)) this.set(min, max);
  },
  zoom(factor, about = (this.min + this.max) / 2) {
    const wide = (this.max - this.min) * factor;
    const share = (about - this.min) / (this.max - this.min);
    this.set(about - wide * share, about + wide * (1 - share));
  },
  pan(share) { const by = (this.max - this.min) * share; this.set(this.min + by, this.max + by); },
};
view.max = view.length;

function marksAt(made, i) {
  const x = made.data[0], from = i ? (x[i - 1] + x[i]) / 2 : -Infinity;
  const to = i + 1 < x.length ? (x[i] + x[i + 1]) / 2 : Infinity;
  return made.run.marks.filter(m => m.at_s >= from && m.at_s < to || m.to_s != null && m.at_s < to && m.to_s > from);
}

function told(made, i, asked) {
  const at = made.data[0][i];
  const near = marksAt(made, i);
  if (asked && !near.includes(asked)) near.unshift(asked);
  const marks = near.map(m => `${m.flag}: ${m.text}`).join("; ");
  return `${clock(at)}, ${wall(made.run, at)}: ${made.say(made.u, i)}${marks ? `. Marks: ${marks}` : ""}`;
}

function sample(i) {
  const svg = `<svg width="28" height="8" aria-hidden="true"><line x1="0" y1="4" x2="28" y2="4"
    style="stroke:var(--${"abcdef"[i % 6]})" stroke-width="2" stroke-dasharray="${dash(i).join(" ")}"/></svg>`;
  const holder = element("span");
  holder.innerHTML = svg;
  return holder.firstChild;
}

// Names of lines with their dashes and, under the cursor, values; a line can be left out.
function legend(made) {
  const bar = element("div", {class: "legend"});
  const when = element("span", {class: "when"});
  const values = made.plot.lines.map((line, i) => {
    const value = element("span");
    const button = element("button", {type: "button", "aria-pressed": "true"}, sample(i), `${line.name} `, value);
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") != "true";
      button.setAttribute("aria-pressed", on);
      made.u.setSeries(i + 1, {show: on});
    });
    bar.append(button);
    return value;
  });
  if (made.ramp) {
    const strip = element("span", {class: "ramp"});
    made.repaint = () => { strip.style.background = `linear-gradient(to right,${made.ramp()})`; };
    made.repaint();
    bar.append("1 ", strip, ` ${counted(made.most)} requests in a cell, logarithmic`);
  }
  bar.append(when);
  made.read = u => {
    const i = u.cursor.idx, some = i != null && u.cursor.left >= 0;
    const at = some ? made.data[0][i] : 0;
    when.textContent = some ? (made.ramp ? `${made.say(u, i)}; ` : "") + [clock(at), wall(made.run, at)].join(" · ") : "";
    values.forEach((value, n) => { value.textContent = some ? show(made.plot.unit, made.data[n + 1][i]) : ""; });
  };
  return bar;
}

function moveTo(made, i, mark) {
  const x = made.data[0][i];
  if (x == null) return;
  if (x < view.min || x > view.max) view.set(x - (view.max - view.min) / 2, x + (view.max - view.min) / 2);
  queueMicrotask(() => {
    made.u.setCursor({left: made.u.valToPos(x, "x"), top: made.u.over.clientHeight / 2}, true, true);
    speak(told(made, i, mark));
  });
}

function nearest(made, s) {
  const x = made.data[0];
  let best = 0;
  for (let i = 1; i < x.length; i++) if (Math.abs(x[i] - s) < Math.abs(x[best] - s)) best = i;
  return best;
}

function onKey(made, event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const x = made.data[0], last = x.length - 1;
  const held = made.u.cursor.left >= 0 ? made.u.cursor.idx : null;
  const first = nearest(made, view.min), end = nearest(made, view.max);
  const i = held ?? first - 1;
  const tenth = Math.max(1, Math.round((end - first) / 10));
  const about = held == null ? undefined : x[held];
  const to = n => moveTo(made, Math.min(Math.max(n, 0), last));
  const mark = found => { if (found) moveTo(made, nearest(made, found.at_s), found); else speak("no more marks"); };
  const now = held == null ? -Infinity : x[held];
  const near = m => nearest(made, m.at_s);
  const keys = {
    ArrowRight: () => to(i + (event.shiftKey ? tenth : 1)), ArrowLeft: () => to(i - (event.shiftKey ? tenth : 1)),
    PageDown: () => to(i + tenth), PageUp: () => to(i - tenth),
    Home: () => to(first), End: () => to(end),
    "+": () => view.zoom(0.5, about), "=": () => view.zoom(0.5, about), "-": () => view.zoom(2, about),
    0: () => view.all(), Escape: () => view.all(),
    n: () => mark(made.run.marks.find(m => x[near(m)] > now)),
    p: () => mark(made.run.marks.findLast(m => x[near(m)] < now)),
  };
  const act = keys[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

// A click on a flag, or upon a line below one, leads to what it says.
function onClick(made, event) {
  const box = made.frame.getBoundingClientRect();
  const x = event.clientX - box.left, y = event.clientY - box.top;
  if (y > FLAGS) return;
  const near = made.flags.filter(f => Math.abs(f.x - x) < 12).sort((a, b) => Math.abs(a.x - x) - Math.abs(b.x - x))[0];
  const prefix = data.runs.length > 1 ? `run${data.runs.indexOf(made.run)}-` : "";
  if (near) location.hash = `${prefix}mark-${near.mark.flag}`;
}

function put(made, box) {
  const id = `${box.dataset.run}-${box.dataset.plot}`;
  made.frame = element("div", {
    class: "frame", tabindex: "0", role: "application", "aria-roledescription": "plot",
    "aria-labelledby": `plot-${id}`, "aria-describedby": `about-${id}`,
  });
  box.append(made.frame);
  made.options.width = Math.max(box.clientWidth, 200);
  made.u = new uPlot(made.options, made.data, made.frame);
  made.u.root.setAttribute("aria-hidden", "true");
  shown.push(made);
  made.u.setScale("x", {min: view.min, max: view.max});
  box.append(legend(made));
  made.frame.addEventListener("keydown", event => onKey(made, event));
  made.frame.addEventListener("click", event => onClick(made, event));
  new ResizeObserver(() => {
    if (box.clientWidth && !page.classList.contains("print")) resize(made, box.clientWidth);
  }).observe(box);
}

function resize(made, width, height = HEIGHT) {
  if (width != made.u.width || height != made.u.height) made.u.setSize({width, height});
}

function make(box) {
  const run = data.runs[box.dataset.run];
  const plot = run.plots.find(one => one.id == box.dataset.plot);
  if (plot) return lines(run, plot);
  const limits = run.plots.find(one => one.id == "response").limits;
  return heatMap(run, run.heat, limits);
}

function repaint() {
  readTheme();
  for (const made of shown) {
    if (made.repaint) made.repaint();
    made.u.redraw(false, true);
  }
}

// Plots are put one after the other, so that the page answers meanwhile.
const waiting = [...document.querySelectorAll(".canvas")];
function putNext() {
  const box = waiting.shift();
  if (!box) return;
  const made = make(box);
  if (made) put(made, box);
  if (!waiting.length) page.dataset.drawn = "yes";
}
function putAll() {
  if (!waiting.length) { page.dataset.drawn = "yes"; return; }
  putNext();
  setTimeout(putAll, 0);
}

function tools() {
  const bar = document.querySelector(".toolbar");
  const button = (sign, name, act) => {
    const made = element("button", {type: "button", "aria-label": name, title: name}, sign);
    made.addEventListener("click", act);
    bar.append(made);
  };
  button("+", "Zoom in", () => view.zoom(0.5));
  button("−", "Zoom out", () => view.zoom(2));
  button("←", "Earlier", () => view.pan(-0.5));
  button("→", "Later", () => view.pan(0.5));
  button("All", "Show all", () => view.all());
  for (const hidden of document.querySelectorAll(".toolbar, .keys")) hidden.hidden = !data.runs.some(run => run.plots.length);
}

// Times in the list of events lead to the plots.
function events() {
  data.runs.forEach((run, place) => {
    const prefix = data.runs.length > 1 ? `run${place}-` : "";
    for (const mark of run.marks) {
      const at = document.getElementById(`${prefix}mark-${mark.flag}`).querySelector(".at");
      const button = element("button", {type: "button", "aria-label": `${at.textContent}, show on the plots`}, at.textContent);
      button.addEventListener("click", () => {
        const made = shown.find(one => one.run == run);
        if (!made) return;
        const wide = Math.max(view.length / 12, (mark.to_s ?? mark.at_s) - mark.at_s);
        view.set(mark.at_s - wide / 2, mark.at_s + wide);
        made.frame.scrollIntoView({block: "center"});
        made.frame.focus({preventScroll: true});
        moveTo(made, nearest(made, mark.at_s), mark);
      });
      at.replaceChildren(button);
    }
  });
}

addEventListener("beforeprint", () => {
  while (waiting.length) putNext();
  page.classList.add("print");
  repaint();
  for (const made of shown) resize(made, 680, PRINTED_HEIGHT);
});
addEventListener("afterprint", () => {
  page.classList.remove("print");
  repaint();
  for (const made of shown) resize(made, made.frame.parentElement.clientWidth);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
tools();
events();
putAll();
