// What a program written with @solana/kit does, on a devchain. Prints one JSON object.
import {
  address,
  airdropFactory,
  appendTransactionMessageInstruction,
  createSolanaRpc,
  createSolanaRpcSubscriptions,
  createTransactionMessage,
  generateKeyPairSigner,
  getBase64EncodedWireTransaction,
  getSignatureFromTransaction,
  isSolanaError,
  lamports,
  pipe,
  sendAndConfirmTransactionFactory,
  setTransactionMessageFeePayerSigner,
  setTransactionMessageLifetimeUsingBlockhash,
  signTransactionMessageWithSigners,
  SOLANA_ERROR__JSON_RPC__SERVER_ERROR_SEND_TRANSACTION_PREFLIGHT_FAILURE,
} from "@solana/kit";

const [url, wsUrl] = process.argv.slice(2);
const rpc = createSolanaRpc(url);
const rpcSubscriptions = createSolanaRpcSubscriptions(wsUrl);
const sendAndConfirm = sendAndConfirmTransactionFactory({ rpc, rpcSubscriptions });
const found = {};
const alice = await generateKeyPairSigner();
const bob = await generateKeyPairSigner();

const airdrop = airdropFactory({ rpc, rpcSubscriptions });
await airdrop({ commitment: "confirmed", lamports: lamports(2_000_000_000n), recipientAddress: alice.address });
found.balance = Number((await rpc.getBalance(alice.address, { commitment: "confirmed" }).send()).value);

const stop = new AbortController();
const notifications = await rpcSubscriptions
  .logsNotifications({ mentions: [bob.address] }, { commitment: "confirmed" })
  .subscribe({ abortSignal: stop.signal });
const logged = (async () => {
  for await (const each of notifications) return each.value;
})();

// System program's Transfer: u32 2, u64 lamports.
const pay = (amount) => {
  const data = new Uint8Array(12);
  new DataView(data.buffer).setUint32(0, 2, true);
  new DataView(data.buffer).setBigUint64(4, amount, true);
  return {
    programAddress: address("11111111111111111111111111111111"),
    accounts: [
      { address: alice.address, role: 3, signer: alice },
      { address: bob.address, role: 1 },
    ],
    data,
  };
};
const signed = async (amount) => {
  const { value } = await rpc.getLatestBlockhash().send();
  const message = pipe(
    createTransactionMessage({ version: 0 }),
    (draft) => setTransactionMessageFeePayerSigner(alice, draft),
    (draft) => setTransactionMessageLifetimeUsingBlockhash(value, draft),
    (draft) => appendTransactionMessageInstruction(pay(amount), draft),
  );
  return signTransactionMessageWithSigners(message);
};

const transaction = await signed(1_000_000n);
found.signature = getSignatureFromTransaction(transaction);
await sendAndConfirm(transaction, { commitment: "confirmed" });
found.logs = await logged;
stop.abort();

const options = { commitment: "confirmed", encoding: "json", maxSupportedTransactionVersion: 0 };
const read = await rpc.getTransaction(found.signature, options).send();
found.version = read.version;
found.moved = Number(read.meta.postBalances[1] - read.meta.preBalances[1]);
const block = await rpc.getBlock(read.slot, { ...options, transactionDetails: "signatures" }).send();
found.block = block.signatures;
found.signatures = (await rpc.getSignaturesForAddress(bob.address, { commitment: "confirmed" }).send()).map(
  (each) => each.signature,
);
const parsed = await rpc.getTransaction(found.signature, { ...options, encoding: "jsonParsed" }).send();
found.parsed = Number(parsed.transaction.message.instructions[0].parsed.info.lamports);

try {
  const poor = getBase64EncodedWireTransaction(await signed(50_000_000_000n));
  await rpc.sendTransaction(poor, { encoding: "base64" }).send();
} catch (error) {
  found.refused = {
    typed: isSolanaError(error, SOLANA_ERROR__JSON_RPC__SERVER_ERROR_SEND_TRANSACTION_PREFLIGHT_FAILURE),
    logs: error.context?.logs,
  };
}
console.log(JSON.stringify(found, (_, value) => (typeof value === "bigint" ? Number(value) : value)));
process.exit(0);
