// The same assertions against a real node: node test/node.mjs BASE_URL [CONTRACT]. Without a contract, all that it has.
import assert from "node:assert/strict";

import {
  contractUrl, isAccessible, listUrl, offersTheReceipt, showsTheStory, showsTheTransaction, transactionUrl,
} from "./assertions.mjs";
import { launch, openPage } from "./browser.mjs";

const [base, only] = process.argv.slice(2);
assert.ok(base, "say the node's address, for example http://127.0.0.1:8080");

const browser = await launch();
try {
  const { page, offences } = await openPage(browser, base);
  await page.goto(listUrl(base));
  const list = await (await page.request.get(`${base}/api/v1/contracts`)).json();
  const chosen = list.filter((one) => !only || one.id === only);
  assert.ok(chosen.length > 0, "the node has no such contract");
  for (const { id } of chosen) {
    await page.goto(contractUrl(base, id));
    await page.getByTestId("connection").getByText("Complete").waitFor();
    const contract = await (await page.request.get(`${base}/api/v1/contracts/${id}`)).json();
    await showsTheStory(page, contract);
    if (contract.state !== "refused") await offersTheReceipt(page, base, contract);
    await isAccessible(page);
    const answer = await page.request.get(`${base}/api/v1/transactions/${id}`);
    if (answer.ok()) {
      // By the contract's own link, and back by the transaction's.
      await page.getByRole("link", { name: id }).click();
      await page.waitForURL(transactionUrl(base, id));
      await showsTheTransaction(page, await answer.json());
      await isAccessible(page);
      await page.getByRole("link", { name: "the contract that it carries out" }).click();
      await page.waitForURL(contractUrl(base, id));
    }
    console.log(`console: ${contract.state}, ${contract.steps.length} steps: ${id}`);
  }
  assert.deepEqual(offences, []);
} finally {
  await browser.close();
}
