"""What must hold of one job and all that is kept of it: pure checks, one finding a violation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

from app.core.chaining import link
from app.core.events import JOB_EVENT, EventKind
from app.core.lifecycle import SETTLEMENT_EVENT, cost_of, next_settlement
from app.core.states import JOB_MOVES, JOB_ON_NODE, SETTLEMENT_MOVES, JobState, Settlement
from app.store.verify import HistoryRow, JobRows

_UNTOLD_BY_MOVES = frozenset({EventKind.JOB_PROGRESS, EventKind.JOB_LINKED, EventKind.OPERATOR_MISMATCH})
"""Kinds of a job's events that tell of no move."""


def findings(rows: JobRows, history_since: datetime | None, events_since: datetime | None) -> Iterator[tuple[str, str]]:
    """``(check, detail)`` of each thing that is wrong with the job.

    ``history_since``, ``events_since``: what is older may have been dropped. A history whose beginning may have been is
    taken from its first row that is there; one that may be gone as a whole is not missed.
    """
    created = rows.job.created_at
    history_whole = history_since is None or created >= history_since
    yield from _history(rows, history_whole, history_since)
    yield from _settlement(rows)
    yield from _offers(rows, history_whole)
    yield from _results(rows)
    if history_whole and (events_since is None or created >= events_since):
        yield from _events(rows)


def _history(rows: JobRows, whole: bool, since: datetime | None) -> Iterator[tuple[str, str]]:
    job, history = rows.job, rows.history
    if not history:
        gone = since is not None and job.finished_at is not None and job.finished_at < since
        if whole or not gone:
            yield "history_missing", f"is {job.state}, and has no history"
        return
    first = history[0]
    if whole and first.source is not None:
        yield "history_cut", f"begins with {first.source} → {first.target}"
    if first.source is None and (first.attempt != 1 or first.target not in _FIRST):
        yield "history_move", f"began as {first.target}, attempt {first.attempt}"
    for number, (before, row) in enumerate(pairwise(history), 2):
        yield from _follows(before, row, number)
    yield from _hashes(rows)
    last = history[-1]
    if last.target != job.state:
        yield "job_state", f"is {job.state}, its history says {last.target}"
    # The move back to pending is of the attempt that it ends; the next one begins with it.
    told = last.attempt + (last.target == JobState.PENDING and last.source not in (None, JobState.SCHEDULED))
    if told != job.attempt:
        yield "job_attempt", f"is in attempt {job.attempt}, its history in {told}"
    if last.reason != job.reason:
        yield "job_reason", f"has reason {job.reason}, its history {last.reason}"
    if job.final is not (job.finished_at is not None):
        yield "job_final", f"is {job.state} and was finished {job.finished_at}"


_MOVES = {source.value: {target.value for target in targets} for source, targets in JOB_MOVES.items()}
_SETTLEMENTS = {source.value: {target.value for target in targets} for source, targets in SETTLEMENT_MOVES.items()}
_TOLD = {state.value: kind.value for state, kind in JOB_EVENT.items()}
_TOLD_OF_PAYMENT = {settlement.value: kind.value for settlement, kind in SETTLEMENT_EVENT.items()}
"""By the words in the rows, which need not be ones that there are."""

_FIRST = (JobState.PENDING, JobState.SCHEDULED, JobState.BLOCKED)


def _follows(before: HistoryRow, row: HistoryRow, number: int) -> Iterator[tuple[str, str]]:
    if row.source != before.target:
        yield "history_order", f"row {number} leaves {row.source}, the row before came to {before.target}"
    elif row.target not in _MOVES.get(row.source or "", ()):
        yield "history_move", f"row {number} moves {row.source} → {row.target}"
    risen = before.target == JobState.PENDING and before.source not in (None, JobState.SCHEDULED, JobState.BLOCKED)
    if not before.attempt <= row.attempt <= before.attempt + risen:
        yield "history_attempt", f"row {number} is of attempt {row.attempt}, the row before of {before.attempt}"


def _hashes(rows: JobRows) -> Iterator[tuple[str, str]]:
    before: bytes | None = None
    for number, row in enumerate(rows.history, 1):
        if row.hash is None:
            # Rows from before there were hashes: the chain begins after the last of them.
            if before is not None:
                yield "history_hash", f"row {number} ({row.source} → {row.target}) has no hash"
            continue
        known = number > 1 or row.source is None
        if known and row.hash != link(
            before,
            rows.job.id,
            row.source,
            row.target,
            row.attempt,
            row.reason,
            row.actor,
            row.node_id,
            row.at,
        ):
            yield "history_hash", f"row {number} ({row.source} → {row.target}) is not what was hashed"
        before = row.hash
    if before != rows.job.history_head:
        yield "history_head", "the job's last hash is not that of its last row"


