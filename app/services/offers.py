"""Use cases of nodes about offers: fetch, accept, decline, progress, result, failure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from app.core.errors import Conflict, Gone, HaeError, NotFound
from app.core.events import EventKind, SignalKind
from app.core.jobs import Offer
from app.core.states import OfferState
from app.store import events, jobs, offers, results, signals
from app.store.db import Database, UnitOfWork
from app.store.events import NewEvent
from app.store.offers import OpenOffer
from app.store.results import NewReport


async def waiting(db: Database, node_ids: Sequence[str]) -> dict[str, list[OpenOffer]]:
    """Open offers by node, oldest first; nodes without any are left out."""
    async with db.unit() as uow:
        found = await offers.waiting(uow, node_ids)
    by_node: dict[str, list[OpenOffer]] = {}
    for offer in found:
        by_node.setdefault(offer.node_id, []).append(offer)
    return by_node


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A node's yes to an offer. ``token``: the lease's fencing token as the node knows it, 0 = it names none."""

    offer_id: str
    node_id: str
    token: int = 0


async def accept(db: Database, pairs: Sequence[tuple[str, str]]) -> list[HaeError | None]:
    """As ``accept_leases`` for ``(offer_id, node_id)``: None where won or already held, else why not."""
    answers = await accept_leases(db, [Acceptance(*pair) for pair in pairs])
    return [answer if isinstance(answer, HaeError) else None for answer in answers]


async def accept_leases(db: Database, asked: Sequence[Acceptance]) -> list[int | HaeError]:
    """Accept offers in one transaction: the lease's fencing token where won or already held, else why not.

    Guarded: of an acceptance and an expiry that race, one wins.
    """
    async with db.unit() as uow:
        pairs = [(one.offer_id, one.node_id) for one in asked]
        won = await offers.accept(uow, pairs, [one.token for one in asked])
        await signals.add(uow, [(answer.job_id, SignalKind.OFFER_ACCEPTED, None) for answer in won])
        taken = {(answer.offer_id, answer.node_id): answer.token for answer in won}
        answers: list[int | HaeError] = []
        for pair, one in zip(pairs, asked, strict=True):
            mine = pair in taken and one.token in (0, taken[pair])
            answers.append(taken[pair] if mine else await _accepted_before(uow, one))
        return answers


async def _accepted_before(uow: UnitOfWork, asked: Acceptance) -> int | HaeError:
    why = await _why_not(uow, asked.offer_id, asked.node_id, OfferState.ACCEPTED)
    token = (await offers.tokens(uow, [asked.offer_id])).get(asked.offer_id, 0)
    if isinstance(why, NotFound):
        return why
    if asked.token not in (0, token):
        return _lease_lost()
    return why or token


async def decline(db: Database, node_id: str, offer_id: str, reason: str) -> None:
    """Decline an open offer; the job falls back to the next node. Raises NotFound, Gone or Conflict."""
    async with db.unit() as uow:
        won = await offers.decline(uow, [(offer_id, node_id)], reason)
        await signals.add(uow, [(answer.job_id, SignalKind.OFFER_DECLINED, None) for answer in won])
        if not won:
            problem = await _why_not(uow, offer_id, node_id, OfferState.DECLINED)
            if problem is not None:
                raise problem


async def progress(db: Database, node_id: str, offer_id: str, percent: float, message: str, *, token: int = 0) -> None:
    """Note progress, which renews the lease; the first makes the job running.

    ``token``: the lease's fencing token as the node knows it, 0 = it names none. Raises NotFound, or Conflict when the
    job was taken away (offer_over), the token is another's (lease_lost), or the run is to stop (cancel_requested).
    """
    async with db.unit() as uow:
        started = await offers.mark_started(uow, offer_id, node_id, token)
        if started is None:
            raise await _over(uow, offer_id, node_id, token)
        offer, first = started
        found = await jobs.get(uow, offer.job_id, None)
        if found is None:
            raise _taken_away()
        if found[0].cancel_requested:
            raise Conflict(
                "the job is to be cancelled",
                code="cancel_requested",
                next_action="Stop working on it and report a failure, or the result if there is one.",
            )
        if first:
            await signals.add(uow, [(offer.job_id, SignalKind.PROGRESS, None)])
        data = {"job_id": offer.job_id, "node_id": node_id, "percent": percent, "message": message}
        event = NewEvent(EventKind.JOB_PROGRESS, data, found[0].account, offer.job_id, node_id)
        await events.add(uow, [event])


