"""Who reads the chain, how far each program was read, and the pages of signatures still to be worked off.

Every write is guarded by the leader's epoch: a listener that lost its leadership without noticing writes nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.core.errors import Conflict
from app.store.copying import copy_rows
from app.store.db import UnitOfWork
from app.store.rows import to_json


class LeadershipLost(Conflict):
    """Another listener leads now; nothing was written."""

    code = "leadership_lost"


@dataclass(slots=True)
class Cursor:
    """How far one program was read, and the scan under way, if any. See the table's class for the fields."""

    program: str
    slot: int
    signature: str | None
    scan_before: str | None
    scan_listed: bool
    scan_slot: int | None
    scan_signature: str | None
    seen_slot: int
    stalled: str | None

    @property
    def scanning(self) -> bool:
        return self.scan_slot is not None


@dataclass(slots=True)
class Page:
    """Signatures still to be worked off, oldest first: ``(signature, slot)``. ``done``: how many were before them."""

    id: int
    done: int
    entries: list[tuple[str, int]]


_CURSOR = "program, slot, signature, scan_before, scan_listed, scan_slot, scan_signature, seen_slot, stalled"


async def take_over(uow: UnitOfWork, holder: str) -> int:
    """Become the leader: the new epoch. Waits for transactions of the one before, and refuses all its later ones."""
    epoch: int = await uow.sql.fetchval(
        "UPDATE chain_leader SET epoch = epoch + 1, holder = $1, seen_at = now() WHERE id = 1 RETURNING epoch",
        holder[:80],
    )
    await uow.sql.execute("UPDATE chain_cursors SET epoch = $1", epoch)
    return epoch


async def guard(uow: UnitOfWork, epoch: int) -> None:
    """Raise LeadershipLost unless ``epoch`` leads; until this transaction ends nobody can take over."""
    held = await uow.sql.fetchval("SELECT 1 FROM chain_leader WHERE id = 1 AND epoch = $1 FOR SHARE", epoch)
    if held is None:
        raise LeadershipLost("another listener leads now")


async def note_slots(uow: UnitOfWork, epoch: int, *, tip: int, finalized: int) -> None:
    """Keep how far the chain itself is, for people; it never goes back. Raises LeadershipLost."""
    told = await uow.sql.fetchval(
        """UPDATE chain_leader SET tip_slot = greatest(tip_slot, $2), finalized_slot = greatest(finalized_slot, $3),
            seen_at = now() WHERE id = 1 AND epoch = $1 RETURNING 1""",
        epoch,
        tip,
        finalized,
    )
    if told is None:
        raise LeadershipLost("another listener leads now")


async def get(uow: UnitOfWork, program: str, epoch: int) -> Cursor:
    """The program's cursor, locked; made when there is none. Raises LeadershipLost."""
    await guard(uow, epoch)
    await uow.sql.execute(
        "INSERT INTO chain_cursors (program, epoch) VALUES ($1, $2) ON CONFLICT (program) DO NOTHING", program, epoch
    )
    row = await uow.sql.fetchrow(
        f"SELECT {_CURSOR} FROM chain_cursors WHERE program = $1 AND epoch = $2 FOR NO KEY UPDATE", program, epoch
    )
    if row is None:
        raise LeadershipLost("another listener leads now")
    return Cursor(*row)


async def save(uow: UnitOfWork, cursor: Cursor, epoch: int) -> None:
    """Write the cursor. Raises LeadershipLost when ``epoch`` is not its leader's."""
    written = await uow.sql.fetchval(
        """UPDATE chain_cursors SET slot = $3::int8, signature = $4::text, scan_before = $5, scan_listed = $6,
            scan_slot = $7, scan_signature = $8, stalled = $9, seen_slot = greatest(seen_slot, $3::int8 - 1),
            moved_at = CASE WHEN signature IS DISTINCT FROM $4::text THEN now() ELSE moved_at END
        WHERE program = $1 AND epoch = $2 RETURNING 1""",
        cursor.program,
        epoch,
        cursor.slot,
        cursor.signature,
        cursor.scan_before,
        cursor.scan_listed,
        cursor.scan_slot,
        cursor.scan_signature,
        cursor.stalled,
    )
    if written is None:
        raise LeadershipLost("another listener leads now")


