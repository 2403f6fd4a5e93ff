// Chromium for the page's tests. Each page refuses what a strict reader refuses: a request to another host, a line in
// the browser's console, a breach of the content security policy.
import assert from "node:assert/strict";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

import { chromium } from "playwright-core";

/** Debian's Chromium, or the one that $CHROMIUM names. */
function executable() {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const candidates = [process.env.CHROMIUM, ...folders.map((folder) => join(folder, "chromium"))].filter(Boolean);
  const found = candidates.find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  assert.ok(found, "no chromium on the path: run `cargo xtask peers install`, or set CHROMIUM");
  return found;
}

export const launch = () => chromium.launch({ executablePath: executable(), args: ["--no-sandbox"] });

/** A page that keeps a list of its offences; `allow` names those that a test provokes. */
export async function openPage(browser, base, { allow = [], ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  const page = await context.newPage();
  const offences = [];
  const note = (text) => {
    if (!allow.some((pattern) => pattern.test(text))) offences.push(text);
  };
  const origin = new URL(base).origin;
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.origin !== origin && url.protocol !== "blob:") note(`a request to ${url}`);
  });
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) note(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => note(`uncaught: ${error.message}`));
  return { page, offences };
}
