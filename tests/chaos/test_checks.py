"""The checker on a real database: what it reads is what the engine writes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.chaos.checks import check
from app.chaos.history import History, Kind, Op, Outcome
from app.core.access import Principal
from app.core.errors import HaeError
from app.services import feed, jobs, offers
from app.services.jobs import Submitted
from app.store.db import Database
from app.store.feed import UNSEQUENCED
from tests import factories
from tests.factories import OWNER, all_offers, node, run_waves, runner, sql, submission

OPERATOR = Principal("key_ops", "ops", frozenset({"operator"}))


class Client:
    """Calls the engine's use cases, and records them as clients do."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.history = History()
        self.history.readers["client"] = None

    async def submit(self, key: str, **wishes: Any) -> str:
        (answer,) = await jobs.submit(self.db, [submission(idempotency_key=key, **wishes)])
        assert isinstance(answer, Submitted)
        self._record("submit", "ok", key=key, job_id=answer.job_id)
        return answer.job_id

    async def cancel(self, job_id: str) -> None:
        await jobs.cancel(self.db, OWNER, job_id)
        self._record("cancel", "ok", job_id=job_id)

    async def accept(self, offer_id: str, node_id: str) -> None:
        (problem,) = await offers.accept(self.db, [(offer_id, node_id)])
        outcome: Outcome = "fail" if isinstance(problem, HaeError) else "ok"
        self._record("accept", outcome, offer_id=offer_id, node_id=node_id)

    async def decline(self, offer_id: str, node_id: str) -> None:
        await offers.decline(self.db, node_id, offer_id, "busy")
        self._record("decline", "ok", offer_id=offer_id, node_id=node_id)

    async def report(self, offer_id: str, node_id: str, *, ok: bool = True) -> None:
        told: dict[str, Any] = {"body": "done"} if ok else {"error": "stopped"}
        (problem,) = await offers.report(self.db, [offers.new_report(offer_id, node_id, ok=ok, **told)])
        outcome: Outcome = "fail" if isinstance(problem, HaeError) else "ok"
        self._record("result" if ok else "failure", outcome, offer_id=offer_id, node_id=node_id)

    async def follow(self) -> None:
        """Have all events put into the feed, and read it page by page."""
        while (await feed.sequence(self.db)) is None or await sql(self.db, f"SELECT 1 {UNSEQUENCED} LIMIT 1"):
            pass
        after = 0
        while page := (await feed.page(self.db, OPERATOR, after, 7)).events:
            for event in page:
                self._record("feed", "ok", position=event.position, key=event.id, event=event.kind)
            after = page[-1].position
        self.history.read_to["client"] = after

    def _record(self, kind: Kind, outcome: Outcome, **fields: Any) -> None:
        now = History.now()
        self.history.add(Op(kind=kind, actor="client", began=now, ended=now, outcome=outcome, **fields))


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


async def test_a_life_of_setbacks_is_clean_and_tampering_is_not(db: Database, database_url: str) -> None:
    client, waves = Client(db), runner(db, cancel_grace_s=600.0)
    first, second = await node(db), await node(db)
    declined = await client.submit("one")
    assert await client.submit("one") == declined
    await run_waves(waves)
    (offer,) = await all_offers(db)
    other = second if offer.node_id == first else first
    await client.accept(offer.id, other)
    await client.decline(offer.id, offer.node_id)
    await run_waves(waves)
    (again,) = await all_offers(db)
    assert (again.node_id, again.attempt) == (other, 2)
    await client.accept(again.id, other)
    await client.report(again.id, other)
    await client.accept(offer.id, offer.node_id)
    await run_waves(waves)
    assert await factories.state_of(db, declined) == "completed"
    stopped = await client.submit("two")
    await run_waves(waves)
    (offer,) = await all_offers(db)
    await client.accept(offer.id, offer.node_id)
    await client.cancel(stopped)
    await run_waves(waves)
    await client.report(offer.id, offer.node_id, ok=False)
    await run_waves(waves)
    await client.report(offer.id, offer.node_id)
    await client.cancel(stopped)
    never = await client.submit("three")
    await client.cancel(never)
    await run_waves(waves)
    assert {await factories.state_of(db, job_id) for job_id in (stopped, never)} == {"cancelled"}

    await client.follow()
    assert await check(client.history, database_url, None) == []
    await sql(db, "UPDATE results SET late = true WHERE job_id = $1", declined)
    await sql(db, "DELETE FROM feed WHERE event_id = (SELECT id FROM events WHERE job_id = $1 LIMIT 1)", never)
    await sql(db, "UPDATE job_history SET reason = 'result' WHERE job_id = $1 AND to_state = 'offered'", stopped)
    found = await check(client.history, database_url, None)
    named = {violation.partition(":")[0] for violation in found}
    assert {"lost_report", "result_missing", "feed_missing", "feed_changed", "history_hash"} <= named
