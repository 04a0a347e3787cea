// Opens the console of a daemon that is not ready, and prints what it says as JSON.
//   NODE_PATH=$(scripts/browser) node tests/e2e/browser/console_state.cjs URL [PICTURES_FOLDER]
"use strict";
const path = require("path");
const {launch, PATIENCE} = require("./shared.cjs");

const [, , url, pictures] = process.argv;

async function main() {
  const browser = await launch();
  try {
    const page = await browser.newPage({viewport: {width: 1280, height: 800}});
    page.setDefaultTimeout(PATIENCE);
    await page.goto(url);
    await page.waitForSelector("#state.missing");
    await page.waitForSelector("#facts-store");
    await page.waitForSelector("#documents-list .note");
    const found = {state: await page.locator("#state").innerText(), title: await page.title(),
      spoken: await page.locator("#live").textContent(), store: await page.locator("#facts-store").innerText(),
      documents: await page.locator("#documents-list").innerText()};
    if (pictures) await page.screenshot({path: path.join(pictures, "console-missing.png")});
    console.log(JSON.stringify(found));
  } finally {
    await browser.close();
  }
}

main().catch(error => { console.error(error); process.exit(1); });
