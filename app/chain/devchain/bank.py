"""The state of accounts: a LiteSVM, with enough memory to read it as of earlier slots and to roll it back.

A LiteSVM can be neither copied nor rewound. So what an account held before a slot first touched it is kept until that
slot is final: reads at a commitment and forks come from those records, exactly, without running anything again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from solders.account import Account
from solders.clock import Clock
from solders.hash import Hash
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata

from app.chain.devchain import tokens
from app.chain.devchain.message import Keys, keys_of
from app.chain.devchain.records import Before, lamports, meta_json

SLOTS_PER_EPOCH = 432_000
_SLOT_HASHES = 128
_NOWHERE = Account(0, b"", Pubkey.default())


@dataclass(frozen=True, slots=True)
class Ran:
    """A transaction that ran. ``meta``: JSON, None when it never landed: ``err`` says why."""

    err: Any
    meta: bytes | None
    keys: Keys


@dataclass(frozen=True, slots=True)
class Simulated:
    """A transaction on trial. ``err``: None for success. ``accounts``: as they would be afterwards."""

    err: Any
    done: TransactionMetadata
    accounts: Mapping[Pubkey, Account]


class Bank:
    """Accounts as of ``slot``, the block that transactions go into now."""

    def __init__(self, programs: Mapping[Pubkey, bytes]) -> None:
        # Signatures, blockhashes and duplicates are the ledger's; LiteSVM knows only the latest blockhash.
        self.svm = LiteSVM().with_sigverify(False).with_blockhash_check(False).with_transaction_history(0)
        self.slot = 0
        self.retained = 0
        """The oldest slot that accounts can still be read at, and that can be rolled back to."""
        self._earlier: dict[Pubkey, list[tuple[int, Account | None]]] = {}
        self._touched: dict[int, set[Pubkey]] = {}
        for program, elf in programs.items():
            self.deploy(program, elf)

    def deploy(self, program: Pubkey, elf: bytes) -> None:
        """Put a program there, for good: forks do not take it away. Raises ValueError for an ELF that cannot run."""
        try:
            self.svm.add_program(program, elf)
        # LiteSVM panics or raises its own errors over a bad ELF.
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            raise ValueError(f"not a program this chain can run: {error}") from error

    def open(self, slot: int, unix_time: int, hashes: Iterable[tuple[int, Hash]]) -> None:
        """Begin ``slot``. ``hashes``: slots and hashes of the latest blocks, newest first."""
        self.slot = slot
        epoch = slot // SLOTS_PER_EPOCH
        self.svm.set_clock(Clock(slot, unix_time, epoch, epoch + 1, unix_time))
        self.svm.set_slot_hashes(list(hashes)[:_SLOT_HASHES])
        # Durable nonces advance to LiteSVM's own blockhash, which has to differ from slot to slot.
        self.svm.expire_blockhash()

    def run(self, transaction: VersionedTransaction) -> Ran:
        """Execute in the current slot."""
        keys = keys_of(transaction, self.svm.get_account)
        before = Before(
            lamports=lamports(self.svm, keys),
            tokens=tokens.balances(keys.all, self.svm.get_account),
        )
        self._remember(keys.written)
        result = self.svm.send_transaction(transaction)
        if isinstance(result, FailedTransactionMetadata):
            done, err = result.meta(), _error(result)
            if done.signature() == Signature.default():
                return Ran(err, None, keys)
        else:
            done, err = result, None
        after = tokens.balances(keys.all, self.svm.get_account)
        return Ran(err, meta_json(done, err, keys, before, self.svm, after), keys)

    def simulate(self, transaction: VersionedTransaction) -> Simulated:
        """Try in the current slot; nothing changes."""
        result = self.svm.simulate_transaction(transaction)
        if isinstance(result, FailedTransactionMetadata):
            return Simulated(_error(result), result.meta(), {})
        return Simulated(None, result.meta(), dict(result.post_accounts()))

    def put(self, key: Pubkey, account: Account) -> None:
        """Make an account what is given, in the current slot."""
        self._remember([key])
        self.svm.set_account(key, account)

    def account(self, key: Pubkey, at: int) -> Account | None:
        """The account at the end of slot ``at`` (or of the oldest retained one), None when there is none."""
        for slot, earlier in self._earlier.get(key, ()):
            if slot > at:
                return earlier
        return self.svm.get_account(key)

    def owned_by(self, program: Pubkey, at: int) -> dict[Pubkey, Account]:
        """All accounts that ``program`` owns at the end of slot ``at``, by key."""
        found = dict(self.svm.get_program_accounts(program))
        for key, records in self._earlier.items():
            if records[-1][0] > at:
                found.pop(key, None)
                account = self.account(key, at)
                if account is not None and account.owner == program:
                    found[key] = account
        return {key: found[key] for key in sorted(found, key=bytes)}

    def changed(self, slot: int) -> set[Pubkey]:
        """Keys that transactions of ``slot`` could write; empty for slots no longer retained."""
        return self._touched.get(slot, set())

    def roll_back(self, to: int) -> None:
        """Make every account what it was at the end of slot ``to``, which is retained."""
        for slot in [slot for slot in self._touched if slot > to]:
            for key in self._touched.pop(slot):
                records = self._earlier.get(key, [])
                first = next((number for number, (at, _) in enumerate(records) if at > to), None)
                if first is None:
                    continue
                self.svm.set_account(key, records[first][1] or _NOWHERE)
                self._keep(key, records[:first])

    def settle(self, slot: int) -> None:
        """Forget what is needed only for slots before ``slot``, which has become final."""
        self.retained = max(self.retained, slot)
        for settled in [each for each in self._touched if each <= slot]:
            for key in self._touched.pop(settled):
                records = self._earlier.get(key, [])
                self._keep(key, [record for record in records if record[0] > slot])

    def _remember(self, keys: Iterable[Pubkey]) -> None:
        touched = self._touched.setdefault(self.slot, set())
        for key in keys:
            if key not in touched:
                touched.add(key)
                self._earlier.setdefault(key, []).append((self.slot, self.svm.get_account(key)))

    def _keep(self, key: Pubkey, records: list[tuple[int, Account | None]]) -> None:
        if records:
            self._earlier[key] = records
        else:
            self._earlier.pop(key, None)


def _error(result: FailedTransactionMetadata) -> Any:
    """In the RPC's shape, which only the whole result's JSON has."""
    return json.loads(result.to_json())["err"]