async def seen(uow: UnitOfWork, program: str, epoch: int, tip: int) -> None:
    """Note that nothing of the program is missing up to the slot ``tip``. Raises LeadershipLost."""
    written = await uow.sql.fetchval(
        """UPDATE chain_cursors SET seen_slot = greatest(seen_slot, $3), stalled = NULL
        WHERE program = $1 AND epoch = $2 RETURNING 1""",
        program,
        epoch,
        tip,
    )
    if written is None:
        raise LeadershipLost("another listener leads now")


async def rewind(uow: UnitOfWork, program: str, slot: int) -> None:
    """Have the program read again from ``slot`` on (0 = from its first transaction), whoever leads.

    Whatever was listed is forgotten; what is in the tables stays, and is recognised when it comes again. Where it was
    not read as far as ``slot`` yet, it is read on from where it was: nothing is left out.
    """
    # The cursor before the pages, as scans lock them. Slot 0 would say that the program was never read; it holds no
    # transactions anyway.
    await uow.sql.execute(
        """INSERT INTO chain_cursors AS c (program, slot, epoch) VALUES ($1, $2, (SELECT epoch FROM chain_leader))
        ON CONFLICT (program) DO UPDATE SET
            slot = CASE WHEN c.slot = 0 AND c.signature IS NULL AND c.scan_slot IS NULL THEN excluded.slot
                ELSE least(c.slot, excluded.slot) END,
            seen_slot = least(c.seen_slot, excluded.slot - 1), signature = NULL, scan_before = NULL,
            scan_listed = false, scan_slot = NULL, scan_signature = NULL, stalled = NULL""",
        program,
        max(slot, 1),
    )
    await uow.sql.execute("DELETE FROM chain_pages WHERE program = $1", program)


async def add_page(uow: UnitOfWork, program: str, entries: Sequence[tuple[str, int]]) -> None:
    """Keep a page as listed, newest first, to be worked off."""
    row = (program, to_json(entries), max((slot for _, slot in entries), default=0))
    await copy_rows(uow, "chain_pages", ("program", "entries", "high_slot"), [row])


async def next_pages(uow: UnitOfWork, program: str, count: int) -> list[Page]:
    """Up to ``count`` pages with signatures that are still to be worked off, the oldest first."""
    rows = await uow.sql.fetch(
        """SELECT id, done, entries FROM chain_pages
        WHERE program = $1 AND done < jsonb_array_length(entries) ORDER BY id DESC LIMIT $2""",
        program,
        count,
    )
    return [
        Page(number, done, [(signature, slot) for signature, slot in entries[::-1][done:]])
        for number, done, entries in rows
    ]


async def worked_off(uow: UnitOfWork, page: Page) -> bool:
    """Count the page's entries as done, if nobody has meanwhile; whether they were counted."""
    counted = await uow.sql.fetchval(
        "UPDATE chain_pages SET done = done + $3 WHERE id = $1 AND done = $2 RETURNING 1",
        page.id,
        page.done,
        len(page.entries),
    )
    return counted is not None


async def drop_waiting(uow: UnitOfWork, program: str) -> None:
    """Forget what is listed and not worked off."""
    await uow.sql.execute("DELETE FROM chain_pages WHERE program = $1 AND done < jsonb_array_length(entries)", program)


async def recent(uow: UnitOfWork, program: str, from_slot: int) -> dict[str, int]:
    """The signatures worked off in pages that reach ``from_slot``: ``signature → slot``."""
    rows = await uow.sql.fetch(
        "SELECT done, entries FROM chain_pages WHERE program = $1 AND done > 0 AND high_slot >= $2", program, from_slot
    )
    found: dict[str, int] = {}
    for done, entries in rows:
        found.update(dict(entries[len(entries) - done :]))
    return found


async def holes(uow: UnitOfWork, program: str) -> set[str]:
    """Where in the program's list entries without a readable signature are in quarantine, by what stands for it."""
    rows = await uow.sql.fetch(
        """SELECT signature FROM chain_quarantine
        WHERE program = $1 AND reason = 'malformed_entry' AND resolved_at IS NULL""",
        program,
    )
    return {row[0] for row in rows}


async def forget_pages(uow: UnitOfWork, before: Mapping[str, int]) -> None:
    """Drop pages that are worked off and end below their program's slot in ``before``."""
    await uow.sql.execute(
        """DELETE FROM chain_pages p USING unnest($1::text[], $2::int8[]) AS u(program, slot)
        WHERE p.program = u.program AND p.high_slot < u.slot AND p.done >= jsonb_array_length(p.entries)""",
        list(before),
        list(before.values()),
    )
