// A servient of node-wot on a free port of the loopback, with one thing: properties that change and that
// can be written, an action, an event.
// It ends when its stdin closes, whoever started it being gone.
"use strict";
const { createRequire } = require("node:module");

// The folder of peers, wherever it is.
const peer = createRequire(process.argv[2]);
const { Servient } = peer("@node-wot/core");
const { HttpServer } = peer("@node-wot/binding-http");

const DESCRIPTION = {
  title: "Counter",
  id: "urn:x:counter",
  securityDefinitions: { nobody_asks: { scheme: "nosec" } },
  security: "nobody_asks",
  properties: {
    count: { type: "integer", readOnly: true, observable: true, minimum: 0 },
    status: {
      type: "object",
      readOnly: true,
      properties: { ready: { type: "boolean" }, history: { type: "array", items: { type: "integer" } } },
    },
    level: { type: "number", unit: "Cel" },
    range: { type: "object", properties: { from: { type: "integer" }, to: { type: "integer" } } },
    history: { type: "array", readOnly: true, items: { type: "integer" } },
  },
  actions: {
    increment: { input: { type: "integer", minimum: 1 }, output: { type: "integer" } },
    break: {},
  },
  events: { overflow: { data: { type: "integer" } } },
};

async function main() {
  const http = new HttpServer({ address: "127.0.0.1", port: 0 });
  const servient = new Servient();
  servient.addServer(http);
  const wot = await servient.start();
  const thing = await wot.produce(DESCRIPTION);
  let count = 0;
  thing.setPropertyReadHandler("count", async () => count);
  thing.setPropertyReadHandler("status", async () => ({ ready: true, history: [count] }));
  let level = 20.5;
  thing.setPropertyReadHandler("level", async () => level);
  thing.setPropertyWriteHandler("level", async (written) => {
    level = await written.value();
  });
  thing.setPropertyReadHandler("range", async () => ({ from: 1, to: 2 }));
  thing.setPropertyReadHandler("history", async () => [count]);
  thing.setActionHandler("increment", async (input) => {
    count += (await input.value()) ?? 1;
    await thing.emitPropertyChange("count");
    return count;
  });
  thing.setActionHandler("break", async () => {
    throw new Error("it is broken");
  });
  await thing.expose();
  process.stdin.resume().on("end", () => process.exit(0));
  process.stdout.write(JSON.stringify({ listening: `127.0.0.1:${http.getPort()}` }) + "\n");
}

main();
