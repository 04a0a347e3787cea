// Plots: lines with dashes of their own, thresholds and fitted slopes across, marks upright.
const page = document.documentElement;
const INCREMENTS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800,
  14400, 21600, 43200, 86400, 172800, 604800];
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [16, 5], [5, 3, 1, 3, 1, 3]];
const LEFT = 66, RIGHT = 26, FLAGS = 20, HEIGHT = 230, PRINTED_HEIGHT = 205;

// Colours are those of the style sheet, so that dark mode and print have one home.
let theme;
function readTheme() {
  const style = getComputedStyle(page);
  const of = name => style.getPropertyValue(name).trim();
  theme = {
    ink: of("--ink"), quiet: of("--quiet"), rule: of("--rule"), paper: of("--paper"),
    lines: ["--a", "--b", "--c", "--d", "--e", "--f"].map(of),
    dark: matchMedia("(prefers-color-scheme: dark)").matches && !page.classList.contains("print"),
  };
}
readTheme();

const color = i => theme.lines[i % theme.lines.length];
const dash = i => DASHES[(i + Math.floor(i / theme.lines.length)) % DASHES.length];
const scaled = lengths => lengths.map(length => length * devicePixelRatio);

// A logarithmic axis with some air at its ends; of equal values half a decade.
function ratios(min, max) {
  min = Math.max(min, 1e-3);
  max = Math.max(max, min);
  const air = Math.max((max / min) ** 0.06, max / min < 2 ? 1.8 : 1.15);
  return [min / air, max * air];
}

function span(plot) {
  const limits = plot.limits.map(limit => limit.value);
  return (u, min, max) => {
    if (min == null) [min, max] = plot.axis == "log" ? [1, 10] : [0, 1];
    if (plot.axis == "fitted") return uPlot.rangeNum(min, max, 0.1, true);
    min = Math.min(min, ...limits);
    max = Math.max(max, ...limits);
    if (plot.axis == "zero") return [0, max > 0 ? max * 1.08 : 1];
    return ratios(min, max);
  };
}

// Whole multiples in each decade, wherever the axis begins: uPlot's own go on from the odd end of the axis.
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

// Of a logarithmic axis 1, 2 and 5 of each decade have a name, and no odd end of the axis.
function isRound(v) {
  const lead = v / 10 ** Math.floor(Math.log10(v) + 1e-9);
  return [1, 2, 5].some(round => Math.abs(lead - round) < 1e-6);
}

function axes(unit, axis) {
  const common = {
    stroke: () => theme.ink, font: "12px system-ui, sans-serif",
    grid: {stroke: () => theme.rule, width: 1}, ticks: {stroke: () => theme.rule, size: 5},
  };
  const time = (u, splits, axis, space, step) =>
    splits.map(s => s == null ? "" : step >= 3600 ? `${s / 3600} h` : step < 1 ? `${digits(s, 6)} s` : clock(s));
  return [
    {...common, incrs: INCREMENTS, values: time, space: 76, size: 30},
    {...common, size: LEFT, ...(axis == "log" && {splits: decades}), values: (u, splits) => splits.map(
      v => v == null || axis == "log" && !isRound(v) ? "" : show(unit, v))},
  ];
}

// A text that stays readable over lines.
function label(ctx, text, x, y) {
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.lineJoin = "round";
  ctx.setLineDash([]);
  ctx.strokeStyle = theme.paper;
  ctx.lineWidth = 4 * devicePixelRatio;
  ctx.strokeText(text, x, y);
  ctx.fillStyle = theme.ink;
  ctx.fillText(text, x, y);
}

function stroke(ctx, width, lengths, points) {
  ctx.beginPath();
  ctx.lineWidth = width * devicePixelRatio;
  ctx.setLineDash(scaled(lengths));
  points.forEach(([x, y], i) => i ? ctx.lineTo(x, y) : ctx.moveTo(x, y));
  ctx.stroke();
}

// How many pieces of lines pass through a rectangle, in pixels of the canvas.
function crossings(u, [x0, x1, y0, y1]) {
  const idx = x => u.valToIdx(u.posToVal(x, "x", true)), [xs] = u.data;
  if (!xs || !xs.length) return 0;
  const from = Math.max(idx(x0) - 1, 0), to = Math.min(idx(x1) + 1, xs.length - 1);
  let count = 0;
  u.data.slice(1).forEach((values, n) => {
    if (!values || !u.series[n + 1] || !u.series[n + 1].show) return;
    let last = null;
    for (let i = from; i <= to; i++) {
      const here = typeof values[i] == "number"
        ? [u.valToPos(xs[i], "x", true), u.valToPos(values[i], "y", true)] : null;
      const [ax, ay] = last || here || [0, 0], [bx, by] = here || [0, 0];
      if (here && Math.max(ax, bx) >= x0 && Math.min(ax, bx) <= x1 &&
        Math.max(ay, by) >= y0 && Math.min(ay, by) <= y1) count++;
      last = here;
    }
  });
  return count;
}

