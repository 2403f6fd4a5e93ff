// The transactions' pages in Chromium against the fixture.
import assert from "node:assert/strict";
import { test } from "node:test";

import {
  contractUrl, isAccessible, listUrl, offersTheReceipt, showsState, showsTheTransaction, steps, transactionsUrl, transactionUrl,
} from "./assertions.mjs";
import { pages } from "./pages.mjs";
import { done, locked, tell, TXID, underWay } from "./transaction.mjs";

const { withPage, screenshot, tabsThrough } = pages();

const SILENT = /ERR_CONNECTION_(REFUSED|RESET|CLOSED)|ERR_EMPTY_RESPONSE|ERR_SOCKET_NOT_CONNECTED/;
const timer = (page, leg) => page.getByTestId(`leg-${leg}`).getByRole("timer");

test("a node without a transaction says so", async () => {
  await withPage({}, async ({ base, page }) => {
    await page.goto(transactionsUrl(base));
    await page.getByText("No transaction yet.").waitFor();
    await isAccessible(page);
  });
});

test("the list tells each transaction's state, ledgers and label, and leads to its page by keyboard alone", async () => {
  await withPage({}, async ({ fixture, base, page }) => {
    const other = done({ ...underWay(9_000), id: "ef".repeat(32) }, "abort");
    fixture.transactions = [underWay(9_000, { alarm: true }), other];
    await page.goto(listUrl(base));
    await tabsThrough(page, ["Skip to the content", "SOFIE console", "Contracts", "Transactions"]);
    await page.keyboard.press("Enter");
    await page.waitForURL(transactionsUrl(base));
    const row = page.getByRole("row").nth(1);
    await row.getByText("Locking its legs").waitFor();
    const cells = await row.getByRole("cell").allTextContents();
    assert.deepEqual(cells.slice(0, 6), [
      "Locking its legs", "cdcdcdcd…cdcd", "evm, calendar", "evm", "custodial", "9.0 s Alarm: too little",
    ]);
    await page.getByRole("row").nth(2).getByText("Aborted").waitFor();
    assert.equal(await page.getByRole("link", { name: "Transactions" }).getAttribute("aria-current"), "page");
    await isAccessible(page);
    await screenshot(page, "transactions");
    await page.getByRole("link", { name: "cdcdcdcd…cdcd" }).focus();
    await page.keyboard.press("Enter");
    await page.waitForURL(transactionUrl(base, TXID));
    await showsState(page, "Locking its legs");
  });
});

test("a transaction under way counts its slack down, alarms in words, and commits before the reader's eyes", async () => {
  await withPage({}, async ({ fixture, base, page }) => {
    fixture.transactions = [underWay(45_000)];
    await page.goto(transactionUrl(base, TXID));
    await page.getByTestId("connection").getByText("Live").waitFor();
    const first = await timer(page, 0).textContent();
    assert.match(first, /^in 4\d s$/);
    await page.waitForFunction((text) => document.querySelector("[data-testid=leg-0] [role=timer]").textContent !== text, first);
    assert.equal(await page.getByTestId("alarm").count(), 0);
    await page.getByTestId("leg-0").getByText("renter pays locker-co").waitFor();
    await page.getByTestId("leg-1").getByText("Records a commitment to data").waitFor();
    await isAccessible(page);

    fixture.transactions = [underWay(3_000, { alarm: true })];
    const alarm = page.getByRole("alert");
    const less = "less time is left than this node may need to notice and act";
    await alarm.getByText(`Leg 1 on calendar: ${less} before its lock must be sent.`).waitFor();
    await page.getByTestId("leg-0").getByText(`Alarm: ${less}.`).waitFor();
    await isAccessible(page);
    await screenshot(page, "slack");

    fixture.transactions = [locked(locked(underWay(20_000), 0), 1)];
    await page.getByTestId("leg-1").getByText("COMMIT must be sent by").waitFor();
    await page.getByTestId("leg-1").getByText("Locked", { exact: true }).waitFor();
    assert.equal(await alarm.count(), 0, "there is time again");

    const [one] = fixture.transactions;
    done(one, "commit");
    await showsTheTransaction(page, one);
    await page.getByTestId("deadline-decision").getByText(/^met, \d\d s to spare$/).waitFor();
    await offersTheReceipt(page, base, one);
    await isAccessible(page);
    await screenshot(page, "committed");
  });
});

