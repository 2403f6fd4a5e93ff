// The transactions' pages in Chromium on a real node: what commits, what is under way until it aborts, what is refused.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import {
  isAccessible, offersTheReceipt, showsState, showsTheTransaction, transactionsUrl, transactionUrl,
} from "./assertions.mjs";
import { launch, openPage } from "./browser.mjs";
import { shown, startNode, submit } from "./real.mjs";

let [browser, node] = [];
before(async () => {
  [browser, node] = await Promise.all([launch(), startNode()]);
});
after(async () => {
  await browser?.close();
  await node?.stop();
});

async function withPage(options, body) {
  const { page, offences } = await openPage(browser, node.base, options);
  try {
    await body(page, node.base);
    assert.deepEqual(offences, []);
  } finally {
    await page.context().close();
  }
}

/** Opens the transaction's page and waits until it has ended. Returns what the API says then. */
async function endsAt(page, base, id, state) {
  await page.goto(transactionUrl(base, id));
  await showsState(page, state);
  const one = await shown(base, id);
  await showsTheTransaction(page, one);
  return one;
}

test("a transaction commits, and its receipt is there", async () => {
  await withPage({}, async (page, base) => {
    const { id } = await submit(base);
    const one = await endsAt(page, base, id, "Committed");
    assert.deepEqual(one.legs.map((leg) => [leg.kind, leg.state]), [["transfer", "applied"], ["record", "applied"]]);
    assert.equal(one.next, "nothing: it has taken effect");
    await page.getByTestId("leg-1").getByText('{"what":"a locker"}').waitFor();
    await offersTheReceipt(page, base, one);
    await isAccessible(page);
    await page.goto(transactionsUrl(base));
    const row = page.getByRole("row").filter({ has: page.getByTitle(id) });
    await row.getByText("Committed").waitFor();
  });
});

test("a payer without the money aborts it, and the page says whose ledger refused and why", async () => {
  await withPage({}, async (page, base) => {
    const { id } = await submit(base, { amount: "999000000000000000000" });
    const one = await endsAt(page, base, id, "Aborted");
    const [poor] = one.legs;
    assert.equal(poor.state, "refused");
    assert.equal(one.reason, `evm refuses: ${poor.reason}`);
    await page.getByRole("alert").getByText(`Leg 0 on evm was refused: ${poor.reason}`).waitFor();
    await page.getByTestId("reason").getByText(poor.reason).waitFor();
    await isAccessible(page);
  });
});

test("what is under way counts its slack down, alarms before it is gone, and aborts at its deadline", async () => {
  await withPage({}, async (page, base) => {
    const { id } = await submit(base, { ledger: "slow", deadline: "20s" });
    await page.goto(transactionUrl(base, id));
    await showsState(page, "Locking its legs");
    await page.getByTestId("leg-0").getByText("Locked", { exact: true }).waitFor();
    const leg = page.getByTestId("leg-1");
    await leg.getByText("Open", { exact: true }).waitFor();
    await leg.getByText("Its lock must be sent by").waitFor();
    const first = await leg.getByRole("timer").textContent();
    assert.match(first, /^in \d+(\.\d)? s$/);
    await page.waitForFunction((text) => document.querySelector("[data-testid=leg-1] [role=timer]")?.textContent !== text, first);
    const less = "less time is left than this node may need to notice and act";
    await page.getByRole("alert").getByText(`Leg 1 on slow: ${less} before its lock must be sent.`).waitFor();
    await leg.getByText(`Alarm: ${less}.`).waitFor();
    const { legs, next, deadline } = await shown(base, id);
    assert.equal(legs[1].slack.alarm, true);
    assert.equal(await page.getByTestId("next").textContent(), next);
    assert.ok(next.includes(deadline), next);
    await isAccessible(page);

    // The ledger that is silent still is: its leg is driven on.
    await showsState(page, "Aborted, undoing");
    await page.getByTestId("leg-0").getByText("Undone", { exact: true }).waitFor();
    await page.getByTestId("leg-0").getByTestId("evidence").getByText(/^Reverted at height \d+, index \d+/).waitFor();
    await page.getByTestId("decided").getByText("ABORT: it takes effect nowhere").waitFor();
    await page.getByTestId("reason").getByText("the deadline passed while leg 1 on slow was not prepared").waitFor();
    assert.equal(await page.getByTestId("next").textContent(), "every leg is driven until it is undone");
    assert.deepEqual([await page.getByRole("alert").count(), await leg.getByRole("timer").count()], [0, 0]);
    await isAccessible(page);
  });
});

test("a txid that the node does not know is answered in its own words", async () => {
  await withPage({ allow: [/404/] }, async (page, base) => {
    const id = "cd".repeat(32);
    await page.goto(transactionUrl(base, id));
    await page.getByRole("alert").getByText(`the journal holds no transaction ${id}`).waitFor();
    await isAccessible(page);
  });
});
