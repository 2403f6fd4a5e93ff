// node compile.mjs FOLDER: compiles the contracts with the pinned solc and writes FOLDER/NAME.json for each.
// Reads the sources beside this file only; no network. `cargo xtask contracts build|check` runs it.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CONTRACTS, SOURCES, input, settings, solc } from "./input.mjs";

const folder = process.argv[2];
if (folder === undefined) {
  process.stderr.write("usage: node compile.mjs FOLDER\n");
  process.exit(2);
}
const wanted = { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } };
const output = JSON.parse(solc.compile(JSON.stringify(input(SOURCES, wanted))));
const messages = output.errors ?? [];
for (const message of messages) process.stderr.write(message.formattedMessage);
// A warning is a fault too: what the compiler doubts is settled in the source.
if (messages.length > 0) process.exit(1);

mkdirSync(folder, { recursive: true });
for (const path of CONTRACTS) {
  const name = path.replace(/^.*\//, "").replace(/\.sol$/, "");
  const { abi, evm } = output.contracts[path][name];
  const artefact = {
    contract: name,
    source: path,
    compiler: solc.version(),
    settings,
    bytecode: "0x" + evm.bytecode.object,
    runtime: "0x" + evm.deployedBytecode.object,
    abi,
  };
  writeFileSync(join(folder, `${name}.json`), JSON.stringify(artefact, null, 2) + "\n");
}
