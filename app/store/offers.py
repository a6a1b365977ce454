"""The offers table: leases on slots of nodes, and what nodes answer to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.core.jobs import Offer, Visit
from app.core.states import OfferState
from app.store.copying import copy_rows
from app.store.db import UnitOfWork
from app.store.rows import OFFER_COLUMNS, offer_from


@dataclass(slots=True)
class OpenOffer:
    """An open offer as a node gets it: with what it needs to run the job. ``price`` in base units per GPU-hour.

    ``token``: the lease's fencing token.
    """

    id: str
    job_id: str
    node_id: str
    attempt: int
    state: OfferState
    job_type: str
    payload: dict[str, Any]
    gpus: int
    price: int
    timeout_s: int
    created_at: datetime
    expires_at: datetime
    token: int = 0


@dataclass(slots=True)
class Answered:
    """An offer whose answer was taken: for signals and hints. ``response_ms`` since the offer was made.

    ``token``: the lease's fencing token.
    """

    offer_id: str
    job_id: str
    node_id: str
    response_ms: int
    token: int


async def lock(uow: UnitOfWork, ids: Sequence[str]) -> dict[str, Offer]:
    """The offers of ``ids``, locked in id order until the transaction ends."""
    rows = await uow.sql.fetch(
        f"SELECT {OFFER_COLUMNS} FROM offers WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE",
        sorted(ids),
    )
    return {row[0]: offer_from(row) for row in rows}


async def insert(uow: UnitOfWork, offers: Sequence[Offer]) -> None:
    """Insert open offers; their slots are claimed by the same transaction."""
    if not offers:
        return
    await copy_rows(
        uow,
        "offers",
        ("id", "job_id", "node_id", "attempt", "slots", "price", "expires_at"),
        [(o.id, o.job_id, o.node_id, o.attempt, o.slots, o.price, o.expires_at) for o in offers],
    )
    uow.hints.nodes.update(offer.node_id for offer in offers)


async def close(uow: UnitOfWork, visits: Sequence[Visit]) -> None:
    """Release the slots of the visits' offers; an open one takes the state in ``visit.closed``."""
    if not visits:
        return
    await uow.sql.execute(
        """UPDATE offers SET holds_slots = false,
            state = CASE WHEN offers.state = 'open' THEN u.state ELSE offers.state END,
            decided_at = coalesce(decided_at, now())
        FROM unnest($1::text[], $2::text[]) AS u(id, state) WHERE offers.id = u.id""",
        [visit.offer.id for visit in visits if visit.offer],
        [(visit.closed or OfferState.WITHDRAWN).value for visit in visits if visit.offer],
    )


async def accept(uow: UnitOfWork, pairs: Sequence[tuple[str, str]], tokens: Sequence[int] = ()) -> list[Answered]:
    """Accept open, unexpired offers given as ``(offer_id, node_id)``; returns those won.

    ``tokens``: beside each pair the fencing token that its node knows, 0 = none; another one than the offer's loses.
    """
    return await _answer(uow, pairs, OfferState.ACCEPTED, None, tokens)


async def decline(uow: UnitOfWork, pairs: Sequence[tuple[str, str]], reason: str) -> list[Answered]:
    """Decline open offers, freeing their slots when the graph takes the job on; returns those won."""
    return await _answer(uow, pairs, OfferState.DECLINED, reason)


async def _answer(
    uow: UnitOfWork,
    pairs: Sequence[tuple[str, str]],
    state: OfferState,
    reason: str | None,
    tokens: Sequence[int] = (),
) -> list[Answered]:
    # A declined offer keeps its slots until the wave moves the job and the node in one go: holds_slots says both.
    rows = await uow.sql.fetch(
        """WITH asked AS (SELECT * FROM unnest($1::text[], $2::text[], $5::int8[]) AS a(id, node_id, known)),
        held AS (SELECT offers.id FROM offers JOIN asked USING (id, node_id)
            WHERE state = 'open' AND expires_at > clock_timestamp() AND known IN (0, token)
            ORDER BY offers.id FOR NO KEY UPDATE OF offers)
        UPDATE offers SET state = $3, reason = $4, decided_at = clock_timestamp()
        FROM held WHERE offers.id = held.id AND offers.state = 'open' AND offers.expires_at > clock_timestamp()
        RETURNING offers.id, job_id, node_id,
            (extract(epoch FROM clock_timestamp() - created_at) * 1000)::int, token""",
        [offer_id for offer_id, _ in pairs],
        [node_id for _, node_id in pairs],
        state.value,
        reason,
        list(tokens) or [0] * len(pairs),
    )
    return [Answered(*row) for row in rows]


