"""The chain_events table: what the chain said, once each, with what became of it; and what could not be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from datetime import datetime
from typing import Any

import msgspec

from app.core.chain import Commitment
from app.core.folding import Fact, Key
from app.store.copying import copy_rows
from app.store.db import UnitOfWork
from app.store.rows import to_json

WRITERS_LOCK = "hae chain index"
_COMMITMENT = {one.value: one for one in Commitment}


@dataclass(slots=True)
class EventRow:
    """An event to store. See the table's class for the fields; ``data`` is JSON text."""

    key: Key
    slot: int
    block_time: datetime | None
    name: str
    data: str
    address: str | None
    subject: str | None
    commitment: Commitment
    recovered: bool


@dataclass(frozen=True, slots=True)
class KnownEvent:
    """What the table has of an event already."""

    key: Key
    slot: int
    commitment: Commitment
    name: str
    address: str | None


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """What could not be read. ``key`` with outer instruction -1: the whole transaction."""

    key: Key
    slot: int
    reason: str
    detail: str
    raw: bytes


async def lock(uow: UnitOfWork) -> None:
    """Until the transaction ends, nobody else changes what follows from events.

    Whoever reads the chain is one process anyway, and takes turns; so what is looked up stays true until it is
    written, and no two transactions meet the same rows in other orders.
    """
    await by_index(uow)
    await uow.sql.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", WRITERS_LOCK)


async def by_index(uow: UnitOfWork) -> None:
    """Have no table scanned to its end in this transaction: these grow from nothing within a minute, and a plan made
    for a small one goes on being used for the large one."""
    await uow.sql.execute("SET LOCAL enable_seqscan = off")


async def known(uow: UnitOfWork, signatures: Sequence[str]) -> list[KnownEvent]:
    """All that is stored of these transactions."""
    rows = await uow.sql.fetch(
        """SELECT signature, program, outer_ix, inner_ix, ordinal, slot, commitment, name, address FROM chain_events
        WHERE signature = ANY($1::text[])""",
        signatures,
    )
    return [_known(row) for row in rows]


def _known(row: Any) -> KnownEvent:
    signature, program, outer, inner, ordinal, slot, commitment, name, address = row
    return KnownEvent((signature, program, outer, inner, ordinal), slot, _COMMITMENT[commitment], name, address)


async def add(uow: UnitOfWork, rows: Sequence[EventRow]) -> None:
    """Insert events that are not there."""
    await copy_rows(
        uow,
        "chain_events",
        (
            "signature", "program", "outer_ix", "inner_ix", "ordinal", "slot", "block_time", "name", "data", "address",
            "subject", "commitment", "recovered",
        ),
        [
            (*row.key, row.slot, row.block_time, row.name, row.data, row.address, row.subject,
             row.commitment.value, row.recovered)
            for row in rows
        ],
    )  # fmt: skip


async def replace(uow: UnitOfWork, rows: Sequence[EventRow]) -> None:
    """Write events that are there as they are said to be now; an address once found is kept."""
    if not rows:
        return
    await uow.sql.execute(
        f"""UPDATE chain_events e SET slot = u.slot, block_time = u.block_time, name = u.name, data = u.data,
            address = coalesce(u.address, e.address), subject = u.subject, commitment = u.commitment,
            recovered = u.recovered, flag = CASE WHEN e.commitment = 'orphaned' THEN NULL ELSE e.flag END
        FROM json_to_recordset($1::json) AS u({_KEY_TYPES}, slot int8, block_time timestamptz, name text, data jsonb,
            address text, subject text, commitment text, recovered bool)
        WHERE {_same("u")}""",
        to_json([{**_named(row.key), **_fields(row)} for row in rows]),
    )


async def place(uow: UnitOfWork, events: Sequence[KnownEvent]) -> None:
    """Write slot and commitment of events that are there, as they are said to be now."""
    if events:
        await uow.sql.execute(
            f"""UPDATE chain_events e SET slot = u.slot, commitment = u.commitment
            FROM json_to_recordset($1::json) AS u({_KEY_TYPES}, slot int8, commitment text) WHERE {_same("u")}""",
            to_json([{**_named(one.key), "slot": one.slot, "commitment": one.commitment} for one in events]),
        )


async def orphan(uow: UnitOfWork, signatures: Sequence[str]) -> list[KnownEvent]:
    """Mark what is confirmed of these transactions as orphaned; the events, as they are now."""
    changed = [
        replaced(one, commitment=Commitment.ORPHANED)
        for one in await known(uow, signatures)
        if one.commitment is Commitment.CONFIRMED
    ]
    await place(uow, changed)
    return changed


async def promote(uow: UnitOfWork, slots: Mapping[str, int]) -> list[KnownEvent]:
    """Mark what is confirmed of these transactions, by the slots they landed in, as final; the events, as they are
    now."""
    changed = [
        replaced(one, commitment=Commitment.FINALIZED, slot=slots[one.key[0]])
        for one in await known(uow, list(slots))
        if one.commitment is Commitment.CONFIRMED
    ]
    await place(uow, changed)
    return changed


async def unfinal(uow: UnitOfWork, up_to_slot: int, limit: int) -> list[tuple[str, int]]:
    """Confirmed transactions ``(signature, slot)`` of slots up to ``up_to_slot``, oldest first."""
    await by_index(uow)
    rows = await uow.sql.fetch(
        """SELECT signature, slot FROM chain_events WHERE commitment = 'confirmed' AND slot <= $1
        GROUP BY slot, signature ORDER BY slot, signature LIMIT $2""",
        up_to_slot,
        limit,
    )
    return [(row[0], row[1]) for row in rows]


