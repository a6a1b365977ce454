"""How the reading of the chain stands: what operators look at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.store.db import UnitOfWork


@dataclass(frozen=True, slots=True)
class ProgramStatus:
    """How far a program was read: all up to ``(slot, signature)``. ``pending_*``: listed by a scan, not yet read.

    ``lag_slots``: from where nothing is missing to the tip. ``stalled``: why it does not move, None while it does.
    """

    program: str
    slot: int
    signature: str | None
    pending_pages: int
    pending_signatures: int
    stalled: str | None
    moved_at: datetime | None
    lag_slots: int


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """``finalized_slot`` and ``tip_slot``: as the leader ``holder`` saw them at ``seen_at``; ``lag_slots``: of the
    program that is farthest behind. Counts: ``quarantine`` by reason, what waits for somebody to look; ``events`` by
    commitment; ``outgoing`` by state."""

    programs: list[ProgramStatus]
    finalized_slot: int
    tip_slot: int
    lag_slots: int
    epoch: int
    holder: str
    seen_at: datetime | None
    quarantine: dict[str, int]
    events: dict[str, int]
    outgoing: dict[str, int]


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """What could not be read; ``outer`` -1: the whole transaction. ``raw``: what was there."""

    signature: str
    program: str
    outer: int
    inner: int
    ordinal: int
    slot: int
    reason: str
    detail: str | None
    raw: bytes
    seen_at: datetime
    resolved_at: datetime | None

    @property
    def place(self) -> QuarantinePlace:
        return self.slot, self.signature, self.program, self.outer, self.inner, self.ordinal


QuarantinePlace = tuple[int, str, str, int, int, int]
"""Where an entry stands: newest slot first, the rest only tells entries of one slot apart."""


async def status(uow: UnitOfWork) -> ChainStatus:
    """As of this moment. Counts events by scanning them: for people, not for every second."""
    leader = await uow.sql.fetchrow("SELECT epoch, holder, finalized_slot, tip_slot, seen_at FROM chain_leader")
    epoch, holder, finalized_slot, tip_slot, seen_at = leader or (0, "", 0, 0, None)
    rows = await uow.sql.fetch(
        """SELECT c.program, c.slot, c.signature, count(p.id),
            coalesce(sum(jsonb_array_length(p.entries) - p.done), 0)::bigint, c.stalled, c.moved_at,
            greatest(0, $1::bigint - greatest(c.slot, c.seen_slot))
        FROM chain_cursors c LEFT JOIN chain_pages p ON p.program = c.program
        GROUP BY c.program ORDER BY c.program""",
        tip_slot,
    )
    programs = [ProgramStatus(*tuple(row)) for row in rows]
    return ChainStatus(
        programs,
        finalized_slot,
        tip_slot,
        max((program.lag_slots for program in programs), default=0),
        epoch,
        holder,
        seen_at,
        await _counts(uow, "SELECT reason, count(*) FROM chain_quarantine WHERE resolved_at IS NULL GROUP BY 1"),
        await _counts(uow, "SELECT commitment, count(*) FROM chain_events GROUP BY 1"),
        await _counts(uow, "SELECT state, count(*) FROM chain_outgoing GROUP BY 1"),
    )


async def quarantine_page(
    uow: UnitOfWork, *, after: QuarantinePlace | None = None, reason: str = "", resolved: bool = False, limit: int = 50
) -> list[QuarantineRow]:
    """Entries from the newest slot down, behind the place ``after``; of one ``reason`` unless empty, and those that
    are ``resolved`` or those that are not."""
    rows = await uow.sql.fetch(
        """SELECT signature, program, outer_ix, inner_ix, ordinal, slot, reason, detail, raw, seen_at, resolved_at
        FROM chain_quarantine
        WHERE (resolved_at IS NOT NULL) = $1 AND ($2 = '' OR reason = $2)
            AND ($3::bigint IS NULL OR (slot, signature, program, outer_ix, inner_ix, ordinal)
                < ($3, $4, $5, $6::bigint, $7::bigint, $8::bigint))
        ORDER BY slot DESC, signature DESC, program DESC, outer_ix DESC, inner_ix DESC, ordinal DESC LIMIT $9""",
        resolved,
        reason,
        *(after or (None, "", "", 0, 0, 0)),
        limit,
    )
    return [QuarantineRow(*row) for row in rows]


async def _counts(uow: UnitOfWork, statement: str) -> dict[str, int]:
    return {row[0]: row[1] for row in sorted(await uow.sql.fetch(statement))}
