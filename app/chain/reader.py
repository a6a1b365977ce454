"""From signatures to what they say: fetch the transactions, read their events, fetch the accounts these speak of."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from app.chain.addresses import derived_address, kind_of, subject_of, transfers_of
from app.chain.decode import DecodeError
from app.chain.model import Batch, ChainEvent, EventKey, Index, IndexedEvent, Quarantined, Reading, Transaction
from app.chain.programs import Programs
from app.chain.recover import accounts_wanted, recover
from app.chain.rpc import RpcClient, RpcError
from app.chain.transactions import TransactionError, parse_transaction
from app.core.chain import Commitment
from app.store.db import Database

log = logging.getLogger(__name__)

ROOTED_SLOTS = 32
"""A slot this far behind the finalized one is final on every node; nearer ones are asked for by signature."""
UNSUPPORTED_VERSION = -32015
CANDIDATES = 6
"""Accounts of an instruction that are looked at for the job or node its event speaks of."""

Entry = tuple[str, int]


@dataclass(slots=True)
class ReadResult:
    """``batch`` holds the first ``count`` entries; ``stalled``: why the next one could not be read, if so.

    ``doubtful``: transactions that are put aside, and that a node may give as they are the next time.
    """

    batch: Batch
    count: int
    stalled: str | None = None
    doubtful: frozenset[str] = frozenset()


class Reader:
    """Reads transactions of our programs. What cannot be read for good is quarantined, what cannot be read *yet* ends
    the batch before it, so that a cursor never passes it."""

    def __init__(self, rpc: RpcClient, programs: Programs, index: Index, db: Database) -> None:
        self._rpc = rpc
        self._programs = programs
        self._index = index
        self._db = db
        self._readable = ""

    async def read(self, entries: Sequence[Entry], program: str, finalized_slot: int) -> ReadResult:
        """Read ``(signature, slot)`` entries, oldest first, as listed for ``program``. Raises RpcUnavailable."""
        found = await self._transactions([signature for signature, _ in entries])
        count, stalled = len(entries), None
        batch = Batch()
        read: list[tuple[Transaction, Reading]] = []
        doubtful: set[str] = set()
        for number, ((signature, slot), transaction) in enumerate(zip(entries, found, strict=True)):
            if isinstance(transaction, Unreadable):
                stalled = await self._waits(signature, transaction, found)
                if stalled is not None:
                    count = number
                    break
                key = EventKey(signature, program, -1, -1, 0)
                batch.quarantined.append((Quarantined(key, transaction.reason, transaction.detail), slot))
                batch.slots[signature] = slot
                if not transaction.for_good:
                    doubtful.add(signature)
                continue
            batch.slots[signature] = transaction.slot
            if transaction.error is None:
                read.append((transaction, self._programs.decoder.read(transaction)))
        read = await self._recovered(batch, read)
        await self._fill(batch, read, finalized_slot)
        return ReadResult(batch, count, stalled, frozenset(doubtful))

    async def _transactions(self, signatures: Sequence[str]) -> list[Transaction | Unreadable]:
        """Each transaction, or what is wrong with it after a second try."""
        answers = await self._rpc.transactions(signatures, encoding="base64")
        found = [_parsed(signature, answer) for signature, answer in zip(signatures, answers, strict=True)]
        again = [at for at, one in enumerate(found) if isinstance(one, Unreadable) and not one.for_good]
        if again:
            # json this time: of a version that is not known here it can be read without knowing the wire format.
            answers = await self._rpc.transactions([signatures[at] for at in again])
            for at, answer in zip(again, answers, strict=True):
                found[at] = _parsed(signatures[at], answer)
        good = next((one.signature for one in found if isinstance(one, Transaction)), "")
        self._readable = good or self._readable
        return found

    async def _waits(self, signature: str, why: Unreadable, found: Sequence[Transaction | Unreadable]) -> str | None:
        """What to wait for before the transaction can be read; None when it is put aside, for it alone is at fault.

        One that the node lists and does not have is never put aside: if it was forked out, the next listing lacks it.
        Otherwise the node must be seen to give others.
        """
        if why.missing:
            return f"the node lists transaction {signature} and does not have it"
        if why.for_good or any(isinstance(one, Transaction) for one in found):
            return None
        if self._readable:
            (answer,) = await self._rpc.transactions([self._readable])
            if isinstance(_parsed(self._readable, answer), Transaction):
                return None
        return f"the node gives no readable transactions: {why.detail}"

    async def _recovered(
        self, batch: Batch, read: list[tuple[Transaction, Reading]]
    ) -> list[tuple[Transaction, Reading]]:
        """Rebuild what truncated logs hide, from the state of the accounts that were passed."""
        wanted = {address for _, reading in read if reading.truncated for address in accounts_wanted(reading)}
        if not any(reading.truncated for _, reading in read):
            return read
        addresses = sorted(wanted)
        fetched = await self._rpc.accounts(addresses, min_slot=_newest(batch)) if addresses else []
        state = {
            address: account.data if account is not None and account.owner in self._programs.ids else None
            for address, account in zip(addresses, fetched, strict=True)
        }
        return [
            (tx, recover(tx, reading, state, self._programs) if reading.truncated else reading) for tx, reading in read
        ]

    async def _fill(self, batch: Batch, read: Sequence[tuple[Transaction, Reading]], finalized_slot: int) -> None:
        found: list[tuple[Transaction, ChainEvent]] = []
        for transaction, reading in read:
            found += [(transaction, event) for event in reading.events]
            batch.quarantined += [(one, transaction.slot) for one in reading.quarantined]
        passed = [_passed(transaction, event) for transaction, event in found]
        addresses = await self._addresses(batch, [event for _, event in found], passed)
        for (transaction, event), address in zip(found, addresses, strict=True):
            final = transaction.slot + ROOTED_SLOTS <= finalized_slot
            batch.events.append(
                IndexedEvent(
                    event,
                    transaction.slot,
                    transaction.block_time,
                    Commitment.FINALIZED if final else Commitment.CONFIRMED,
                    address,
                    subject_of(event),
                    transfers_of(transaction) if "Payment" in event.name else (),
                )
            )

    async def _addresses(
        self, batch: Batch, events: Sequence[ChainEvent], passed: Sequence[tuple[str, ...]]
    ) -> list[str | None]:
        """The account each event speaks of, and into ``batch.accounts`` the state of those whose state matters."""
        programs = self._programs
        found = [derived_address(programs, event) for event in events]
        here: dict[tuple[str, str], set[str]] = {}
        for event, address in zip(events, found, strict=True):
            kind, subject = kind_of(event), subject_of(event)
            if address is not None and kind is not None and subject is not None:
                here.setdefault((kind, subject), set()).add(address)
        open_ones: list[int] = []
        for number, event in enumerate(events):
            kind, subject = kind_of(event), subject_of(event)
            if found[number] is not None or kind is None or subject is None:
                continue
            known = here.get((kind, subject), set())
            found[number] = next((account for account in passed[number] if account in known), None)
            if found[number] is None:
                open_ones.append(number)
        if open_ones:
            async with self._db.unit() as uow:
                resolved = await self._index.resolve(
                    uow,
                    [(kind_of(events[n]) or "job", subject_of(events[n]) or "", passed[n]) for n in open_ones],
                )
            for number, address in zip(open_ones, resolved, strict=True):
                found[number] = address
        # Found by its name alone, it may be another one of that name, whose creation is still to be read.
        unknown = [number for number in open_ones if found[number] is None or found[number] not in passed[number]]
        wanted = {address for event, address in zip(events, found, strict=True) if address and event.name in _STATEFUL}
        wanted.update(account for number in unknown for account in passed[number][:CANDIDATES])
        await self._fetch_accounts(batch, wanted)
        for number in unknown:
            found[number] = _named_in(batch, events[number], passed[number]) or found[number]
        return found

    async def _fetch_accounts(self, batch: Batch, wanted: Iterable[str]) -> None:
        addresses = sorted(wanted)
        if not addresses:
            return
        fetched = await self._rpc.accounts(addresses, min_slot=_newest(batch))
        for address, account in zip(addresses, fetched, strict=True):
            decoder = self._programs.decoder_of(account.owner) if account is not None else None
            if account is None or decoder is None:
                continue
            try:
                batch.accounts[address] = decoder.account(account.data)
            except DecodeError as error:
                log.warning("account %s of ours cannot be read: %s", address, error)


_STATEFUL = frozenset({"JobCreatedEvent", "NodeRegistered", "NodeStatusUpdated"})
"""Events that say less than the account they are about."""


def _passed(transaction: Transaction, event: ChainEvent) -> tuple[str, ...]:
    """The accounts that the event's own is among: those of its instruction, and of whatever called that, for an
    ``emit_cpi!`` passes itself none of them."""
    outer, inner = event.key.outer, event.key.inner
    if inner < 0:
        return event.accounts
    found = dict.fromkeys(event.accounts)
    *before, own = transaction.inner.get(outer, ())[: inner + 1] or transaction.instructions[outer : outer + 1]
    height = own.height or 0
    for one in reversed(before):
        if one.height is not None and one.height < height:
            height = one.height
            found.update(dict.fromkeys(one.accounts))
    found.update(dict.fromkeys(transaction.instructions[outer].accounts))
    return tuple(found)


def _named_in(batch: Batch, event: ChainEvent, passed: Sequence[str]) -> str | None:
    """The one of the accounts passed whose state has the name that the event has."""
    subject, field = subject_of(event), "job_id" if kind_of(event) == "job" else "node_id"
    for account in passed[:CANDIDATES]:
        state = batch.accounts.get(account)
        if state is not None and state[1].get(field) == subject:
            return account
    return None


def _newest(batch: Batch) -> int | None:
    """The slot that a node must have seen to tell what the batch's transactions led to."""
    return max(batch.slots.values(), default=None)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """``reason``: the code for the quarantine, "" for a transaction that the node does not have."""

    reason: str
    detail: str

    @property
    def missing(self) -> bool:
        return not self.reason

    @property
    def for_good(self) -> bool:
        return self.reason == "version_unsupported"


def _parsed(signature: str, answer: dict[str, Any] | RpcError | None) -> Transaction | Unreadable:
    if answer is None:
        return Unreadable("", "")
    if isinstance(answer, RpcError):
        reason = "version_unsupported" if answer.code == UNSUPPORTED_VERSION else "not_given"
        return Unreadable(reason, str(answer)[:500])
    try:
        transaction = parse_transaction(answer)
    except TransactionError as error:
        return Unreadable("malformed_transaction", str(error)[:500])
    if transaction.signature != signature:
        return Unreadable("another_transaction", f"the node gave {transaction.signature}")
    return transaction
