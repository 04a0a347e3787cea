// Latencies, rate and errors of the last quarter of an hour, drawn by uPlot, which reports of runs use too.

import {byId, element, table} from "./dom.js";
import {count, ms, perSecond} from "./words.js";

const LENGTH_S = 900;
const HEIGHT = 170;
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [16, 5], [5, 3, 1, 3, 1, 3]];
// Rows of a table of values, the newest first: the last five minutes.
const ROWS = 60;

const PLOTS = [
  {
    id: "latency", heading: "Latency of queries", unit: ms, axis: "log",
    lines: recent => [["p50", recent.p50_ms], ["p95", recent.p95_ms], ["p99", recent.p99_ms]],
  },
  {
    id: "rate", heading: "Queries a second", unit: perSecond, axis: "zero",
    lines: recent => [["queries", recent.requests.map(value => value / recent.slot_s)]],
  },
  {
    id: "errors", heading: "Errors", unit: count, axis: "count",
    lines: recent => [["rejected (4xx)", recent.rejected], ...Object.entries(recent.errors)],
  },
];

let theme;
function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const of = name => style.getPropertyValue(name).trim();
  theme = {ink: of("--ink"), quiet: of("--quiet"), rule: of("--rule"),
    lines: ["--a", "--b", "--c", "--d", "--e", "--f"].map(of)};
}

const isRound = value => {
  const lead = value / 10 ** Math.floor(Math.log10(value) + 1e-9);
  return [1, 2, 5].some(round => Math.abs(lead - round) < 1e-6);
};

// Whole multiples in each decade.
function decades(u, axis, min, max) {
  const splits = [];
  for (let exponent = Math.floor(Math.log10(min)); 10 ** exponent <= max; exponent++) {
    for (let lead = 1; lead < 10; lead++) {
      const value = Number(`${lead}e${exponent}`);
      if (value >= min && value <= max) splits.push(value);
    }
  }
  return splits;
}

function span(axis) {
  return (u, min, max) => {
    if (axis == "log") {
      if (min == null) return [1, 10];
      min = Math.max(min, 1e-3);
      max = Math.max(max, min);
      return max / min < 4 ? [min / 2, max * 2] : [min / 1.2, max * 1.2];
    }
    const least = axis == "count" ? 4 : 1;
    return [0, Math.max(least, (max ?? 0) * 1.1)];
  };
}

const ago = seconds => seconds > -30 ? "now" : `${Math.round(seconds / 60)} min`;

function options(plot, lines, width, read) {
  const common = {
    stroke: () => theme.quiet, font: "12px system-ui, sans-serif",
    grid: {stroke: () => theme.rule, width: 1}, ticks: {show: false},
  };
  const named = (u, splits) => splits.map(value =>
    value == null || plot.axis == "log" && !isRound(value) ? "" : plot.unit(value));
  return {
    width, height: HEIGHT, padding: [8, 12, 0, 0], legend: {show: false},
    scales: {
      x: {time: false, range: () => [-LENGTH_S, 0]},
      y: {distr: plot.axis == "log" ? 3 : 1, range: span(plot.axis)},
    },
    axes: [
      {...common, incrs: [60, 180, 300], space: 60, size: 24, values: (u, splits) => splits.map(ago)},
      {...common, size: 60, space: 28, values: named, ...(plot.axis == "log" && {splits: decades}),
        ...(plot.axis == "count" && {incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 10000, 100000]})},
    ],
    cursor: {y: false, drag: {x: false, y: false}, sync: {key: "console", setSeries: false, scales: ["x", null]}},
    hooks: {setCursor: [read]},
    series: [{}, ...lines.map(([name], place) => ({
      label: name, stroke: () => theme.lines[place % theme.lines.length], width: place ? 1.25 : 1.75,
      dash: DASHES[place % DASHES.length].map(length => length * devicePixelRatio),
      points: {size: 3}, ...(plot.axis == "count" && {paths: uPlot.paths.stepped({align: -1})}),
    }))],
  };
}

// A line of a legend: its colour and dashes as on the plot.
function sample(place) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const line = document.createElementNS(space, "line");
  const set = (node, attributes) => Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
  set(svg, {width: 22, height: 8, "aria-hidden": "true", class: `line-${place % 6}`});
  set(line, {x1: 0, y1: 4, x2: 22, y2: 4, "stroke-width": 2, "stroke-dasharray": DASHES[place % 6].join(" ")});
  svg.append(line);
  return svg;
}