test("a slack that is over says that it has passed", async () => {
  await withPage({}, async ({ fixture, base, page }) => {
    fixture.transactions = [underWay(0, { alarm: true })];
    await page.goto(transactionUrl(base, TXID));
    await page.getByTestId("deadline-leg-0").getByText("passed", { exact: true }).waitFor();
    assert.equal(await timer(page, 0).count(), 0);
    await page.getByTestId("alarm").waitFor();
  });
});

test("a refused leg is an alarm in words, and the abort says why", async () => {
  await withPage({}, async ({ fixture, base, page }) => {
    const one = locked(underWay(20_000), 1);
    const { slack: _, ...leg } = one.legs[0];
    one.legs[0] = { ...leg, state: "refused", reason: "the payer holds 3 of 25000000" };
    one.reason = "evm refuses: the payer holds 3 of 25000000";
    tell(one, ["prepare-refused", "evm", "the payer holds 3 of 25000000"], false);
    fixture.transactions = [done(one, "abort")];
    await page.goto(transactionUrl(base, TXID));
    await showsTheTransaction(page, one);
    await page.getByRole("alert").getByText("Leg 0 on evm was refused: the payer holds 3 of 25000000").waitFor();
    await page.getByTestId("reason").getByText(one.reason).waitFor();
    await page.getByTestId("leg-1").getByText("without effect for good").waitFor();
    await isAccessible(page);
    await screenshot(page, "aborted-transaction");
  });
});

test("a halted transaction alarms, says why and what the operator can do, and is looked at on", async () => {
  await withPage({}, async ({ fixture, base, page }) => {
    const one = Object.assign(underWay(9_000), {
      phase: "halted", decision: "commit", reason: "leg 1 refuses what was decided: it is full",
      next: "nothing by itself: the operator must look at its ledgers, then `sofie tx resume`",
    });
    one.legs = one.legs.map(({ slack: _, ...leg }) => leg);
    fixture.transactions = [one];
    await page.goto(transactionUrl(base, TXID));
    await showsState(page, "Halted");
    await page.getByRole("alert").getByText("stands still until an operator looks").waitFor();
    await page.getByTestId("next").getByText("sofie tx resume").waitFor();
    await page.getByTestId("reason").getByText("it is full").waitFor();
    await isAccessible(page);
    fixture.transactions = [done(underWay(9_000), "commit")];
    await showsState(page, "Committed");
    assert.equal(await page.getByRole("alert").count(), 0);
  });
});

test("a proposal says who proposes what to whom, and a watcher what it lacks", async () => {
  await withPage({}, async ({ fixture, base, page }) => {
    fixture.transactions = [Object.assign(underWay(9_000), {
      phase: "proposed",
      proposal: { by: "bob-co", participants: ["alice", "bob"], why: "the owner's rule asks", next: "sofie tx agree, or sofie tx decline" },
      watchers: [{ name: "tower", has: ["manifest"], lacks: "the claim, signed ahead" }],
    })];
    await page.goto(transactionUrl(base, TXID));
    await showsState(page, "Proposed");
    for (const text of ["peer bob-co", "alice, bob", "the owner's rule asks", "sofie tx agree, or sofie tx decline"]) {
      await page.getByText(text, { exact: true }).waitFor();
    }
    await page.getByText("has manifest; lacks more: the claim, signed ahead").waitFor();
    await isAccessible(page);
  });
});

test("a pivot's timelock and grace stand among the deadlines", async () => {
  await withPage({}, async ({ fixture, base, page }) => {
    const one = underWay(9_000);
    Object.assign(one.legs[0], { class: "hashlock", kind: "hashlock", timelock: new Date(Date.now() + 90_000).toISOString() });
    one.grace_end = new Date(Date.now() + 200_000).toISOString();
    fixture.transactions = [one];
    await page.goto(transactionUrl(base, TXID));
    await page.getByTestId("deadline-timelock-0").getByText(/^in 1 min \d\d s$/).waitFor();
    await page.getByTestId("deadline-grace").getByText(/^in 3 min \d\d s$/).waitFor();
    await isAccessible(page);
  });
});

test("of a node's ledgers the timeline shows those of the transaction, each step under its own", async () => {
  await withPage({}, async ({ fixture, base, page }) => {
    const ids = Array.from({ length: 9 }, (_, at) => `chain-${at}`);
    const [like] = fixture.ledgers;
    fixture.ledgers = ["unconcerned", "evm", ...ids].map((id) => ({ ...like, id }));
    const one = underWay(9_000);
    one.legs = ids.map((ledger, leg) => ({ ...one.legs[0], leg, ledger }));
    ids.forEach((ledger) => tell(one, ["prepared", ledger, "at height 7, index 0"]));
    fixture.transactions = [one];
    await page.goto(transactionUrl(base, TXID));
    const lanes = page.getByTestId("lane");
    await lanes.nth(11).waitFor();
    assert.deepEqual(await lanes.locator("b").allTextContents(), ["Parties", "evm", ...ids, "Things"]);
    const left = (part) => part.evaluate((element) => element.getBoundingClientRect().left);
    for (const [at] of ids.entries()) {
      const step = page.getByTestId("step").nth(at + 1);
      assert.equal(await left(step.locator(".rail.here")), await left(lanes.nth(at + 2)), `the dot of chain-${at}`);
    }
  });
});

