// node lint.mjs SLITHER: runs Slither's detectors over every contract and compares what they find with
// slither-accepted.json: what is not accepted there fails, and so does what is accepted and is found no more.
// `cargo xtask contracts lint` runs it.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SOURCES, here, input } from "./input.mjs";

const slither = process.argv[2];
if (slither === undefined) {
  process.stderr.write("usage: node lint.mjs SLITHER\n");
  process.exit(2);
}

/** What Slither reads of a compiler's answer. */
const WANTED = {
  "*": { "": ["ast"], "*": ["abi", "devdoc", "userdoc", "evm.bytecode", "evm.deployedBytecode"] },
};

/** Slither's own account of every source but the tests'. */
function analyse() {
  const folder = mkdtempSync(join(tmpdir(), "sofie-slither-"));
  try {
    const file = join(folder, "input.json");
    writeFileSync(file, JSON.stringify(input(SOURCES.filter((path) => path.startsWith("src/")), WANTED)));
    const compiler = ["--solc", "./solc.mjs", "--compile-force-framework", "Solc-json"];
    const options = { cwd: here, encoding: "utf8", maxBuffer: 64 * 1024 * 1024 };
    const { stdout, stderr, error } = spawnSync(slither, [file, ...compiler, "--fail-none", "--json", "-"], options);
    if (error) throw error;
    const told = stdout.trim() === "" ? { success: false, error: stderr } : JSON.parse(stdout);
    if (!told.success) throw new Error(`Slither did not get through: ${told.error}`);
    return told.results.detectors ?? [];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Where an element of the sources is, without lines: `Contract.function(Types)`. */
function place(element) {
  const fields = element.type_specific_fields ?? {};
  const name = fields.signature ?? element.name;
  return fields.parent ? `${place(fields.parent)}.${name}` : name;
}

/** The findings by how the list of accepted ones names them; a second one of a kind in one place is another. */
function byName(findings) {
  const names = new Map();
  for (const finding of findings) {
    const name = `${finding.check} in ${finding.elements.length > 0 ? place(finding.elements[0]) : "no place"}`;
    let nth = 1;
    while (names.has(nth === 1 ? name : `${name} (${nth})`)) nth += 1;
    names.set(nth === 1 ? name : `${name} (${nth})`, finding);
  }
  return names;
}

const accepted = JSON.parse(readFileSync(join(here, "slither-accepted.json"), "utf8"));
const names = byName(analyse());
const faults = [
  ...accepted.filter((one) => !one.reason?.trim()).map((one) => `accepted without a reason: ${one.finding}`),
  ...accepted.filter((one) => !names.has(one.finding)).map((one) => `accepted, and found no more: ${one.finding}`),
  ...[...names].filter(([name]) => !accepted.some((one) => one.finding === name)).map(
    ([name, finding]) => `${name} (${finding.impact}, ${finding.confidence} confidence)\n${finding.description}`,
  ),
];
for (const fault of faults) process.stderr.write(`${fault.trimEnd()}\n`);
if (faults.length > 0) {
  process.stderr.write("settle it in the source, or name it in contracts/slither-accepted.json with the reason why it is meant\n");
  process.exit(1);
}
process.stdout.write(`${names.size} findings, each accepted with a reason\n`);
