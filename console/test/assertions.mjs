// What the page must show, whoever serves it: the fixture or a real node.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const listUrl = (base) => `${base}/console/`;
export const contractUrl = (base, id) => `${base}/console/#/contracts/${id}`;

/** The steps that happen neither on a ledger nor among the parties. */
const AT_THE_THINGS = [
  "capability-issued", "asked", "admitted", "denied", "actuated", "fate-unknown", "observed", "attested",
];

/** Waits until the page shows the contract in `state`. */
export async function showsState(page, state) {
  await page.getByTestId("state").filter({ hasText: new RegExp(`^${state}$`, "i") }).waitFor();
}

/** Waits for `count` steps and returns them as [name, lane, ok]. */
export async function steps(page, count) {
  await page.getByTestId("step").nth(count - 1).waitFor();
  return page.getByTestId("step").evaluateAll((items) =>
    items.map((item) => [item.dataset.name, item.dataset.lane, item.dataset.ok === "true"]));
}

/** Every step of `contract` (as the API tells it) stands on the page, in order, in its lane, and nowhere else. */
export async function showsTheStory(page, contract) {
  await showsState(page, contract.state);
  const shown = await steps(page, contract.steps.length);
  assert.deepEqual(
    shown.map(([name, , ok]) => [name, ok]),
    contract.steps.map((step) => [step.name, step.ok]),
  );
  contract.steps.forEach((step, at) => {
    const lane = shown[at][1];
    const expected = step.ledger ? `ledger:${step.ledger}` : AT_THE_THINGS.includes(step.name) ? "things" : "parties";
    assert.equal(lane, expected, step.name);
  });
  const heads = await page.getByTestId("lane").locator("b").allTextContents();
  assert.equal(heads[0], "Parties");
  assert.equal(heads.at(-1), "Things");
  for (const { ledger } of contract.steps) if (ledger) assert.ok(heads.includes(ledger), `no lane for ${ledger}`);
  assert.equal(await page.getByTestId("label").textContent(), contract.label);
  assert.equal(await page.getByTestId("next").textContent(), contract.next);
}

/** The receipt can be fetched and the page says how to verify it. */
export async function offersTheReceipt(page, base, contract) {
  const link = page.getByTestId("receipt");
  const file = await link.getAttribute("download");
  assert.equal(await page.getByTestId("verify").textContent(), `sofie verify ${file}`);
  const answer = await page.request.get(base + (await link.getAttribute("href")));
  assert.equal(answer.status(), 200);
  assert.match(answer.headers()["content-disposition"] ?? "", new RegExp(`"${file}"`), "the file has another name");
  assert.ok((await answer.body()).length > 0, `the receipt of ${contract.id} is empty`);
}

/** axe-core finds nothing to complain about, by WCAG 2.2 A and AA. */
export async function isAccessible(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  const told = violations.map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.html).join(" | ")}`);
  assert.deepEqual(told, []);
}
