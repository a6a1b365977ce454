"""From a job's last transition to its receiver, with SIGKILL at every step in between."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.core.events import NOTIFIED
from app.services import offers
from app.store.db import Database
from tests import factories
from tests.factories import sql
from tests.support.receiver import Answer, Receiver

pytestmark = pytest.mark.chaos


@asynccontextmanager
async def delivering(url: str, receiver: Receiver) -> AsyncIterator[None]:
    """A dispatcher's process, killed at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.store.delivering", url, receiver.url()
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def test_no_event_is_lost_between_its_commit_and_its_delivery(db: Database, database_url: str) -> None:
    await factories.node(db, capacity=8)
    waves = factories.runner(db)
    running = await factories.accepted(db, waves, 4)
    await offers.report(db, [offers.new_report(offer.id, offer.node_id, ok=True) for offer in running])
    await factories.run_waves(waves)
    # Committed, and whoever committed is gone: only the rows know.
    written = await sql(db, "SELECT id, kind FROM events")
    committed = {event_id for event_id, kind in written if kind in NOTIFIED}
    kinds = {kind for _, kind in written}
    assert {"job_submitted", "job_matched", "job_completed", "node_registered"} <= kinds
    never = asyncio.Event()
    async with Receiver(Answer(wait_for=never)) as receiver:
        async with delivering(database_url, receiver):
            await receiver.until(3)
        told_once = {request.headers["webhook-id"] for request in receiver.received}
        assert told_once <= committed
        # Claimed, sent, never answered for: the lease brings them back. Time passes.
        await sql(db, "UPDATE deliveries SET due_at = now() WHERE state = 'pending'")
        before = len(receiver.received)
        receiver.answer = Answer()
        async with delivering(database_url, receiver):
            async with asyncio.timeout(30):
                while await sql(  # noqa: ASYNC110  (the rows tell)
                    db,
                    """SELECT FROM consumers WHERE name = 'webhooks' AND position < $1
                    UNION ALL SELECT FROM deliveries WHERE state = 'pending'""",
                    len(written),
                ):
                    await asyncio.sleep(0.05)
        told = {request.headers["webhook-id"]: request.json for request in receiver.received[before:]}
    assert told.keys() == committed
    assert told_once <= told.keys(), "ids changed over a retry"
    done = {body["job_id"] for body in told.values() if body["event"] == "job_completed"}
    assert done == {offer.job_id for offer in running}
    assert await sql(db, "SELECT DISTINCT state FROM deliveries") == [("delivered",)]
