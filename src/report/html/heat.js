// The heat map: columns of time, rows of latency, the deeper the colour the more requests. The colours
// are cividis (Nuñez, Anderton and Renslow, PLOS ONE 2018), whose lightness rises evenly: they read in
// grey and without colour vision. Few is what is nearest to the paper.
const CIVIDIS = [[0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115], [138, 134, 120],
  [165, 156, 116], [195, 179, 105], [225, 204, 85], [254, 232, 56]];

// `share` from 0 (one request) to 1 (the most).
function ramp(share) {
  const at = (theme.dark ? 0.22 + 0.78 * share : 0.9 * (1 - share)) * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(at), CIVIDIS.length - 2);
  return CIVIDIS[low].map((c, i) => Math.round(c + (CIVIDIS[low + 1][i] - c) * (at - low)));
}

function heatMap(run, heat, limits) {
  const columns = heat.columns, per = heat.per_decade;
  let lowest = Infinity, highest = -Infinity, most = 1;
  for (const [first, ...counts] of columns) {
    if (first == null) continue;
    lowest = Math.min(lowest, first);
    highest = Math.max(highest, first + counts.length - 1);
    for (const count of counts) most = Math.max(most, count);
  }
  if (lowest > highest) return null;
  const ms = row => 10 ** (row / per) / 1000;
  const share = count => most > 1 ? Math.log(count) / Math.log(most) : 1;
  const plot = {title: "Response, all requests", unit: "ms", axis: "log", limits, slopes: [], lines: []};

  function paint(u) {
    const {ctx, bbox: {left, top, width, height}} = u;
    const {min, max} = u.scales.x;
    const from = Math.max(0, Math.floor(min / heat.column_s));
    const to = Math.min(columns.length, Math.ceil(max / heat.column_s));
    const rows = highest - lowest + 1;
    // No wider than there are pixels, or columns would be left out: of those that share one the most.
    const bins = Math.max(1, Math.min(to - from, Math.floor(width)));
    if (to <= from) return;
    const cells = new Uint32Array(bins * rows);
    for (let c = from; c < to; c++) {
      const bin = Math.floor((c - from) * bins / (to - from));
      const column = columns[c];
      for (let i = 1; i < column.length; i++) {
        const cell = (rows - 1 - (column[0] + i - 1 - lowest)) * bins + bin;
        cells[cell] = Math.max(cells[cell], column[i]);
      }
    }
    const image = new ImageData(bins, rows);
    cells.forEach((count, i) => {
      if (count) image.data.set([...ramp(share(count)), 255], i * 4);
    });
    const small = new OffscreenCanvas(bins, rows);
    small.getContext("2d").putImageData(image, 0, 0);
    const x = s => u.valToPos(s, "x", true), y = row => u.valToPos(ms(row), "y", true);
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    ctx.imageSmoothingEnabled = false;
    const right = x(to * heat.column_s), x0 = x(from * heat.column_s), y0 = y(highest + 1);
    ctx.drawImage(small, x0, y0, right - x0, y(lowest) - y0);
    ctx.restore();
  }

  const flags = [];
  const made = {run, plot, flags, read: null, most};
  made.options = options(run, plot, flags, {
    cursor: u => made.read && made.read(u),
    more: {drawAxes: [paint]},
  });
  made.options.scales.y.range = () => ratios(
    Math.min(ms(lowest), ...limits.map(l => l.value)),
    Math.max(ms(highest + 1), ...limits.map(l => l.value)));
  made.options.series.push({label: "requests", points: {show: false}, paths: () => null});
  made.options.cursor.points = {show: false};
  made.data = [columns.map((_, i) => (i + 0.5) * heat.column_s), columns.map(() => null)];
  made.say = (u, i) => {
    const [first, ...counts] = columns[i] || [];
    if (first == null) return "nothing recorded";
    const row = first + counts.indexOf(Math.max(...counts)), top = first + counts.length;
    const sum = counts.reduce((a, b) => a + b, 0);
    return `${counted(sum)} requests, most at ${latency(ms(row))} to ${latency(ms(row + 1))}, ` +
      `slowest up to ${latency(ms(top))}`;
  };
  made.ramp = () => Array.from({length: 9}, (_, i) => `rgb(${ramp(i / 8).join()})`).join(",");
  return made;
}
