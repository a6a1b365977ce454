"""A batch, held against what is stored: what of it is new, what landed anew, what is gone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from app.chain.model import Batch, IndexedEvent, Quarantined
from app.core.chain import Commitment, Verdict
from app.core.folding import JOB_CREATED, JOB_EVENTS, NODE_EVENTS, NODE_REGISTERED, PAYMENT_EVENTS, Key
from app.core.payouts import Moved
from app.store.chain.events import EventRow, KnownEvent, QuarantineEntry
from app.store.chain.payments import PaymentRow
from app.store.rows import to_json

WHOLE = -1
"""Outer instruction of a quarantine that means the whole transaction."""
_SUBJECT_BYTES = {**dict.fromkeys(JOB_EVENTS, 32), **dict.fromkeys(NODE_EVENTS, 64)}
_NUL = "\\u0000"


@dataclass(slots=True)
class Findings:
    """``gone``: stored events of transactions that landed anew without them. ``addresses``: by the name of the event,
    all that it touches. ``landed``: how many events were not there, or not where they are now."""

    new: list[EventRow] = field(default_factory=list)
    again: list[EventRow] = field(default_factory=list)
    gone: list[KnownEvent] = field(default_factory=list)
    quarantined: list[QuarantineEntry] = field(default_factory=list)
    payments: list[PaymentRow] = field(default_factory=list)
    addresses: set[tuple[str, str]] = field(default_factory=set)
    landed: int = 0


def sort(batch: Batch, stored: Iterable[KnownEvent]) -> Findings:
    """What is to be done about a batch, given what is stored of its transactions.

    What is final stays as it is. What is not, follows the batch: another slot is another landing, with or without the
    events of the one before.
    """
    known = {event.key: event for event in stored}
    found = Findings()
    found.quarantined = [_entry(one, slot) for one, slot in batch.quarantined]
    unread = {entry.key[0] for entry in found.quarantined if entry.key[2] == WHOLE}
    homes: dict[tuple[bool, str], set[str]] = {}
    for event in batch.events:
        if event.event.name in (JOB_CREATED, NODE_REGISTERED) and event.address and event.subject:
            homes.setdefault((event.event.name == NODE_REGISTERED, event.subject), set()).add(event.address)
    read: set[Key] = set()
    for event in batch.events:
        key: Key = event.event.key
        if key in read:
            continue
        read.add(key)
        before = known.get(key)
        if before is not None and not _differs(before, event):
            if event.address is not None and event.address in batch.accounts:
                found.addresses.add((event.event.name, event.address))
            continue
        row = _row(key, event, homes)
        if row is None:
            found.quarantined.append(QuarantineEntry(key, event.slot, "unstorable", event.event.name, _raw(event)))
            continue
        _take(found, row, event, before)
    for before in known.values():
        signature = before.key[0]
        landed = batch.slots.get(signature, before.slot)
        open_ = before.commitment is Commitment.CONFIRMED
        if open_ and landed != before.slot and before.key not in read and signature not in unread:
            found.gone.append(KnownEvent(before.key, before.slot, Commitment.ORPHANED, before.name, before.address))
    return found


def _differs(before: KnownEvent, event: IndexedEvent) -> bool:
    """Whether the event must be written anew. Final ones only ever get the address that they lacked."""
    if before.address is None and event.address is not None:
        return True
    if before.commitment is Commitment.FINALIZED:
        return False
    return (
        before.commitment is Commitment.ORPHANED
        or before.slot != event.slot
        or event.commitment is Commitment.FINALIZED
    )


def _take(found: Findings, row: EventRow, event: IndexedEvent, before: KnownEvent | None) -> None:
    if before is None:
        found.new.append(row)
        found.landed += 1
    else:
        if before.commitment is Commitment.FINALIZED:
            row.commitment, row.slot = before.commitment, before.slot
        elif before.commitment is Commitment.ORPHANED or before.slot != event.slot:
            found.landed += 1
        row.address = row.address or before.address
        found.again.append(row)
        if before.address is not None:
            found.addresses.add((row.name, before.address))
    if row.address is not None:
        found.addresses.add((row.name, row.address))
    if row.name in PAYMENT_EVENTS:
        found.payments.append(_payment(row, event))


def _row(key: Key, event: IndexedEvent, homes: Mapping[tuple[bool, str], set[str]]) -> EventRow | None:
    """The row to store; None where PostgreSQL, or what follows from it, could not hold it."""
    source, subject = event.event, event.subject
    if len(source.name) > 40 or (subject and len(subject.encode()) > _SUBJECT_BYTES.get(source.name, 64)):
        return None
    try:
        data = to_json(source.data)
    except (OverflowError, TypeError, ValueError):
        return None
    if _NUL in data and _has_nul(source.data):
        return None
    address = event.address
    if address is None and subject is not None:
        # Created in this very batch, by an instruction whose account is among those of this event's instruction.
        made = homes.get((source.name in NODE_EVENTS, subject), set())
        address = next((account for account in source.accounts if account in made), None)
    return EventRow(
        key, event.slot, _time(event.block_time), source.name, data, address, subject, event.commitment,
        source.recovered,
    )  # fmt: skip


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
    return isinstance(value, list | tuple) and any(map(_has_nul, value))


def _time(seconds: int | None) -> datetime | None:
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _raw(event: IndexedEvent) -> bytes:
    try:
        return msgspec.json.encode(event.event.data)
    except (OverflowError, TypeError, ValueError):
        return repr(event.event.data).encode(errors="replace")


def _entry(one: Quarantined, slot: int) -> QuarantineEntry:
    return QuarantineEntry(one.key, slot, one.reason, one.detail.replace("\0", ""), one.raw)


def _payment(row: EventRow, event: IndexedEvent) -> PaymentRow:
    data = event.event.data
    total, orchestrator = data.get("total_amount"), data.get("orchestrator_amount")
    return PaymentRow(
        row.key,
        "distributed" if "job_id" in data else "processed",
        row.address,
        None,
        total,
        data["operator_amount"],
        data["treasury_amount"],
        data["incentive_amount"],
        orchestrator,
        Verdict.UNVERIFIED,
        row.commitment,
        row.slot,
        row.block_time,
        [Moved(one.account, one.owner, one.mint, one.amount) for one in event.transfers],
    )
