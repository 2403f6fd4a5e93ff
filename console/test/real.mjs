// A real node for the page's tests: `sofie up` of the program that $SOFIE_BIN names, on a free port, in a folder of its own.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** A witness's key, of whom nobody holds the other half. */
const WITNESS = "witness.example/w1+87d46c1a+BID6PsBd3tQJdh7KXGkTs7Pdwc+lD7bPih3h+IiOoW0C";

/** Both ledgers are embedded; `slow` waits for a witness at `witness`. Its times leave a short way to the alarm. */
const config = (witness) => `
[node]
name = "console-test"
listen = "127.0.0.1:0"
log = "error"

[[party]]
name = "renter"
[[party]]
name = "locker-co"
[[party]]
name = "operator"

[[ledger]]
id = "evm"
kind = "evm-embedded"
genesis = { renter = "5000000000000000", operator = "100000000000000000" }

[[ledger]]
id = "calendar"
kind = "calendar"

[[ledger]]
id = "slow"
kind = "calendar"
inclusion = "5s"
[ledger.witnesses]
"${WITNESS}" = "http://127.0.0.1:${witness}"
`;

/** A port whose owner hangs up on everybody: an unreachable witness. */
async function hangUp() {
  const server = createServer((socket) => socket.destroy());
  await once(server.listen(0, "127.0.0.1"), "listening");
  return server;
}

/** Starts a node; `stop` ends it and takes its folder away. */
export async function startNode() {
  const program = process.env.SOFIE_BIN;
  assert.ok(program, "set SOFIE_BIN to the program, or run `cargo xtask console real`");
  const [folder, witness] = [await mkdtemp(join(tmpdir(), "sofie-console-")), await hangUp()];
  await writeFile(join(folder, "sofie.toml"), config(witness.address().port));
  const node = spawn(program, ["up", "-o", "json"], { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(node, "exit");
  const first = createInterface({ input: node.stdout })[Symbol.asyncIterator]().next();
  const told = await Promise.race([first, ended.then(([code]) => assert.fail(`the node ended with ${code}`))]);
  const base = JSON.parse(told.value).ready;
  return {
    base,
    async stop() {
      node.kill("SIGTERM");
      await ended;
      witness.close();
      await rm(folder, { recursive: true });
    },
  };
}

/** Submits a draft: `renter` pays, and `ledger` records. Returns the transaction. */
export async function submit(base, { ledger = "calendar", amount = "1000", deadline = "60s" } = {}) {
  const draft = {
    deadline,
    legs: [
      { ledger: "evm", kind: "transfer", from: "renter", to: "locker-co", amount },
      { ledger, kind: "record", payload: { what: "a locker" } },
    ],
  };
  const answer = await fetch(`${base}/api/v1/transactions`, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(draft),
  });
  const one = await answer.json();
  assert.equal(answer.status, 202, JSON.stringify(one));
  return one;
}

export const shown = async (base, id) => (await fetch(`${base}/api/v1/transactions/${id}`)).json();