async def mark_started(uow: UnitOfWork, offer_id: str, node_id: str, token: int = 0) -> tuple[Offer, bool] | None:
    """Note progress of an accepted offer, which renews its lease: the offer as it was, and whether this was the first.

    None if it is not running, or ``token`` is neither 0 nor its own.
    """
    row = await uow.sql.fetchrow(
        f"""SELECT {OFFER_COLUMNS} FROM offers WHERE id = $1 AND node_id = $2 AND state = 'accepted' AND holds_slots
            AND $3::int8 IN (0, token) FOR NO KEY UPDATE""",
        offer_id,
        node_id,
        token,
    )
    if row is None:
        return None
    offer = offer_from(row)
    await uow.sql.execute(
        "UPDATE offers SET started_at = coalesce(started_at, now()), renewed_at = clock_timestamp() WHERE id = $1",
        offer_id,
    )
    return offer, offer.started_at is None


async def get(uow: UnitOfWork, offer_id: str) -> Offer | None:
    row = await uow.sql.fetchrow(f"SELECT {OFFER_COLUMNS} FROM offers WHERE id = $1", offer_id)
    return None if row is None else offer_from(row)


async def tokens(uow: UnitOfWork, offer_ids: Sequence[str]) -> dict[str, int]:
    """The fencing token of each offer that there is."""
    rows = await uow.sql.fetch("SELECT id, token FROM offers WHERE id = ANY($1::text[])", list(offer_ids))
    return {row[0]: row[1] for row in rows}


async def to_stop(uow: UnitOfWork, node_id: str, running: Sequence[str]) -> list[str]:
    """Runs that the node is to stop, by offer: those of ``running`` that are not its own any more, and those it holds
    whose jobs are to be cancelled."""
    rows = await uow.sql.fetch(
        """SELECT asked.id FROM unnest($2::text[]) AS asked(id) WHERE NOT EXISTS (SELECT 1 FROM offers o
            WHERE o.id = asked.id AND o.node_id = $1 AND o.holds_slots AND o.state = 'accepted')
        UNION
        SELECT o.id FROM offers o JOIN jobs j ON j.id = o.job_id
        WHERE o.node_id = $1 AND o.holds_slots AND o.state = 'accepted' AND j.cancel_requested
            AND NOT EXISTS (SELECT 1 FROM results r WHERE r.offer_id = o.id)
        ORDER BY 1""",
        node_id,
        list(running),
    )
    return [row[0] for row in rows]


async def last_run(uow: UnitOfWork, job_id: str, account: str) -> Offer | None:
    """The latest attempt of the job that a node of this account accepted, over or not."""
    row = await uow.sql.fetchrow(
        f"""SELECT {OFFER_COLUMNS} FROM offers WHERE job_id = $1 AND state = 'accepted'
            AND node_id IN (SELECT n.id FROM nodes n WHERE n.account = $2) ORDER BY attempt DESC LIMIT 1""",
        job_id,
        account,
    )
    return None if row is None else offer_from(row)


async def waiting(
    uow: UnitOfWork, node_ids: Sequence[str], *, states: Sequence[OfferState] = (OfferState.OPEN,)
) -> list[OpenOffer]:
    """Offers that hold slots of these nodes, in one of ``states``, unexpired and unreported; oldest first."""
    rows = await uow.sql.fetch(
        """SELECT o.id, o.job_id, o.node_id, o.attempt, o.state, j.type, j.payload, o.slots, o.price,
            greatest(1, least(j.timeout_s, ceil(extract(epoch FROM j.deadline_at - clock_timestamp()))))::int,
            o.created_at, o.expires_at, o.token
        FROM offers o JOIN jobs j ON j.id = o.job_id
        WHERE o.node_id = ANY($1::text[]) AND o.holds_slots AND o.state = ANY($2::text[])
            AND (o.state <> 'open' OR o.expires_at > clock_timestamp())
            AND NOT EXISTS (SELECT 1 FROM results r WHERE r.offer_id = o.id)
        ORDER BY o.created_at, o.id""",
        node_ids,
        [state.value for state in states],
    )
    return [
        OpenOffer(
            id=row[0],
            job_id=row[1],
            node_id=row[2],
            attempt=row[3],
            state=OfferState(row[4]),
            job_type=row[5],
            payload=row[6],
            gpus=row[7],
            price=row[8],
            timeout_s=row[9],
            created_at=row[10],
            expires_at=row[11],
            token=row[12],
        )
        for row in rows
    ]