// Thresholds and fitted slopes; their names where they lie on no line and not upon each other, as far as
// there is such a place.
function across(u, plot) {
  const {ctx, bbox: {left, top, width, height}} = u, px = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  const taken = [], levels = plot.limits.map(limit => u.valToPos(limit.value, "y", true));
  ctx.font = `${11 * px}px system-ui, sans-serif`;
  // The best of several places for the left end of a text's base line.
  const name = (text, places, own) => {
    const wide = ctx.measureText(text).width;
    let best = null;
    for (let [x, y] of places) {
      x = Math.max(Math.min(x, left + width - wide - 6 * px), left + 6 * px);
      y = Math.min(Math.max(y, top + 12 * px), top + height - 4 * px);
      const box = [x - 3 * px, x + wide + 3 * px, y - 10 * px, y + 3 * px];
      const upon = taken.filter(b => b[0] < box[1] && box[0] < b[1] && b[2] < box[3] && box[2] < b[3]);
      // On the line of another threshold it would be taken for that one's.
      const limits = levels.filter(y => box[2] < y && y < box[3] + (y == own ? 0 : 8 * px))
        .map(y => y == own ? 2 : 50);
      const cost = limits.reduce((sum, one) => sum + one, 1000 * upon.length) + crossings(u, box);
      if (!best || cost < best.cost) best = {x, y, box, cost};
      if (cost == 0) break;
    }
    taken.push(best.box);
    ctx.textAlign = "left";
    label(ctx, text, best.x, best.y);
  };
  const along = [1, 0, 0.5, 0.25, 0.75, 0.125, 0.375, 0.625, 0.875];
  for (const limit of [...plot.limits].sort((a, b) => b.value - a.value)) {
    const y = u.valToPos(limit.value, "y", true);
    ctx.strokeStyle = theme.ink;
    stroke(ctx, 1.5, [12, 4, 3, 4], [[left, y], [left + width, y]]);
    const above = along.map(share => [left + share * width, y - 4 * px]);
    const below = along.map(share => [left + share * width, y + 13 * px]);
    name(limit.label, [...above, ...below], y);
  }
  for (const slope of plot.slopes) {
    const at = ([x, y]) => [u.valToPos(x, "x", true), u.valToPos(y, "y", true)];
    const [from, to] = [at(slope.from), at(slope.to)];
    ctx.strokeStyle = theme.ink;
    stroke(ctx, 2, [3, 3], [from, to]);
    const level = x => from[1] + (to[1] - from[1]) * (x - from[0]) / Math.max(to[0] - from[0], 1);
    const xs = [...along].sort().map(share => Math.max(from[0], left) + share * (to[0] - from[0]));
    name(slope.label, [-6, -20, 16, 30].flatMap(down => xs.map(x => [x, level(x) + down * px])));
  }
  ctx.restore();
}

// Marks: upright lines, bands for what lasted, and flags above. Flags that would lie upon each other
// are one, with how many more there are.
function marks(u, run, flags) {
  const {ctx, bbox: {left, top, width, height}} = u, px = devicePixelRatio;
  flags.length = 0;
  ctx.save();
  for (const mark of run.marks) {
    const from = u.valToPos(mark.at_s, "x", true);
    const to = mark.to_s == null ? from : u.valToPos(mark.to_s, "x", true);
    if (to < left || from > left + width) continue;
    const start = Math.max(from, left), end = Math.min(to, left + width);
    ctx.globalAlpha = 0.12;
    ctx.fillStyle = theme.ink;
    if (end > start) ctx.fillRect(start, top, end - start, height);
    ctx.globalAlpha = 0.7;
    ctx.strokeStyle = theme.ink;
    if (from >= left) stroke(ctx, 1, [4, 3], [[from, top - 3 * px], [from, top + height]]);
    ctx.globalAlpha = 1;
    const before = flags.at(-1);
    if (before && start / px - before.x < 26) before.more++;
    else flags.push({mark, x: start / px, more: 0});
  }
  ctx.setLineDash([]);
  ctx.lineWidth = px;
  ctx.font = `bold ${10 * px}px system-ui, sans-serif`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.strokeStyle = ctx.fillStyle = theme.ink;
  for (const {mark, x, more} of flags) {
    const text = more ? `${mark.flag} +${more}` : mark.flag;
    const wide = ctx.measureText(text).width + 6 * px;
    ctx.strokeRect(x * px - wide / 2, top - 17 * px, wide, 14 * px);
    ctx.fillText(text, x * px, top - 9.5 * px);
  }
  ctx.restore();
}

// What every plot of the page has in common; `plot` may be the heat map's.
function options(run, plot, flags, hooks) {
  return {
    width: 600, height: HEIGHT, padding: [FLAGS, RIGHT, 0, 0], legend: {show: false},
    scales: {
      x: {time: false, range: (u, min, max) => [min, max]},
      y: {distr: plot.axis == "log" ? 3 : 1, range: span(plot)},
    },
    axes: axes(plot.unit, plot.axis),
    cursor: {
      y: false, drag: {x: true, y: false, dist: 5},
      sync: {key: "page", setSeries: false, scales: ["x", null], filters: {pub: type => /move|leave/.test(type)}},
      bind: {dblclick: () => () => (view.all(), null)},
    },
    hooks: {
      draw: [u => { across(u, plot); marks(u, run, flags); }],
      setScale: [(u, key) => { if (key == "x") view.follow(u); }],
      setCursor: [hooks.cursor],
      ...hooks.more,
    },
    series: [{}],
  };
}

function lines(run, plot) {
  const flags = [];
  const made = {run, plot, flags, read: null};
  const wanted = options(run, plot, flags, {cursor: u => made.read && made.read(u)});
  plot.lines.forEach((line, i) => wanted.series.push({
    label: line.name, stroke: () => color(i), width: i ? 1.25 : 1.75, dash: scaled(dash(i)),
    points: {size: 4, fill: () => color(i)},
  }));
  made.options = wanted;
  made.data = [run.x, ...plot.lines.map(line => line.values)];
  made.say = (u, i) => plot.lines.filter((_, n) => u.series[n + 1].show)
    .map((line) => `${line.name} ${show(plot.unit, line.values[i])}`).join(", ");
  return made;
}