class Plot {
  constructor(plot) {
    this.plot = plot;
    this.canvas = element("div", {class: "canvas", role: "img"});
    this.legend = element("p", {class: "legend", "aria-hidden": "true"});
    this.values = element("div");
    this.details = element("details", {ontoggle: () => this.list()},
      element("summary", {}, "Values"), this.values);
    this.figure = element("figure", {class: "plot"},
      element("figcaption", {}, element("h3", {}, plot.heading)), this.canvas, this.legend, this.details);
    byId("plots").append(this.figure);
    new ResizeObserver(() => {
      const width = this.canvas.clientWidth;
      if (this.u && width && width != this.u.width) this.u.setSize({width, height: HEIGHT});
    }).observe(this.canvas);
  }

  update(recent) {
    this.recent = recent;
    const lines = recent ? this.plot.lines(recent) : [];
    const names = lines.map(([name]) => name).join("\n");
    const x = recent ? times(recent) : [];
    const data = this.data = [x, ...lines.map(([, values]) => values)];
    if (this.names != names) this.make(lines, data, names);
    else if (this.u) this.u.setData(data);
    this.tell(lines);
    this.read(this.u);
    // Not while somebody reads in it.
    if (this.details.open && !this.values.contains(document.activeElement)) this.list();
  }

  make(lines, data, names) {
    this.names = names;
    this.u?.destroy();
    this.u = null;
    this.canvas.replaceChildren();
    this.shown = lines.map(([name], place) => {
      const value = element("span", {class: "value"});
      return {name, value, item: element("span", {class: "item"}, sample(place), ` ${name} `, value)};
    });
    this.legend.replaceChildren(...this.shown.map(({item}) => item));
    if (!lines.length) return;
    const width = Math.max(this.canvas.clientWidth, 200);
    this.u = new uPlot(options(this.plot, lines, width, u => this.read(u)), data, this.canvas);
  }

  // Under the mouse, else the last value that there is.
  read(u) {
    if (!u || !this.data) return;
    const under = u.cursor.left >= 0 ? u.cursor.idx : null;
    this.shown.forEach(({value}, place) => {
      const values = this.data[place + 1] ?? [];
      const seen = under != null ? values[under] : values.at(-1);
      const text = this.plot.unit(seen);
      if (value.textContent != text) value.textContent = text;
    });
  }

  // The plot in words.
  tell(lines) {
    const {unit, heading} = this.plot;
    const said = lines.map(([name, values]) => {
      const there = values.filter(value => value != null);
      return there.length ? `${name} ${unit(there.at(-1))}, at most ${unit(Math.max(...there))}` : `${name}: none`;
    });
    const words = lines.length ? said.join("; ") : "no figures";
    this.canvas.setAttribute("aria-label", `${heading} of the last 15 minutes: ${words}`);
  }

  list() {
    if (!this.details.open) return;
    const {recent, plot} = this;
    const lines = recent ? plot.lines(recent) : [];
    const x = recent ? times(recent) : [];
    const rows = x.map((at, place) => element("tr", {},
      element("th", {scope: "row"}, `${Math.round(-at)} s ago`),
      ...lines.map(([, values]) => element("td", {}, plot.unit(values[place])))));
    const heads = [{name: "Until", text: true}, ...lines.map(([name]) => ({name}))];
    this.values.replaceChildren(table(`${plot.heading}: slots of the last five minutes, the newest first`,
      heads, rows.reverse().slice(0, ROWS)));
  }
}

// When each slot ended, in seconds from now.
function times(recent) {
  const {slot_s: slot, ended_ms_ago: ended, requests} = recent;
  return requests.map((_, place) => -(requests.length - 1 - place) * slot - ended / 1000);
}

let plots = [];

export function update(recent) {
  byId("plots").hidden = recent == null;
  for (const plot of plots) plot.update(recent);
}

export function start() {
  readTheme();
  plots = PLOTS.map(plot => new Plot(plot));
  update(null);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readTheme();
    for (const {u} of plots) u?.redraw(false, true);
  });
}
