// A double of the node for the page's tests: the same API, one contract and one transaction that the test moves step by
// step, the node's own security headers. It is evidence about the page, not about the node; the same assertions run against a real one.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

/** What a good run of `try locker` tells, in order: name, ledger, detail. */
export const GOOD_RUN = [
  ["offered", null, "renter offers 25000000 to open the locker for 10 minutes"],
  ["accepted", null, "locker-co accepts; sensor-co is the witness"],
  ["prepared", "evm", "25000000 locked in the escrow contract"],
  ["prepared", "calendar", "commitment appended; without effect until the decision"],
  ["decided", "evm", "COMMIT, with both secrets and the evidence root"],
  ["applied", "evm", "the escrow is armed"],
  ["applied", "calendar", "the intention is in force"],
  ["capability-issued", null, "open, on this locker, for 10 minutes"],
  ["actuated", null, "the locker answered 2.04 Changed"],
  ["observed", null, "door = open, after the decision, not retained"],
  ["attested", null, "signed by the key of sensor-co"],
  ["noted", "calendar", "the attestation's commitment"],
  ["settled", "evm", "the contract checked the signature and paid locker-co"],
  ["receipt", null, "one file proves it offline"],
];

const LEDGERS = [
  { id: "evm", kind: "evm-embedded", classes: ["verifying"], height: 41, time: "2026-01-01T00:00:00.000Z", single_operator: true, ok: true, error: null },
  { id: "calendar", kind: "calendar", classes: ["record"], height: 7, time: "2026-01-01T00:00:00.000Z", single_operator: true, ok: true, error: null },
];

const ENDS = ["settled", "refunded", "aborted", "refused"];

export class Fixture {
  id = "ab".repeat(32);
  #streams = new Set();
  #sockets = new Set();
  #server;
  #port = 0;

  constructor(assets, started = Date.now()) {
    this.assets = assets;
    const at = (seconds) => new Date(started + seconds * 1000).toISOString();
    this.started = started;
    this.contract = {
      id: this.id, state: "preparing", reason: null,
      thing: "urn:dev:locker-co:locker-7", action: "open", renter: "renter", owner: "locker-co",
      price: "25000000", label: "custodial",
      deadlines: { decision: at(20), evidence: at(90), refund: at(120) },
      next: "If nobody acts before the decision, the transaction is aborted and nothing moves.",
      steps: [],
    };
    this.contracts = [this.contract];
    this.ledgers = LEDGERS;
    /** A test sets it. */
    this.transactions = [];
    this.last_event_id = undefined;
  }

  /** Listens on the same port as before, if there was one. */
  async open() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error) => response.destroy(error));
    });
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    await new Promise((done) => this.#server.listen(this.#port, "127.0.0.1", done));
    this.#port = this.#server.address().port;
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Falls silent: every connection breaks and no new one is taken. */
  async close() {
    const closed = new Promise((done) => this.#server.close(done));
    for (const socket of this.#sockets) socket.destroy();
    this.#streams.clear();
    await closed;
  }

  /** Adds the next step of `run` and tells the streams. */
  step([name, ledger, detail], { ok = true, ...changes } = {}) {
    const { steps } = this.contract;
    const at = new Date(this.started + 350 * steps.length).toISOString();
    const step = { seq: steps.length + 1, name, at, ledger, ok, detail };
    steps.push(step);
    Object.assign(this.contract, changes);
    for (const stream of this.#streams) send(stream, step);
  }

  end(state, next, reason = null) {
    Object.assign(this.contract, { state, next, reason });
    for (const stream of this.#streams) stream.end(`event: end\ndata: ${JSON.stringify(this.contract)}\n\n`);
    this.#streams.clear();
  }

  async #answer(request, response) {
    const path = new URL(request.url, "http://localhost").pathname;
    response.setHeader("content-security-policy", CSP);
    response.setHeader("x-content-type-options", "nosniff");
    const json = (value, status = 200, type = "application/json") => {
      response.writeHead(status, { "content-type": type }).end(JSON.stringify(value));
    };
    if (path.startsWith("/console/")) return this.#asset(path.slice("/console/".length) || "index.html", response);
    if (path === "/api/v1/status") {
      return json({ name: "fixture", version: "0.0.0", started_at: new Date().toISOString(), console: null, ledgers: this.ledgers });
    }
    if (path === "/api/v1/contracts") return json(this.contracts);
    if (path === "/api/v1/transactions") return json(this.transactions);
    const missing = (what, id) => json({
      type: "urn:sofie:problem:not-found", title: `No such ${what}`, status: 404, detail: `The node knows no ${what} ${id}`,
      next: `List them with GET /api/v1/${what}s`,
    }, 404, "application/problem+json");
    const [, txid, receipt] = /^\/api\/v1\/transactions\/([^/]+)(\/receipt)?$/.exec(path) ?? [];
    if (txid) {
      const one = this.transactions.find((known) => known.id === txid);
      if (!one) return missing("transaction", txid);
      return receipt ? this.#receipt(txid, response) : json(one);
    }
    const [, id, part] = /^\/api\/v1\/contracts\/([^/]+)(?:\/(\w+))?$/.exec(path) ?? [];
    if (id !== this.id) return missing("contract", id);
    if (part === "events") return this.#stream(request, response);
    if (part === "receipt") return this.#receipt(this.id, response);
    return json(this.contract);
  }

  #receipt(id, response) {
    response.writeHead(200, {
      "content-type": "application/vnd.sofie.receipt",
      "content-disposition": `attachment; filename="receipt-${id}.cbor"`,
    }).end("fixture");
  }

  #stream(request, response) {
    this.last_event_id = request.headers["last-event-id"];
    const after = Number(this.last_event_id ?? 0);
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.write("retry: 200\n\n");
    for (const step of this.contract.steps) if (step.seq > after) send(response, step);
    if (ENDS.includes(this.contract.state)) return response.end(`event: end\ndata: ${JSON.stringify(this.contract)}\n\n`);
    this.#streams.add(response);
    response.on("close", () => this.#streams.delete(response));
  }

  async #asset(name, response) {
    const file = normalize(join(this.assets, name));
    if (!file.startsWith(this.assets)) return response.writeHead(404).end();
    const bytes = await readFile(file).catch(() => null);
    if (!bytes) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" }).end(bytes);
  }
}

const send = (stream, step) => stream.write(`id: ${step.seq}\nevent: step\ndata: ${JSON.stringify(step)}\n\n`);
