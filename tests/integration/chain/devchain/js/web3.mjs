// What a program written with @solana/web3.js 1.x does, on a devchain. Prints one JSON object.
import {
  Connection,
  Keypair,
  LAMPORTS_PER_SOL,
  SendTransactionError,
  SystemProgram,
  Transaction,
  TransactionMessage,
  VersionedTransaction,
  sendAndConfirmTransaction,
} from "@solana/web3.js";

const [url] = process.argv.slice(2);
const connection = new Connection(url, "confirmed");
const found = {};
const alice = Keypair.generate();
const bob = Keypair.generate();

const logged = new Promise((resolve) => {
  connection.onLogs(bob.publicKey, (logs, context) => resolve({ ...logs, slot: context.slot }), "confirmed");
});
const changed = new Promise((resolve) => {
  connection.onAccountChange(bob.publicKey, (info) => resolve(info.lamports), { commitment: "confirmed" });
});
const slot = new Promise((resolve) => {
  connection.onSlotChange((info) => resolve(info.slot));
});

const latest = await connection.getLatestBlockhash();
const drop = await connection.requestAirdrop(alice.publicKey, 2 * LAMPORTS_PER_SOL);
await connection.confirmTransaction({ signature: drop, ...latest }, "confirmed");
found.balance = await connection.getBalance(alice.publicKey);

const pay = (lamports) =>
  SystemProgram.transfer({ fromPubkey: alice.publicKey, toPubkey: bob.publicKey, lamports });
found.legacy = await sendAndConfirmTransaction(connection, new Transaction().add(pay(1_000_000)), [alice]);
found.logs = await logged;
found.account = await changed;
found.slot = await slot;

const { blockhash, lastValidBlockHeight } = await connection.getLatestBlockhash();
const message = new TransactionMessage({
  payerKey: alice.publicKey,
  recentBlockhash: blockhash,
  instructions: [pay(2_000_000)],
}).compileToV0Message();
const versioned = new VersionedTransaction(message);
versioned.sign([alice]);
found.simulated = (await connection.simulateTransaction(versioned)).value.unitsConsumed;
found.versioned = await connection.sendTransaction(versioned);
await connection.confirmTransaction({ signature: found.versioned, blockhash, lastValidBlockHeight }, "confirmed");

const options = { maxSupportedTransactionVersion: 0, commitment: "confirmed" };
const read = await connection.getTransaction(found.versioned, options);
found.version = read.version;
found.moved = read.meta.postBalances[1] - read.meta.preBalances[1];
const parsed = await connection.getParsedTransaction(found.legacy, options);
found.parsed = parsed.transaction.message.instructions[0].parsed.info.lamports;
const block = await connection.getBlock(read.slot, options);
found.block = block.transactions.map((each) => each.transaction.signatures[0]);
found.signatures = (await connection.getSignaturesForAddress(bob.publicKey)).map((each) => each.signature);
found.status = (await connection.getSignatureStatus(found.versioned)).value.confirmationStatus;
found.info = (await connection.getAccountInfo(bob.publicKey)).lamports;

try {
  const poor = new Transaction().add(pay(50 * LAMPORTS_PER_SOL));
  await sendAndConfirmTransaction(connection, poor, [alice]);
} catch (error) {
  found.refused = { typed: error instanceof SendTransactionError, message: error.message, logs: error.logs };
}
console.log(JSON.stringify(found));
process.exit(0);
