// Uses the console of a daemon that has keys, and prints what it finds as JSON.
//   NODE_PATH=$(scripts/browser) node tests/e2e/browser/console_keys.cjs URL KEY BOUND_KEY [PICTURES_FOLDER]
"use strict";
const path = require("path");
const {axe, launch, PATIENCE} = require("./shared.cjs");

const [, , url, key, bound, pictures] = process.argv;

async function open(browser, found) {
  const context = await browser.newContext({viewport: {width: 1280, height: 800}});
  context.on("console", message => {
    if (["error", "warning"].includes(message.type())) found.errors.push(message.text());
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  await page.goto(url);
  await page.waitForSelector("#state.ready");
  return page;
}

const kept = page => page.evaluate(() => JSON.stringify(sessionStorage) + JSON.stringify(localStorage) + document.cookie);

async function give(page, text, isKept) {
  await page.fill("#key", text);
  if (isKept) await page.check("#keep");
  await page.keyboard.press("Enter");
}

async function main() {
  const found = {errors: []};
  const browser = await launch();
  try {
    const page = await open(browser, found);
    found.asks = await page.locator("#access").innerText();
    found.before = await page.locator("main").innerText();
    found.violations = await axe(page);
    if (pictures) await page.screenshot({path: path.join(pictures, "console-key.png")});
    await page.focus("#key");
    await give(page, key, false);
    await page.waitForSelector("#runs-list table");
    await page.waitForSelector("#documents-list table");
    found.after = await page.locator("main").innerText();
    found.kept = await kept(page);
    found.errors_with_key = [...found.errors];
    const [tab] = await Promise.all([page.context().waitForEvent("page"), page.locator("#runs-list a").first().click()]);
    await tab.waitForFunction(() => document.documentElement.dataset.drawn == "yes");
    found.report = await tab.evaluate(() => ({title: document.title, origin: window.origin,
      canvases: document.querySelectorAll("canvas").length}));
    await tab.close();
    // Reloaded, the key is gone; ticked, it stays until the tab is closed.
    await page.reload();
    await page.waitForSelector("#access:not([hidden])");
    await give(page, key, true);
    await page.waitForSelector("#runs-list table");
    found.kept_ticked = await kept(page);
    await page.reload();
    await page.waitForSelector("#runs-list table");
    await page.click("#forget");
    await page.waitForSelector("#access:not([hidden])");
    found.kept_forgotten = await kept(page);
    found.forgotten = await page.locator("main").innerText();

    const other = await open(browser, {errors: []});
    await give(other, "alfred_wrong", false);
    await other.waitForSelector("#key-problem:not([hidden])");
    found.wrong = await other.locator("#access").innerText();

    const few = {errors: []};
    const tenant = await open(browser, few);
    await give(tenant, bound, false);
    await tenant.waitForSelector("#overview-note:not([hidden])");
    await tenant.waitForSelector("#documents-list table");
    found.bound = {overview: await tenant.locator("#overview").innerText(),
      runs: await tenant.locator("#runs").innerText(), documents: await tenant.locator("#documents-list").innerText(),
      errors: few.errors, violations: await axe(tenant)};
    if (pictures) await tenant.screenshot({path: path.join(pictures, "console-bound.png"), fullPage: true});
  } finally {
    await browser.close();
  }
  console.log(JSON.stringify(found));
}

main().catch(error => { console.error(error); process.exit(1); });
