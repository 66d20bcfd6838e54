#!/usr/bin/env node
// npm's solc behind as much of a native compiler's command line as Forge uses: --version, and standard JSON from
// standard input. All sources are in that JSON, so no file is read.

import { readFileSync } from "node:fs";
import solc from "solc";

if (process.argv.includes("--version")) {
  const version = solc.version().replace(".Emscripten.clang", ".Linux.g++");
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${version}`);
} else if (process.argv.includes("--standard-json")) {
  process.stdout.write(solc.compile(readFileSync(0, "utf8")));
} else {
  console.error(`solc.mjs: neither --version nor --standard-json in ${process.argv.slice(2).join(" ")}`);
  process.exit(1);
}
