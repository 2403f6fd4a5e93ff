// One Chromium for a file of tests; for each test a fixture and a page on it.
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";

import { launch, openPage } from "./browser.mjs";
import { Fixture } from "./fixture.mjs";

const assets = process.env.SOFIE_CONSOLE_ASSETS ?? fileURLToPath(new URL("../../crates/node/console", import.meta.url));

export function pages() {
  let browser;
  before(async () => {
    browser = await launch();
  });
  after(() => browser.close());
  return {
    /** A fixture and a page on it; both are gone when `body` is done. */
    async withPage(options, body) {
      const fixture = new Fixture(assets, options.started);
      const base = await fixture.open();
      const { page, offences } = await openPage(browser, base, options);
      try {
        await body({ fixture, base, page });
        assert.deepEqual(offences, []);
      } finally {
        await page.context().close();
        await fixture.close();
      }
    },
    /** Tab leads to each of `texts` in turn. Before the page's first paint there is nothing to lead to. */
    async tabsThrough(page, texts) {
      await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0);
      for (const expected of texts) {
        await page.keyboard.press("Tab");
        assert.equal((await page.evaluate(() => document.activeElement.textContent)).trim(), expected);
      }
    },
    async screenshot(page, name) {
      const folder = process.env.SOFIE_CONSOLE_SHOTS;
      if (folder) await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true, animations: "disabled" });
    },
  };
}
