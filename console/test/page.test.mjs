// The page in Chromium against the fixture.
import assert from "node:assert/strict";
import { test } from "node:test";

import { contractUrl, isAccessible, listUrl, offersTheReceipt, showsState, showsTheStory, steps } from "./assertions.mjs";
import { GOOD_RUN } from "./fixture.mjs";
import { pages } from "./pages.mjs";

const { withPage, screenshot, tabsThrough } = pages();

/** Plays the first `count` steps of a good run. */
const play = (fixture, count) => GOOD_RUN.slice(fixture.contract.steps.length, count).forEach((step) => fixture.step(step));

test("an empty node says so", async () => {
  await withPage({}, async ({ fixture, base, page }) => {
    fixture.contracts = [];
    await page.goto(listUrl(base));
    await page.getByText("No contract yet.").waitFor();
    await isAccessible(page);
  });
});

test("a new contract appears in the list and leads to its page by keyboard alone", async () => {
  await withPage({}, async ({ fixture, base, page }) => {
    fixture.contracts = [];
    await page.goto(listUrl(base));
    await page.getByText("No contract yet.").waitFor();
    play(fixture, 2);
    fixture.contracts = [fixture.contract];
    await page.getByRole("link", { name: "abababab…abab" }).waitFor();
    assert.equal(await page.getByRole("row").count(), 2);
    await isAccessible(page);
    await screenshot(page, "list");
    await tabsThrough(page, ["Skip to the content", "SOFIE console", "Contracts", "Transactions", "abababab…abab"]);
    await page.keyboard.press("Enter");
    await page.waitForURL(contractUrl(base, fixture.id));
    await showsState(page, "Preparing");
  });
});

test("a good run arrives step by step, each in its lane, and ends with the receipt", async () => {
  await withPage({}, async ({ fixture, base, page }) => {
    await page.goto(contractUrl(base, fixture.id));
    await page.getByTestId("connection").getByText("Live").waitFor();
    await page.getByText("Nothing has happened yet.").waitFor();
    play(fixture, 4);
    assert.equal((await steps(page, 4)).length, 4);
    assert.equal(await page.getByTestId("receipt").count(), 0);
    fixture.step(GOOD_RUN[4], { state: "committed", next: "Without evidence the renter may take the money back." });
    await showsState(page, "Committed");
    await page.getByTestId("announcer").getByText("Decided on evm: COMMIT").waitFor({ state: "attached" });
    await screenshot(page, "running");
    play(fixture, GOOD_RUN.length);
    fixture.end("settled", "Nothing more happens: locker-co is paid.");
    await page.getByTestId("connection").getByText("Complete").waitFor();
    await showsTheStory(page, fixture.contract);
    await offersTheReceipt(page, base, fixture.contract);
    assert.equal(await page.title(), "settled · open · SOFIE console");
    await isAccessible(page);
    await screenshot(page, "settled");
  });
});

test("deadlines count down, are met with slack, or pass", async () => {
  // The contract began a minute ago: the decision's deadline is 40 s past, the evidence's 30 s ahead.
  await withPage({ started: Date.now() - 60_000 }, async ({ fixture, base, page }) => {
    play(fixture, 4);
    await page.goto(contractUrl(base, fixture.id));
    const deadline = (name, state) => page.locator(`[data-testid=deadline-${name}][data-state=${state}]`);
    await deadline("decision", "passed").waitFor();
    const evidence = deadline("evidence", "running").getByRole("timer");
    const first = await evidence.textContent();
    assert.match(first, /^in (\d\d|\d\.\d) s$/);
    await page.waitForFunction((text) => document.querySelector("[data-testid=deadline-evidence] b").textContent !== text, first);
    play(fixture, 5);
    // Decided 1.4 s after the beginning, due 20 s after it.
    await deadline("decision", "met").getByText("met, 18 s to spare").waitFor();
    play(fixture, GOOD_RUN.length);
    fixture.end("settled", "Nothing more happens.");
    await deadline("refund", "void").waitFor();
    await deadline("evidence", "met").waitFor();
  });
});

