// Times and values as the page says them; the same as on the server's side (words.rs).
const two = n => String(n).padStart(2, "0");

function clock(s) {
  const whole = Math.round(Math.abs(s));
  const days = Math.floor(whole / 86400), rest = whole % 86400;
  const text = `${Math.floor(rest / 3600)}:${two(Math.floor(rest / 60) % 60)}:${two(rest % 60)}`;
  return (s <= -0.5 ? "-" : "") + (days ? `${days} d ` : "") + text;
}

// The wall clock at a time on the run; "" when it is not known when the run began.
function wall(run, s) {
  if (!run.start_ms) return "";
  return new Date(run.start_ms + s * 1000).toISOString().slice(0, 19).replace("T", " ") + " UTC";
}

const digits = (v, n) => Number(v.toPrecision(n)).toString();
const counted = n => Math.round(n).toLocaleString("en-US");

function latency(ms) {
  if (ms >= 1000) return digits(ms / 1000, 3) + " s";
  if (ms >= 1) return digits(ms, 3) + " ms";
  return digits(ms * 1000, 3) + " us";
}

function show(unit, v) {
  if (v == null) return "–";
  switch (unit) {
    case "ms": return latency(v);
    case "/s": return digits(v, 4) + "/s";
    case "%": return digits(v, 3) + " %";
    case "MiB": return v >= 10240 ? digits(v / 1024, 4) + " GiB" : digits(v, 5) + " MiB";
    case "cores": return digits(v, 3);
    default: return counted(v);
  }
}

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
