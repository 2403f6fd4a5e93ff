#!/usr/bin/env node
// The pinned solc as Slither asks for it: `--version`, or `--standard-json` with the input on stdin.
import { readFileSync } from "node:fs";
import { solc } from "./input.mjs";

const asked = process.argv[2];
if (asked === "--version") {
  process.stdout.write(`Version: ${solc.version()}\n`);
} else if (asked === "--standard-json") {
  process.stdout.write(solc.compile(readFileSync(0, "utf8")));
} else {
  process.stderr.write(`usage: solc.mjs --version|--standard-json, not ${asked}\n`);
  process.exit(2);
}