test("a refusal by the second ledger is shown where it happened, with its reason", async () => {
  await withPage({}, async ({ fixture, base, page }) => {
    await page.goto(contractUrl(base, fixture.id));
    play(fixture, 3);
    fixture.step(["prepared", "calendar", "the calendar refuses: it takes no entries now"], { ok: false });
    fixture.step(["decided", "evm", "ABORT, by the node"]);
    fixture.step(["reverted", "evm", "25000000 paid back to renter"]);
    fixture.end("aborted", "Nothing more happens: nothing moved.", "ledger calendar refuses");
    await showsTheStory(page, fixture.contract);
    assert.deepEqual((await steps(page, 4))[3], ["prepared", "ledger:calendar", false]);
    await page.getByTestId("reason").getByText("ledger calendar refuses").waitFor();
    await offersTheReceipt(page, base, fixture.contract);
    await screenshot(page, "aborted");
  });
});

test("a lost connection is told, and after it no step is missing or doubled", async () => {
  const allow = [/ERR_CONNECTION_(REFUSED|RESET|CLOSED)|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_SOCKET_NOT_CONNECTED/];
  await withPage({ allow }, async ({ fixture, base, page }) => {
    play(fixture, 3);
    await page.goto(contractUrl(base, fixture.id));
    await steps(page, 3);
    await page.getByTestId("connection").getByText("Live").waitFor();
    await fixture.close();
    await page.getByTestId("lost").waitFor();
    await isAccessible(page);
    await screenshot(page, "lost");
    play(fixture, 6);
    assert.equal((await steps(page, 3)).length, 3);
    await fixture.open();
    await steps(page, 6);
    await page.getByTestId("lost").waitFor({ state: "detached" });
    assert.equal(fixture.last_event_id, "3", "the stream goes on where it broke");
    await showsTheStory(page, fixture.contract);
  });
});

test("a contract that has ended is shown whole to whoever comes later", async () => {
  await withPage({}, async ({ fixture, base, page }) => {
    play(fixture, GOOD_RUN.length);
    fixture.end("settled", "Nothing more happens: locker-co is paid.");
    await page.goto(contractUrl(base, fixture.id));
    await page.getByTestId("connection").getByText("Complete").waitFor();
    await showsTheStory(page, fixture.contract);
    await offersTheReceipt(page, base, fixture.contract);
  });
});

test("a refused contract offers no receipt", async () => {
  await withPage({}, async ({ fixture, base, page }) => {
    play(fixture, 1);
    fixture.end("refused", "Nothing more happens.", "locker-co does not offer this action");
    await page.goto(contractUrl(base, fixture.id));
    await page.getByText("A refused contract has no receipt").waitFor();
    assert.equal(await page.getByTestId("receipt").count(), 0);
  });
});

test("an id that no contract has is answered in the node's own words", async () => {
  await withPage({ allow: [/404/] }, async ({ base, page }) => {
    await page.goto(contractUrl(base, "cd".repeat(32)));
    await page.getByRole("alert").getByText("The node knows no contract").waitFor();
    await page.getByRole("alert").getByText("List them with GET /api/v1/contracts").waitFor();
    await isAccessible(page);
  });
});

test("text from devices and ledgers stays text", async () => {
  await withPage({}, async ({ fixture, base, page }) => {
    const hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>";
    fixture.contract.thing = hostile;
    fixture.step(["offered", null, hostile]);
    await page.goto(contractUrl(base, fixture.id));
    await page.getByTestId("step").getByText(hostile).waitFor();
    assert.equal(await page.locator("main img, main script").count(), 0);
  });
});

test("dark, narrow and without motion it is as readable", async () => {
  const options = { colorScheme: "dark", reducedMotion: "reduce", viewport: { width: 390, height: 800 } };
  await withPage(options, async ({ fixture, base, page }) => {
    play(fixture, 9);
    Object.assign(fixture.contract, { state: "actuated" });
    await page.goto(contractUrl(base, fixture.id));
    await steps(page, 9);
    await page.getByTestId("connection").getByText("Live").waitFor();
    await isAccessible(page);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
    assert.equal(wide, false, "the page scrolls sideways");
    const moving = await page.getByTestId("step").first().evaluate((step) => getComputedStyle(step).animationName);
    assert.equal(moving, "none");
    await screenshot(page, "narrow-dark");
  });
});
