// Opens a report in chromium as a person does, without a network, and prints what it finds as JSON.
//   NODE_PATH=$(scripts/browser) node tests/e2e/browser/look.cjs REPORT.html [PICTURES_FOLDER]
// With a folder it also leaves pictures there: light (whole and in parts), dark, grey, narrow, and a PDF as
// printed.
"use strict";
const fs = require("fs");
const path = require("path");
const {pathToFileURL} = require("url");
const {axe, launch, PATIENCE} = require("./shared.cjs");

const [, , file, pictures] = process.argv;
const url = pathToFileURL(path.resolve(file)).href;

// Everything that goes wrong or out.
function listen(page, found) {
  page.on("request", request => {
    if (request.url() != url && !request.url().startsWith("data:")) found.requests.push(request.url());
  });
  page.on("console", message => {
    if (["error", "warning"].includes(message.type())) found.errors.push(message.text());
  });
  page.on("pageerror", error => found.errors.push(String(error)));
}

async function open(browser, options, found) {
  const context = await browser.newContext({offline: true, viewport: {width: 1200, height: 900}, ...options});
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  listen(page, found);
  const started = Date.now();
  await page.goto(url);
  if (options.javaScriptEnabled !== false) {
    await page.waitForFunction(() => document.documentElement.dataset.drawn == "yes");
    await page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))));
  }
  return {page, took_ms: Date.now() - started};
}

// Of each plot how many different colours its middle has: a blank one has a single one.
const colours = page => page.evaluate(() => [...document.querySelectorAll(".canvas")].map(box => {
  const canvas = box.querySelector("canvas");
  if (!canvas) return {plot: box.dataset.plot, colours: 0};
  const pixels = new Uint32Array(canvas.getContext("2d")
    .getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return {plot: box.dataset.plot, colours: new Set(pixels).size};
}));

const violations = async page => (await axe(page)).map(found => found.words);

const spoken = (page, before) => page.waitForFunction(
  before => { const text = document.getElementById("live").textContent; return text != before && text; },
  before).then(handle => handle.jsonValue());

async function parts(page, name) {
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  for (let y = 0, part = 1; y < height; y += 1500, part++) {
    const clip = {x: 0, y, width: 1200, height: Math.min(1500, height - y)};
    await page.screenshot({path: path.join(pictures, `${name}-${part}.png`), fullPage: true, clip});
  }
}

// Moves by keys from the first plot, and sees what is said and what the other plots show.
async function keys(page) {
  const frame = page.locator(".frame").first();
  await frame.focus();
  await page.keyboard.press("ArrowRight");
  const first = await spoken(page, "");
  await page.keyboard.press("ArrowRight");
  const second = await spoken(page, first);
  await page.keyboard.press("n");
  const mark = await spoken(page, second);
  const others = await page.locator(".legend .when").allTextContents();
  const axis = () => page.evaluate(() => JSON.stringify(view.min) + " " + JSON.stringify(view.max));
  const whole = await axis();
  await page.keyboard.press("+");
  const near = await axis();
  await page.keyboard.press("0");
  const back = await axis();
  const outline = await frame.evaluate(element => getComputedStyle(element).outlineStyle);
  return {first, second, mark, others, whole, near, back, outline};
}

// Drags over the first plot with the mouse.
async function drag(page) {
  const over = page.locator(".u-over").first();
  await over.scrollIntoViewIfNeeded();
  const box = await over.boundingBox();
  await page.mouse.move(box.x + box.width * 0.4, box.y + 60);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 80, {steps: 4});
  await page.mouse.up();
  const share = await page.evaluate(() => new Promise(done => setTimeout(
    () => done((view.max - view.min) / view.length), 50)));
  await page.keyboard.press("Escape");
  return share;
}

async function main() {
  const found = {requests: [], errors: []};
  const browser = await launch();
  try {
    const {page, took_ms} = await open(browser, {colorScheme: "light"}, found);
    found.took_ms = took_ms;
    found.plots = await colours(page);
    found.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    found.violations = await violations(page);
    found.snapshot = await page.locator("main").ariaSnapshot();
    // A line at 5: through a box around it, and past one above it.
    found.crossings = await page.evaluate(() => [[0.5, 1.5, 4, 6], [0.5, 1.5, 6, 8]].map(box => crossings({
      data: [[0, 1, 2], [5, 5, 5]], series: [{}, {show: true}],
      valToIdx: Math.round, posToVal: x => x, valToPos: x => x,
    }, box) > 0));
    if (found.plots.length) {
      found.keys = await keys(page);
      found.dragged = await drag(page);
    }
    if (pictures) {
      fs.copyFileSync(file, path.join(pictures, "report.html"));
      await page.mouse.move(0, 0);
      await parts(page, "light");
      await page.screenshot({path: path.join(pictures, "light.png"), fullPage: true});
      await page.pdf({path: path.join(pictures, "print.pdf"), format: "A4", printBackground: false});
      await page.addStyleTag({content: "html{filter:grayscale(1)}"});
      await page.screenshot({path: path.join(pictures, "grey.png"), fullPage: true});
    }
    const dark = await open(browser, {colorScheme: "dark"}, found);
    found.dark_violations = await violations(dark.page);
    if (pictures) await dark.page.screenshot({path: path.join(pictures, "dark.png"), fullPage: true});
    const narrow = await open(browser, {viewport: {width: 390, height: 844}}, found);
    found.narrow_overflow = await narrow.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    found.narrow_results = await narrow.page.evaluate(() =>
      [...document.querySelectorAll("#thresholds + .scroll td:nth-child(2)")].map(cell =>
        cell.getBoundingClientRect().right <= innerWidth && cell.textContent));
    if (pictures) await narrow.page.screenshot({path: path.join(pictures, "narrow.png"), fullPage: true});
    const plain = await open(browser, {javaScriptEnabled: false}, found);
    found.without_script = await plain.page.locator("main").innerText();
  } finally {
    await browser.close();
  }
  console.log(JSON.stringify(found));
}

main().catch(error => { console.error(error); process.exit(1); });