def _settlement(rows: JobRows) -> Iterator[tuple[str, str]]:
    job = rows.job
    stands: str = Settlement.AWAITING if job.state is JobState.COMPLETED else Settlement.NONE
    for number, (source, target) in enumerate(rows.settlements, 1):
        if source != stands:
            yield "settlement_order", f"row {number} leaves {source}, it was {stands}"
        elif target not in _SETTLEMENTS.get(stands, ()):
            yield "settlement_move", f"row {number} moves {source} → {target}"
        stands = target
    if stands != job.settlement:
        yield "settlement_state", f"is {job.settlement}, its history says {stands}"
    if job.settlement is Settlement.SETTLED and not rows.paid:
        yield "payment_unpaid", "is settled, and no good payment of it is final"
    due = next_settlement(job.settlement, rows.chain)
    if due is not None and not rows.chain_heard:
        yield "payment_unheard", f"is {job.settlement}, the chain says {due[0]}, and nobody will look"
    if rows.paid_out and job.state is not JobState.COMPLETED:
        yield "payment_unearned", f"is {job.state}, and is paid"


def _offers(rows: JobRows, history_whole: bool) -> Iterator[tuple[str, str]]:
    job = rows.job
    holding = [offer for offer in rows.offers if offer.holds]
    if len(holding) > 1:
        yield "offer_doubled", f"holds slots by {', '.join(offer.id for offer in holding)}"
    if (job.state in JOB_ON_NODE) is not bool(holding):
        held = ", ".join(offer.id for offer in holding) or "nothing"
        yield "offer_job", f"is {job.state} and holds {held}"
    for offer in holding:
        if (offer.id, offer.node_id, offer.attempt) != (job.offer_id, job.node_id, job.attempt):
            yield "offer_job", f"offer {offer.id} of attempt {offer.attempt} holds slots, and is not its present one"
        if offer.slots != job.requirements.gpus:
            yield "offer_slots", f"offer {offer.id} holds {offer.slots} slots for {job.requirements.gpus} GPUs"
        if job.state in _TAKEN and offer.state != "accepted":
            yield "offer_state", f"is {job.state}, its offer {offer.id} is {offer.state}"
    if not history_whole:
        return
    made = {(offer.attempt, offer.node_id) for offer in rows.offers}
    told = {(row.attempt, row.node_id) for row in rows.history if row.target == JobState.OFFERED}
    for attempt, node_id in sorted(made ^ told, key=str):
        what = "an offer and no move" if (attempt, node_id) in made else "a move and no offer"
        yield "offer_history", f"attempt {attempt} on {node_id} has {what}"
    accepted = {offer.attempt for offer in rows.offers if offer.state == "accepted"}
    for row in rows.history:
        if row.target == JobState.ASSIGNED and row.attempt not in accepted:
            yield "offer_state", f"was assigned in attempt {row.attempt}, whose offer was not accepted"


_TAKEN = frozenset({JobState.ASSIGNED, JobState.RUNNING, JobState.CANCELLING})


def _results(rows: JobRows) -> Iterator[tuple[str, str]]:
    job = rows.job
    offers = {offer.id: offer for offer in rows.offers}
    for one in rows.results:
        offer = offers[one.offer_id]
        if (one.node_id, one.attempt) != (offer.node_id, offer.attempt) or offer.state != "accepted":
            yield "result_offer", f"the report on offer {offer.id} is not of the node that accepted it"
        if one.late and offer.holds:
            yield "result_late", f"the report on offer {offer.id} counts as late, and its run is not over"
    counted = [one for one in rows.results if one.ok and not one.late]
    if len(counted) > 1:
        yield "result_doubled", f"{len(counted)} good reports count: {', '.join(one.offer_id for one in counted)}"
    if job.state is JobState.COMPLETED:
        if not any((one.offer_id, one.attempt) == (job.offer_id, job.attempt) for one in counted):
            yield "result_missing", "is completed without a good report of its last attempt"
        cost = cost_of(job)
        if job.cost != cost:
            yield "job_cost", f"costs {job.cost} base units, its run comes to {cost}"
        return
    if job.cost is not None:
        yield "job_cost", f"is {job.state}, and costs {job.cost} base units"
    for one in counted:
        if not offers[one.offer_id].holds:
            yield "result_lost", f"the good report on offer {one.offer_id} came in time, and the job is {job.state}"


def _events(rows: JobRows) -> Iterator[tuple[str, str]]:
    due: Counter[str] = Counter(_told_as(row) for row in rows.history)
    due.update(_TOLD_OF_PAYMENT.get(target, target) for _, target in rows.settlements)
    for kind in sorted(due.keys() | rows.events.keys()):
        if kind not in _UNTOLD_BY_MOVES and due[kind] != rows.events.get(kind, 0):
            yield "event_off", f"{rows.events.get(kind, 0)} {kind} events for {due[kind]} moves"


def _told_as(row: HistoryRow) -> str:
    if row.source is None:
        return EventKind.JOB_SUBMITTED.value
    released = (row.source, row.target) == (JobState.SCHEDULED, JobState.PENDING)
    return EventKind.JOB_RELEASED.value if released else _TOLD.get(row.target, row.target)
