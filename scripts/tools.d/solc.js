#!/usr/bin/env node
// The Solidity compiler as native solc would answer: `--version` and `--standard-json`. The registry
// has it as WebAssembly only. Paths (`--allow-paths`, `--base-path`, …) are accepted and not needed,
// since callers put every source into the JSON.
"use strict";
const fs = require("fs");
const path = require("path");
const solc = require(path.join(__dirname, "..", "node_modules", "solc"));

if (process.argv.includes("--version")) {
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`);
} else if (process.argv.includes("--standard-json")) {
  process.stdout.write(solc.compile(fs.readFileSync(0, "utf8")));
} else {
  process.stderr.write("solc: only --version and --standard-json are offered\n");
  process.exitCode = 2;
}
