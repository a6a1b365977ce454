// Decodes the logs that app/bench/decode.py wrote with @coral-xyz/anchor, once for each line of its input; prints each
// time the events a second, and what it found, to be held against what Python found. Run where npm put the package.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import anchor from "@coral-xyz/anchor";

const { idl, program, transactions } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const parser = new anchor.EventParser(new anchor.web3.PublicKey(program), new anchor.BorshCoder(idl));

for await (const _ of createInterface({ input: process.stdin })) {
  const stamps = [];
  const start = process.hrtime.bigint();
  for (const logs of transactions) {
    for (const event of parser.parseLogs(logs)) stamps.push(event.data.timestamp);
  }
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  const sum = stamps.reduce((total, one) => total + BigInt(one.toString()), 0n);
  console.log(JSON.stringify({ rate: stamps.length / seconds, events: stamps.length, timestamps: sum.toString() }));
}
