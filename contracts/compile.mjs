// node compile.mjs FOLDER: compiles the contracts with the pinned solc and writes FOLDER/NAME.json for each.
// Reads the sources beside this file only; no network. `cargo xtask contracts build|check` runs it.
import { createRequire } from "node:module";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const folder = process.argv[2];
if (folder === undefined) {
  process.stderr.write("usage: node compile.mjs FOLDER\n");
  process.exit(2);
}
const solc = createRequire(import.meta.url)("solc");

// One artefact each, of the contract that has the file's name.
const CONTRACTS = ["src/Decision.sol", "src/Escrow.sol", "src/Notary.sol", "test/Rogue.sol"];
// Every source that they may import.
const SOURCES = [...CONTRACTS, "src/Disputable.sol", "src/Testimony.sol", "src/Typed.sol"];

const settings = {
  // Understood by every chain of today; nothing here gains from a later one.
  evmVersion: "cancun",
  viaIR: true,
  // Deployed once, called often.
  optimizer: { enabled: true, runs: 1000000 },
  // No hash of comments and paths in the bytecode: the same code gives the same bytes.
  metadata: { bytecodeHash: "none", appendCBOR: false },
};

const input = {
  language: "Solidity",
  sources: Object.fromEntries(SOURCES.map((path) => [path, { content: readFileSync(join(here, path), "utf8") }])),
  settings: {
    ...settings,
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
  },
};

const output = JSON.parse(solc.compile(JSON.stringify(input)));
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
