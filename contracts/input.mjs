// What the pinned solc is given: the sources beside this file, and how they are compiled. No network.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const here = dirname(fileURLToPath(import.meta.url));
export const solc = createRequire(import.meta.url)("solc");

// One artefact each, of the contract that has the file's name.
export const CONTRACTS = ["src/Decision.sol", "src/Escrow.sol", "src/Notary.sol", "test/Rogue.sol"];
// Every source that they may import.
export const SOURCES = [...CONTRACTS, "src/Disputable.sol", "src/Testimony.sol", "src/Typed.sol"];

export const settings = {
  // Understood by every chain of today; nothing here gains from a later one.
  evmVersion: "cancun",
  viaIR: true,
  // Deployed once, called often.
  optimizer: { enabled: true, runs: 1000000 },
  // No hash of comments and paths in the bytecode: the same code gives the same bytes.
  metadata: { bytecodeHash: "none", appendCBOR: false },
};

// The compiler's standard input (docs.soliditylang.org, "Using the compiler"); `outputs` names what it answers.
export const input = (sources, outputs) => ({
  language: "Solidity",
  sources: Object.fromEntries(sources.map((path) => [path, { content: readFileSync(join(here, path), "utf8") }])),
  settings: { ...settings, outputSelection: outputs },
});
