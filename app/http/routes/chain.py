"""For operators only: how far the chain was read, and what of it could not be."""

import base64
from typing import Annotated

import msgspec
from litestar import Router, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from app.core.access import Scope
from app.http.engine import Engine
from app.http.security import scoped
from app.services import oversight
from app.store.chain.status import QuarantinePlace, QuarantineRow
from tools.answers import stamp

_CURSOR = r"^([0-9]{1,18}(\.[1-9A-HJ-NP-Za-km-z]{1,88}){2}(\.-?[0-9]{1,18}){3})?$"


class ProgramReading(msgspec.Struct, kw_only=True):
    """A program's events are in the tables up to ``(slot, signature)``. ``pending_*``: listed by a scan, not yet read.

    ``lag_slots``: from there to the chain's tip. ``stalled``: why it does not move, empty while it does.
    """

    program: str
    slot: int
    signature: str
    pending_pages: int
    pending_signatures: int
    stalled: str
    moved_at: str
    lag_slots: int


class ChainReading(msgspec.Struct, kw_only=True):
    """``holder`` is the listener that reads, in its ``epoch``; it saw the slots at ``seen_at``.

    Counts: ``quarantine`` by reason, unresolved entries only; ``events`` by commitment; ``outgoing`` (transactions of
    our own) by state.
    """

    programs: list[ProgramReading]
    finalized_slot: int
    tip_slot: int
    lag_slots: int
    epoch: int
    holder: str
    seen_at: str
    quarantine: dict[str, int]
    events: dict[str, int]
    outgoing: dict[str, int]


class QuarantineEntry(msgspec.Struct, kw_only=True):
    """``outer``, ``inner`` and ``ordinal`` name the place in the transaction; ``outer`` -1 means all of it."""

    signature: str
    program: str
    outer: int
    inner: int
    ordinal: int
    slot: int
    reason: str
    detail: str
    raw_base64: str
    seen_at: str
    resolved_at: str


class QuarantinePage(msgspec.Struct, kw_only=True):
    """``next_cursor``: pass it as ``cursor`` for older entries; empty at the end."""

    entries: list[QuarantineEntry]
    next_cursor: str


@get("/internal/chain", operation_id="chain_status")
async def reading(engine: NamedDependency[Engine]) -> ChainReading:
    """How far each program was read, by whom, how far behind the chain that is, and what is in quarantine."""
    now = await oversight.chain_status(engine.db)
    programs = [
        ProgramReading(
            program=one.program,
            slot=one.slot,
            signature=one.signature or "",
            pending_pages=one.pending_pages,
            pending_signatures=one.pending_signatures,
            stalled=one.stalled or "",
            moved_at=stamp(one.moved_at),
            lag_slots=one.lag_slots,
        )
        for one in now.programs
    ]
    return ChainReading(
        programs=programs,
        finalized_slot=now.finalized_slot,
        tip_slot=now.tip_slot,
        lag_slots=now.lag_slots,
        epoch=now.epoch,
        holder=now.holder,
        seen_at=stamp(now.seen_at),
        quarantine=now.quarantine,
        events=now.events,
        outgoing=now.outgoing,
    )


@get("/internal/chain/quarantine", operation_id="chain_quarantine")
async def quarantine(
    engine: NamedDependency[Engine],
    reason: Annotated[str, QueryParameter(max_length=40, description="Only this reason; empty = all")] = "",
    resolved: Annotated[
        bool, QueryParameter(description="Those that were seen to, instead of those that wait")
    ] = False,
    cursor: Annotated[
        str, QueryParameter(max_length=250, pattern=_CURSOR, description="next_cursor of the last page")
    ] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
) -> QuarantinePage:
    """What belongs to our programs and could not be read, newest slot first."""
    found = await oversight.quarantine(engine.db, after=_place(cursor), reason=reason, resolved=resolved, limit=limit)
    return QuarantinePage(
        entries=[_entry(row) for row in found],
        next_cursor=".".join(map(str, found[-1].place)) if len(found) == limit else "",
    )


def _place(cursor: str) -> QuarantinePlace | None:
    if not cursor:
        return None
    slot, signature, program, outer, inner, ordinal = cursor.split(".")
    return int(slot), signature, program, int(outer), int(inner), int(ordinal)


def _entry(row: QuarantineRow) -> QuarantineEntry:
    return QuarantineEntry(
        signature=row.signature,
        program=row.program,
        outer=row.outer,
        inner=row.inner,
        ordinal=row.ordinal,
        slot=row.slot,
        reason=row.reason,
        detail=row.detail or "",
        raw_base64=base64.b64encode(row.raw).decode(),
        seen_at=stamp(row.seen_at),
        resolved_at=stamp(row.resolved_at),
    )


chain_router = Router("/", route_handlers=[reading, quarantine], tags=["operators"], opt=scoped(Scope.OPERATOR))