test("a contract leads to its transaction and back", async () => {
  await withPage({}, async ({ fixture, base, page }) => {
    fixture.transactions = [{ ...done(underWay(9_000), "commit"), id: fixture.id, contract: true }];
    await page.goto(contractUrl(base, fixture.id));
    await page.getByRole("link", { name: fixture.id }).click();
    await page.waitForURL(transactionUrl(base, fixture.id));
    await page.getByRole("link", { name: "the contract that it carries out" }).click();
    await page.waitForURL(contractUrl(base, fixture.id));
  });
});

test("a lost node is told with the time of what is shown, and asked again at the reader's word", async () => {
  await withPage({ allow: [/ERR_FAILED/] }, async ({ fixture, base, page }) => {
    fixture.transactions = [underWay(45_000)];
    await page.goto(transactionUrl(base, TXID));
    await page.getByTestId("connection").getByText("Live").waitFor();
    // One question fails, the next ones hang until the button has asked.
    const [path, held] = ["**/api/v1/transactions/*", []];
    let [failed, answers] = [false, false];
    await page.route(path, (route) => {
      if (answers) return route.continue();
      if (failed) return void held.push(route);
      failed = true;
      return route.abort();
    });
    await page.getByTestId("lost").getByText("What you see is from").waitFor();
    await page.getByTestId("leg-0").waitFor();
    await isAccessible(page);
    fixture.transactions = [done(underWay(45_000), "commit")];
    const again = page.waitForRequest(path);
    await page.getByRole("button", { name: "Try now" }).click();
    await again;
    answers = true;
    // Those that the page has given up are gone.
    await Promise.allSettled(held.map((route) => route.continue()));
    await showsState(page, "Committed");
    await page.getByTestId("lost").waitFor({ state: "detached" });
  });
});

test("a list that goes stale says so and keeps what it has", async () => {
  await withPage({ allow: [SILENT] }, async ({ fixture, base, page }) => {
    fixture.transactions = [underWay(45_000)];
    await page.goto(transactionsUrl(base));
    await page.getByRole("row").nth(1).waitFor();
    await fixture.close();
    await page.getByRole("alert").getByText("The node does not answer").waitFor();
    await page.getByText("What you see is from").waitFor();
    assert.equal(await page.getByRole("row").count(), 2);
    await fixture.open();
  });
});

test("a txid that no transaction has is answered in the node's own words", async () => {
  await withPage({ allow: [/404/] }, async ({ base, page }) => {
    await page.goto(transactionUrl(base, TXID));
    await page.getByRole("alert").getByText("The node knows no transaction").waitFor();
    await page.getByRole("alert").getByText("List them with GET /api/v1/transactions").waitFor();
    await isAccessible(page);
  });
});

test("text from others stays text", async () => {
  await withPage({}, async ({ fixture, base, page }) => {
    const hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>";
    const one = Object.assign(underWay(9_000), { phase: "halted", reason: hostile });
    one.legs[1].opening.payload = hostile;
    fixture.transactions = [tell(one, ["halted", null, hostile], false)];
    await page.goto(transactionUrl(base, TXID));
    await page.getByTestId("leg-1").getByText(hostile).waitFor();
    assert.equal(await page.locator("main img, main script").count(), 0);
  });
});

test("dark and narrow it is as readable", async () => {
  const options = { colorScheme: "dark", reducedMotion: "reduce", viewport: { width: 390, height: 800 } };
  await withPage(options, async ({ fixture, base, page }) => {
    fixture.transactions = [locked(underWay(3_000, { alarm: true }), 1)];
    const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);
    await page.goto(transactionUrl(base, TXID));
    await steps(page, 2);
    await isAccessible(page);
    assert.ok(await fits(), "the page scrolls sideways");
    await screenshot(page, "transaction-narrow-dark");
    await page.goto(transactionsUrl(base));
    await page.getByRole("row").nth(1).waitFor();
    await isAccessible(page);
    assert.ok(await fits(), "the list scrolls sideways");
  });
});
