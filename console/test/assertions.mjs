// What the page must show, whoever serves it: the fixture or a real node.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const listUrl = (base) => `${base}/console/`;
export const contractUrl = (base, id) => `${base}/console/#/contracts/${id}`;

export const transactionsUrl = (base) => `${base}/console/#/transactions`;
export const transactionUrl = (base, id) => `${base}/console/#/transactions/${id}`;

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
  await showsTheSteps(page, contract);
  assert.equal(await page.getByTestId("label").textContent(), contract.label);
  assert.equal(await page.getByTestId("next").textContent(), contract.next);
}

async function showsTheSteps(page, { steps: told }) {
  const shown = await steps(page, told.length);
  assert.deepEqual(shown.map(([name, , ok]) => [name, ok]), told.map((step) => [step.name, step.ok]));
  told.forEach((step, at) => {
    const lane = shown[at][1];
    const expected = step.ledger ? `ledger:${step.ledger}` : AT_THE_THINGS.includes(step.name) ? "things" : "parties";
    assert.equal(lane, expected, step.name);
  });
  const heads = await page.getByTestId("lane").locator("b").allTextContents();
  assert.equal(heads[0], "Parties");
  assert.equal(heads.at(-1), "Things");
  for (const { ledger } of told) if (ledger) assert.ok(heads.includes(ledger), `no lane for ${ledger}`);
}

/** How the page calls where a leg is. */
const LEG_STATES = { intended: "Open", prepared: "Locked", applied: "Applied", reverted: "Undone", refused: "Refused" };

/** A transaction that has ended stands whole on the page, as the API tells it: each leg with its state and its evidence. */
export async function showsTheTransaction(page, one) {
  await showsState(page, one.decision === "commit" ? "Committed" : "Aborted");
  await page.getByTestId("connection").getByText("Complete").waitFor();
  await showsTheSteps(page, one);
  assert.equal(await page.getByTestId("label").textContent(), one.label);
  assert.equal(await page.getByTestId("next").textContent(), one.next);
  assert.equal(await page.getByTestId("reason").count(), one.reason ? 1 : 0);
  const decided = await page.getByTestId("decided").textContent();
  assert.match(decided, one.decision === "commit" ? /^COMMIT: / : /^ABORT: /);
  await page.getByText(one.decided.position.reference).first().waitFor();
  for (const leg of one.legs) {
    const shown = page.getByTestId(`leg-${leg.leg}`);
    await shown.getByRole("heading", { name: `Leg ${leg.leg} on ${leg.ledger} ${leg.class}` }).waitFor();
    await shown.getByText(LEG_STATES[leg.state], { exact: true }).waitFor();
    for (const { position } of leg.evidence) await shown.getByText(position.reference).waitFor();
    assert.equal(await shown.getByRole("timer").count(), 0, "what has ended has no slack");
  }
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