async def report(db: Database, reports: Sequence[NewReport]) -> list[HaeError | None]:
    """Record results and failures in one transaction: None where taken (or an exact repeat), else why not.

    A report on a run that is over is kept, once, and counts for nothing: no signal tells of it.
    """
    async with db.unit() as uow:
        taken = [one for one in await results.insert(uow, reports) if not one.late]
        await signals.add(
            uow, [(one.job_id, SignalKind.RESULT if one.ok else SignalKind.FAILURE, None) for one in taken]
        )
        known = {(one.offer_id, one.node_id, one.digest) for one in taken}
        return [None if (r.offer_id, r.node_id, r.digest) in known else await _not_taken(uow, r) for r in reports]


async def to_stop(db: Database, node_id: str, running: Sequence[str]) -> list[str]:
    """Runs that the node is to stop, by offer. ``running``: those it works on, as far as it says so."""
    async with db.unit() as uow:
        return await offers.to_stop(uow, node_id, running)


async def give_up_runs(uow: UnitOfWork, node_id: str, error: str) -> int:
    """Report every run that the node holds and did not report as failed with ``error``; how many."""
    held = await offers.waiting(uow, [node_id], states=(OfferState.ACCEPTED,))
    if not held:
        return 0
    given_up = [new_report(offer.id, node_id, ok=False, error=error) for offer in held]
    # Not a run that is over meanwhile: what its node has to say of it may yet come.
    taken = await results.insert(uow, given_up, keep_late=False)
    await signals.add(uow, [(one.job_id, SignalKind.FAILURE, None) for one in taken])
    return len(taken)


def new_report(
    offer_id: str,
    node_id: str,
    *,
    ok: bool,
    body: Any = None,
    logs: Sequence[Any] = (),
    metrics: dict[str, Any] | None = None,
    error: str | None = None,
    lease_token: int = 0,
) -> NewReport:
    """A report with the digest by which an exact repeat is known."""
    canonical = msgspec.json.encode([ok, body, list(logs), metrics or {}, error], order="deterministic")
    digest = hashlib.sha256(canonical).hexdigest()
    return NewReport(offer_id, node_id, ok, digest, body, list(logs), metrics or {}, error, lease_token)


async def _not_taken(uow: UnitOfWork, given: NewReport) -> HaeError | None:
    before = await results.kept(uow, given.offer_id)
    offer = await offers.get(uow, given.offer_id)
    if before is None or offer is None or offer.node_id != given.node_id or not await _fits(uow, given):
        return await _over(uow, given.offer_id, given.node_id, given.lease_token)
    digest, late = before
    if digest != given.digest:
        return Conflict(
            "this run has been reported already, with another outcome; the first report stands",
            code="already_reported",
        )
    if not late:
        return None
    return Conflict(
        "the job is over for this node, so that the report came too late: it is kept, and does not count",
        code="offer_over",
        next_action="Nothing; go on with other jobs.",
    )


async def _fits(uow: UnitOfWork, given: NewReport) -> bool:
    """Whether the report names no fencing token, or its offer's own."""
    known = await offers.tokens(uow, [given.offer_id])
    return given.lease_token in (0, known.get(given.offer_id))


async def _why_not(uow: UnitOfWork, offer_id: str, node_id: str, wanted: OfferState) -> HaeError | None:
    offer = await offers.get(uow, offer_id)
    if offer is None or offer.node_id != node_id:
        return _no_such_offer(offer_id)
    if offer.state is wanted and (offer.holds_slots or wanted is OfferState.DECLINED):
        return None
    if offer.state in (OfferState.OPEN, OfferState.EXPIRED):
        return Gone("the offer has expired; the job goes to another node", code="offer_expired")
    if offer.state is OfferState.WITHDRAWN or not offer.holds_slots:
        return _taken_away()
    return Conflict(f"the offer is {offer.state} already", code="offer_answered")


async def _over(uow: UnitOfWork, offer_id: str, node_id: str, token: int = 0) -> HaeError:
    offer: Offer | None = await offers.get(uow, offer_id)
    if offer is None or offer.node_id != node_id:
        return _no_such_offer(offer_id)
    if token and token != (await offers.tokens(uow, [offer_id])).get(offer_id):
        return _lease_lost()
    if offer.state is OfferState.OPEN:
        return Conflict("the offer was not accepted", code="offer_not_accepted", next_action="Accept it first.")
    return _taken_away()


def _no_such_offer(offer_id: str) -> NotFound:
    return NotFound(f"there is no offer {offer_id[:60]} for this node", code="offer_not_found")


def _lease_lost() -> Conflict:
    return Conflict(
        "the lease token is not the one of this offer",
        code="lease_lost",
        next_action="Stop working on it, and report nothing.",
    )


def _taken_away() -> Conflict:
    return Conflict(
        "the job is over for this node: it was cancelled, finished or given to another",
        code="offer_over",
        next_action="Stop working on it.",
    )