async def facts(uow: UnitOfWork, addresses: Sequence[str], names: Sequence[str]) -> dict[str, list[Fact]]:
    """By address: the last event of each name that stands, and the last that does not, with how many there are.

    That is all a fold needs (folding.latest), however many events an address has.
    """
    # In bytes' order, which is the fold's, and cheap.
    rows = await uow.sql.fetch(
        """SELECT DISTINCT ON (address COLLATE "C", name COLLATE "C", commitment = 'orphaned')
            address, name, data, slot, commitment, signature, program, outer_ix, inner_ix, ordinal, flag,
            count(*) OVER (PARTITION BY address COLLATE "C", name COLLATE "C", commitment = 'orphaned')
        FROM chain_events WHERE address = ANY($1::text[]) AND name = ANY($2::text[])
        ORDER BY address COLLATE "C", name COLLATE "C", commitment = 'orphaned', slot DESC, signature COLLATE "C" DESC,
            outer_ix DESC, inner_ix DESC, ordinal DESC""",
        addresses,
        names,
    )
    found: dict[str, list[Fact]] = {}
    for address, name, data, slot, commitment, signature, program, outer, inner, ordinal, flag, count in rows:
        key = (signature, program, outer, inner, ordinal)
        found.setdefault(address, []).append(Fact(name, data, slot, _COMMITMENT[commitment], key, count, flag))
    return found


async def homeless(uow: UnitOfWork, subjects: Sequence[str]) -> list[tuple[str, str]]:
    """Those of the subjects whose events have no address yet, with the names of these: ``(subject, event's name)``."""
    if not subjects:
        return []
    rows = await uow.sql.fetch(
        "SELECT DISTINCT subject, name FROM chain_events WHERE address IS NULL AND subject = ANY($1::text[])", subjects
    )
    return [(row[0], row[1]) for row in rows]


async def adopt(uow: UnitOfWork, homes: Mapping[str, str], names: Sequence[str]) -> list[KnownEvent]:
    """Give events of these ``names`` that have no address yet the address of their subject in ``homes``."""
    rows = await uow.sql.fetch(
        """UPDATE chain_events e SET address = u.address FROM unnest($1::text[], $2::text[]) AS u(subject, address)
        WHERE e.address IS NULL AND e.subject = u.subject AND e.name = ANY($3::text[])
        RETURNING e.signature, e.program, e.outer_ix, e.inner_ix, e.ordinal, e.slot, e.commitment, e.name, e.address""",
        list(homes),
        list(homes.values()),
        list(names),
    )
    return [_known(row) for row in rows]


async def flag(uow: UnitOfWork, keys: Sequence[Key], what: str) -> set[Key]:
    """Flag events; those that did not have the flag yet."""
    if not keys:
        return set()
    rows = await uow.sql.fetch(
        f"""UPDATE chain_events e SET flag = $2 FROM json_to_recordset($1::json) AS u({_KEY_TYPES})
        WHERE {_same("u")} AND e.flag IS DISTINCT FROM $2
        RETURNING e.signature, e.program, e.outer_ix, e.inner_ix, e.ordinal""",
        to_json([_named(key) for key in keys]),
        what,
    )
    return {(row[0], row[1], row[2], row[3], row[4]) for row in rows}


async def quarantine(uow: UnitOfWork, entries: Iterable[QuarantineEntry], read: Sequence[str]) -> None:
    """Keep what could not be read. What was kept of the transactions in ``read`` and is not among it any more is
    resolved: it could be read this time."""
    given = {entry.key: entry for entry in entries}
    was_read = set(read)
    held = await uow.sql.fetch(
        """SELECT signature, program, outer_ix, inner_ix, ordinal, resolved_at IS NULL FROM chain_quarantine
        WHERE signature = ANY($1::text[])""",
        list(was_read | {key[0] for key in given}),
    )
    there = {(row[0], row[1], row[2], row[3], row[4]): row[5] for row in held}
    solved = [key for key, open_ in there.items() if open_ and key not in given and key[0] in was_read]
    if solved:
        await uow.sql.execute(
            f"""UPDATE chain_quarantine e SET resolved_at = now() FROM json_to_recordset($1::json) AS u({_KEY_TYPES})
            WHERE {_same("u")}""",
            to_json([_named(key) for key in solved]),
        )
    again = [key for key in given if there.get(key) is False]
    if again:
        await uow.sql.execute(
            f"""UPDATE chain_quarantine e SET resolved_at = NULL FROM json_to_recordset($1::json) AS u({_KEY_TYPES})
            WHERE {_same("u")}""",
            to_json([_named(key) for key in again]),
        )
    await copy_rows(
        uow,
        "chain_quarantine",
        ("signature", "program", "outer_ix", "inner_ix", "ordinal", "slot", "reason", "detail", "raw"),
        [
            (*entry.key, entry.slot, entry.reason[:40], entry.detail, entry.raw)
            for key, entry in given.items()
            if key not in there
        ],
    )


_KEY_TYPES = "signature text, program text, outer_ix int8, inner_ix int8, ordinal int8"


def _same(other: str) -> str:
    columns = ("signature", "program", "outer_ix", "inner_ix", "ordinal")
    return " AND ".join(f"e.{column} = {other}.{column}" for column in columns)


def _named(key: Key) -> dict[str, Any]:
    signature, program, outer, inner, ordinal = key
    return {"signature": signature, "program": program, "outer_ix": outer, "inner_ix": inner, "ordinal": ordinal}


def _fields(row: EventRow) -> dict[str, Any]:
    return {
        "slot": row.slot,
        "block_time": row.block_time,
        "name": row.name,
        "data": msgspec.Raw(row.data.encode()),
        "address": row.address,
        "subject": row.subject,
        "commitment": row.commitment,
        "recovered": row.recovered,
    }
