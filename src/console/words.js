// Values as the page says them.

const digits = (value, places) => Number(value.toPrecision(places)).toString();

export const count = value => value == null ? "–" : Math.round(value).toLocaleString("en-US");

export function ms(value) {
  if (value == null) return "–";
  if (value >= 1000) return `${digits(value / 1000, 3)} s`;
  if (value >= 1 || value == 0) return `${digits(value, 3)} ms`;
  return `${digits(value * 1000, 3)} µs`;
}

export function perSecond(value) {
  if (value == null) return "–";
  return `${value >= 100 ? count(value) : digits(value, 3)}/s`;
}

export function percent(share) {
  if (share == null) return "–";
  return `${digits(share * 100, 3)} %`;
}

export function bytes(value) {
  if (value == null) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let place = 0;
  while (value >= 1024 && place < units.length - 1) {
    value /= 1024;
    place += 1;
  }
  return `${place ? digits(value, 3) : value} ${units[place]}`;
}

// 5 s, 2 min, 3 h 20 min, 4 d 2 h.
export function duration(seconds) {
  if (seconds == null) return "–";
  if (seconds < 60) return `${digits(seconds, 3)} s`;
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const said = [];
  let rest = Math.round(seconds);
  for (const [length, unit] of parts) {
    const whole = Math.floor(rest / length);
    rest -= whole * length;
    if (whole) said.push(`${whole} ${unit}`);
    else if (said.length) break;
    if (said.length == 2) break;
  }
  return said.join(" ");
}

const two = number => String(number).padStart(2, "0");

// 2026-11-30 02:46, in UTC; text that is no time stays as it is.
export function moment(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return text || "–";
  return at.toISOString().slice(0, 16).replace("T", " ");
}

export function clock(at) {
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

export const plural = (number, one, many) => `${count(number)} ${number == 1 ? one : many}`;
