"""A Solana chain in this process: a synchronous ledger over a real SVM."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from typing import Any

from solders.account import Account
from solders.compute_budget import set_compute_unit_limit
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from app.chain.devchain.bank import Bank, Simulated
from app.chain.devchain.blocks import BlockLog, Commitment, Put, in_order
from app.chain.devchain.config import BLOCKHASH_BLOCKS, PACKET_BYTES, ChainConfig
from app.chain.devchain.emitter import program as emitter_program
from app.chain.devchain.history import History
from app.chain.devchain.message import AnyTransaction, parse
from app.chain.devchain.outcomes import Fork, Observer, Rejected, TooLarge
from app.chain.devchain.records import Landed, memo_of

_MANUAL_SLOT_S = 0.4
_FAUCET_LAMPORTS = 5 * 10**17


class DevChain:
    """A chain of one node. Not thread-safe; calls return when what they ask for has happened.

    Transactions run at once, in the open block; ``advance`` closes it. Every call is deterministic given the config,
    but for block times of a chain with ``slot_ms``, which are the wall clock's.
    """

    def __init__(self, config: ChainConfig | None = None, **settings: Any) -> None:
        self.config = config or ChainConfig(**settings)
        self._genesis_time = int(time.time())
        self.blocks = BlockLog(self.config, self._genesis_time)
        self.history = History()
        self.observers: list[Observer] = []
        self.faucet = Keypair.from_seed(hashlib.sha256(f"faucet {self.config.seed}".encode()).digest())
        emitter = emitter_program()
        programs = {Pubkey.from_string(key): elf or emitter for key, elf in self.config.programs.items()}
        self.bank = Bank(programs)
        self.bank.svm.set_account(self.faucet.pubkey(), Account(_FAUCET_LAMPORTS, b"", Pubkey.default()))
        self._airdrops = 0
        self._pending: list[tuple[int, VersionedTransaction]] = []
        self._told = {Commitment.CONFIRMED: 0, Commitment.FINALIZED: 0}
        self._open_bank()

    # Reading

    @property
    def slot(self) -> int:
        """The open block's slot."""
        return self.blocks.tip

    def slot_at(self, commitment: str = "finalized", lag: int = 0) -> int:
        return self.blocks.at(Commitment(commitment), lag)

    def latest_blockhash(self, commitment: str = "finalized") -> tuple[Hash, int]:
        """A blockhash for a new transaction, and the last block height at which that one may land.

        The finalized one survives every fork.
        """
        block = self.blocks.get(self.slot_at(commitment))
        assert block is not None
        # The open block has no hash yet: what a node gives is its parent's.
        height = block.height - 1 if block is self.blocks.open else block.height
        return block.blockhash, height + BLOCKHASH_BLOCKS

    def account(self, key: Pubkey, commitment: str = "processed") -> Account | None:
        return self.bank.account(key, self.slot_at(commitment))

    def transaction(self, signature: Signature) -> Landed | None:
        return self.history.get(signature)

    # Transactions

    def check(self, transaction: VersionedTransaction, *, verify: bool = True) -> Any:
        """Why ``transaction`` cannot land now (RPC shape) before it is run; None when nothing is known against it."""
        if verify and not all(transaction.verify_with_results()):
            return "SignatureFailure"
        if transaction.signatures[0] in self.history:
            return "AlreadyProcessed"
        blockhash = transaction.message.recent_blockhash
        if not self.blocks.is_recent(blockhash) and not self._has_nonce(transaction, blockhash):
            return "BlockhashNotFound"
        return None

    def send(self, transaction: AnyTransaction, *, verify: bool = True) -> Landed:
        """Land a transaction in the open block; a failing program lands too, with ``err`` set.

        Raises MalformedTransaction, TooLarge, or Rejected for what no block would take.
        """
        parsed = self.parse(transaction)
        refused = self.check(parsed, verify=verify)
        if refused is not None:
            raise Rejected(refused)
        return self._land(parsed)

    def send_later(self, transaction: AnyTransaction, slots: int) -> Signature:
        """Land a transaction ``slots`` slots from now, if it still can then."""
        parsed = self.parse(transaction)
        self._pending.append((self.slot + slots, parsed))
        return parsed.signatures[0]

    def simulate(self, transaction: AnyTransaction) -> Simulated:
        return self.bank.simulate(self.parse(transaction))

    def load(self, transactions: Iterable[AnyTransaction], *, per_block: int = 256, verify: bool = False) -> int:
        """Land many transactions, ``per_block`` in a block, and close the last one. Answers how many.

        Without ``verify``, neither signatures nor the age of blockhashes are looked at.
        """
        count = 0
        for transaction in transactions:
            if verify:
                self.send(transaction)
            else:
                parsed = self.parse(transaction)
                if parsed.signatures[0] in self.history:
                    raise Rejected("AlreadyProcessed")
                self._land(parsed)
            count += 1
            if len(self.blocks.open.landed) >= per_block:
                self.advance()
        if self.blocks.open.landed:
            self.advance()
        return count

    def airdrop(self, to: Pubkey, lamports: int) -> Landed:
        """Send lamports from the faucet, in a real transaction."""
        return self.send(self.airdrop_transaction(to, lamports), verify=False)

    def airdrop_transaction(self, to: Pubkey, lamports: int) -> VersionedTransaction:
        self._airdrops += 1
        faucet = self.faucet.pubkey()
        steps: list[Instruction] = [
            # Different every time, so that equal airdrops are different transactions.
            set_compute_unit_limit(200_000 + self._airdrops),
            transfer(TransferParams(from_pubkey=faucet, to_pubkey=to, lamports=lamports)),
        ]
        return self.sign(steps, [self.faucet])

    def sign(self, steps: list[Instruction], signers: list[Keypair]) -> VersionedTransaction:
        """A transaction of these instructions with a fresh blockhash; the first signer pays."""
        blockhash, _ = self.latest_blockhash()
        return VersionedTransaction(Message.new_with_blockhash(steps, signers[0].pubkey(), blockhash), signers)

    @staticmethod
    def parse(transaction: AnyTransaction) -> VersionedTransaction:
        """Raises MalformedTransaction or TooLarge."""
        parsed = parse(transaction)
        size = len(bytes(parsed))
        if size > PACKET_BYTES:
            raise TooLarge(size)
        return parsed

    # Accounts and programs

    def set_account(self, key: Pubkey, account: Account) -> None:
        """Make an account what is given. It is part of the open block, and forks that abandon that do it again."""
        self.blocks.open.puts.append(Put(len(self.blocks.open.landed), key, account))
        self.bank.put(key, account)

    def deploy(self, program: Pubkey, elf: bytes | None = None) -> None:
        """Put a program (the emitter unless given) there, for good. Raises ValueError for an ELF that cannot run."""
        self.bank.deploy(program, elf or emitter_program())

    # Time and forks

    def advance(self, slots: int = 1) -> int:
        """Close the open block and open the next, ``slots`` times. Answers the new slot."""
        for _ in range(slots):
            self._close()
        return self.slot

    def skip(self, slots: int = 1) -> int:
        """Close the open block and leave ``slots`` slots without a block. Answers the new slot."""
        self._close(skip=slots)
        return self.slot

    def fork(self, depth: int = 1, *, drop: Iterable[Signature] | None = None, reland: bool | int = True) -> Fork:
        """Abandon the open block and the last ``depth`` slots behind it: another fork has won.

        Their transactions land anew in the order they had, but for those in ``drop``, and but for those whose
        blockhash was of an abandoned block. ``reland``: at once (True), never (False), or so many slots later. Accounts
        set by hand stay set. Raises ValueError when a finalized block would go.
        """
        to = self.blocks.newest(max(self.slot - 1 - depth, 0))
        if depth < 0 or to < self.slot_at(Commitment.FINALIZED):
            raise ValueError(f"a fork of depth {depth} would abandon finalized blocks")
        abandoned = self.blocks.roll_back(to, self._now(self.slot + 1))
        self.bank.roll_back(to)
        self.history.remove([landed for block in abandoned for landed in block.landed])
        self._told = {commitment: min(slot, to) for commitment, slot in self._told.items()}
        self._open_bank()
        unwanted = set(drop or ())
        result = Fork(to, [], [])
        for again in in_order(abandoned):
            if isinstance(again, Put):
                self.set_account(again.key, again.account)
                continue
            self._reland(again, result, unwanted, reland)
        return result

    def _reland(self, landed: Landed, result: Fork, unwanted: set[Signature], reland: bool | int) -> None:
        parsed = parse(landed.raw)
        recent = self.blocks.is_recent(parsed.message.recent_blockhash)
        if landed.signature in unwanted or reland is False or not recent:
            result.dropped.append(landed.signature)
            return
        if reland is not True:
            self._pending.append((self.slot + reland, parsed))
            result.reland.append(landed.signature)
            return
        try:
            self._land(parsed)
        except Rejected:
            result.dropped.append(landed.signature)
        else:
            result.reland.append(landed.signature)

    def _close(self, skip: int = 0) -> None:
        closed = self.blocks.close(self._now(self.slot + 1 + skip), skip)
        for observer in self.observers:
            observer.on_processed(closed)
        self._open_bank()
        for commitment in (Commitment.CONFIRMED, Commitment.FINALIZED):
            reached = self.slot_at(commitment)
            for slot in self.blocks.between(self._told[commitment] + 1, reached):
                block = self.blocks.get(slot)
                assert block is not None
                for observer in self.observers:
                    observer.on_block(commitment, block)
            self._told[commitment] = max(self._told[commitment], reached)
        self.bank.settle(self.slot_at(Commitment.FINALIZED))
        self._land_pending()

    def _open_bank(self) -> None:
        block = self.blocks.open
        self.bank.open(block.slot, block.time, self.blocks.recent_hashes())
        root = self.slot_at(Commitment.FINALIZED)
        for observer in self.observers:
            observer.on_slot(block.slot, block.parent, root)

    def _land_pending(self) -> None:
        due = [parsed for slot, parsed in self._pending if slot <= self.slot]
        self._pending = [each for each in self._pending if each[0] > self.slot]
        for parsed in due:
            if self.check(parsed, verify=False) is None:
                try:
                    self._land(parsed)
                except Rejected:
                    continue

    def _land(self, parsed: VersionedTransaction) -> Landed:
        if parsed.signatures[0] == Signature.default():
            raise Rejected("SignatureFailure")
        ran = self.bank.run(parsed)
        if ran.meta is None:
            raise Rejected(ran.err)
        block = self.blocks.open
        landed = Landed(
            parsed.signatures[0],
            block.slot,
            len(block.landed),
            bytes(parsed),
            ran.meta,
            ran.err,
            ran.keys.version,
            memo_of(parsed, ran.keys.all),
        )
        block.landed.append(landed)
        self.history.add(landed, ran.keys.all)
        for observer in self.observers:
            observer.on_landed(landed)
        return landed

    def _has_nonce(self, transaction: VersionedTransaction, blockhash: Hash) -> bool:
        """Whether ``blockhash`` is the value of the durable nonce that the transaction begins with advancing."""
        if not transaction.uses_durable_nonce():
            return False
        message = transaction.message
        account = self.bank.svm.get_account(message.account_keys[message.instructions[0].accounts[0]])
        # Version, state and authority stand before the stored hash.
        return account is not None and account.data[40:72] == bytes(blockhash)

    def _now(self, slot: int) -> int:
        if self.config.slot_ms:
            return int(time.time())
        return self._genesis_time + int(slot * _MANUAL_SLOT_S)


__all__ = ["DevChain", "Fork", "Observer", "Rejected", "TooLarge"]
