// What every test in a browser needs: chromium, patience, and axe.
"use strict";
const fs = require("fs");
const {chromium} = require("playwright-core");
const axeSource = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];

exports.PATIENCE = 60000;

exports.launch = () => chromium.launch({executablePath: "/usr/bin/chromium", args: FLAGS});

// What shuts people out, with how badly.
exports.axe = page => page.evaluate(async source => {
  (0, eval)(source);
  const result = await window.axe.run(document, {resultTypes: ["violations"]});
  return result.violations.map(v => ({impact: v.impact,
    words: `${v.id}: ${v.help}: ${v.nodes.map(n => n.target.join(" ")).slice(0, 5).join(", ")}`}));
}, axeSource);
