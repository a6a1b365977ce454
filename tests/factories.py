"""Makes what tests need in the database, through the services that make it in production."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from app.core.access import Principal
from app.core.events import SignalKind
from app.core.money import UNIT
from app.core.requirements import Requirements
from app.matchmaker.matchmaker import Matchmaker
from app.services import feed, jobs, nodes, offers
from app.services.jobs import Submitted
from app.services.nodes import Registration
from app.services.submissions import Submission
from app.services.views import ViewKeeper
from app.store import signals
from app.store.db import Database
from app.store.offers import OpenOffer
from graphs.runtime import WaveLimits, WaveRunner

OWNER = Principal("key_owner", "acme", frozenset({"agent", "node"}))
STRANGER = Principal("key_stranger", "other", frozenset({"agent", "node"}))

_wallets = itertools.count(1)
_SUBMISSION = Submission(
    principal=OWNER,
    type="llm_inference",
    payload={"prompt": "why"},
    requirements=Requirements(),
    policy="reputation_weighted",
    priority=0,
    timeout_s=600,
    max_retries=1,
    queue_ttl_s=600,
)
_REGISTRATION = Registration(
    wallet="",
    gpu_model="a100",
    gpus=8,
    vram_gb=40,
    capabilities=255,
    region="EU",
    price=2 * UNIT,
    capacity=2,
    details={},
)


def submission(**changes: Any) -> Submission:
    """A job that any node with a free slot suits."""
    return replace(_SUBMISSION, **changes)


def registration(**changes: Any) -> Registration:
    """A node that suits most jobs, with a wallet of its own."""
    return replace(_REGISTRATION, **{"wallet": f"wallet{next(_wallets)}", **changes})


async def node(db: Database, owner: Principal = OWNER, **changes: Any) -> str:
    """Register an online node; its id."""
    node_id, _, _ = await nodes.register(db, owner, registration(**changes))
    return node_id


async def submit(db: Database, count: int = 1, **changes: Any) -> list[str]:
    """Submit ``count`` equal jobs; their ids."""
    answers = await jobs.submit(db, [submission(**changes) for _ in range(count)])
    return [answer.job_id for answer in answers if isinstance(answer, Submitted)]


def runner(db: Database, **limits: Any) -> WaveRunner:
    """A wave runner with a view of its own, not yet filled. It gives cancelled runs no time, unless told to."""
    return WaveRunner(db, ViewKeeper(db, Matchmaker(), 0.25), WaveLimits(**{"cancel_grace_s": 0.0, **limits}))


async def run_waves(waves: WaveRunner) -> int:
    """Refresh the view and run waves until nothing is due; the moves made. A wave that fails is the test's failure."""
    moves = 0
    while True:
        await waves.views.refresh()
        report = await waves.run_once()
        assert not report.failed, "a wave failed"
        if not report.signals:
            return moves
        moves += report.moves


async def sequence(db: Database, limit: int = feed.BATCH) -> int:
    """Give all committed events their positions, waiting for transactions that are under way; how many."""
    given = 0
    while True:
        found = await feed.sequence(db, limit)
        given += found.given if found else 0
        if found is not None and not found.more and not found.waiting:
            return given


async def sql(db: Database, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run a statement in a transaction of its own; its rows."""
    async with db.unit() as uow:
        return [tuple(row.values()) for row in await uow.sql.fetch(statement, *values)]


async def all_offers(db: Database) -> list[OpenOffer]:
    """Every open offer of every node, as their nodes would get them."""
    ids = [row[0] for row in await sql(db, "SELECT id FROM nodes ORDER BY id")]
    found = await offers.waiting(db, ids)
    return [offer for node_id in ids for offer in found.get(node_id, [])]


async def accepted(db: Database, waves: WaveRunner, count: int = 1, **changes: Any) -> list[OpenOffer]:
    """Submit jobs, have them offered and accepted, and the acceptance taken in."""
    mine = set(await submit(db, count, **changes))
    await run_waves(waves)
    given = [offer for offer in await all_offers(db) if offer.job_id in mine]
    assert len(given) == count, "not every job was offered"
    assert await offers.accept(db, [(offer.id, offer.node_id) for offer in given]) == [None] * count
    await run_waves(waves)
    return given


async def wake(db: Database, job_ids: Sequence[str], kind: SignalKind = SignalKind.MATCH_DUE) -> None:
    """Have these jobs looked at."""
    async with db.unit() as uow:
        await signals.add(uow, [(job_id, kind, None) for job_id in job_ids])


async def state_of(db: Database, job_id: str) -> str:
    """The job's state."""
    ((state,),) = await sql(db, "SELECT state FROM jobs WHERE id = $1", job_id)
    return str(state)
