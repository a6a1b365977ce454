"""From an event's commit to its receivers, through PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from app.core.deliveries import DeliveryOutcome
from app.core.events import EventKind
from app.store import events
from app.store.db import Database
from app.store.deliveries import DeliveryRows
from app.webhooks.dispatcher import FAN_OUT_LIMIT, Dispatcher
from app.webhooks.endpoints import Endpoint
from app.webhooks.sender import Sender
from tests.support.receiver import Answer, Receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


async def tell(db: Database, count: int, kind: EventKind = EventKind.JOB_COMPLETED) -> None:
    async with db.unit() as uow:
        await events.add(uow, [events.NewEvent(kind, {"job_id": f"job_{i}", "cost": 5}) for i in range(count)])


class Watched(DeliveryRows):
    """Sets ``reached`` once the deliveries' states, read after each settling, are ``until``."""

    def __init__(self, db: Database, until: dict[str, int]) -> None:
        super().__init__(db)
        self.until = until
        self.reached = asyncio.Event()

    async def settle(self, outcomes: Sequence[DeliveryOutcome]) -> None:
        await super().settle(outcomes)
        if await self.counts() == self.until:
            self.reached.set()


async def dispatch(db: Database, sender: Sender, endpoints: Sequence[Endpoint], until: dict[str, int]) -> None:
    """Run a dispatcher until its settling leaves the deliveries in the states ``until``."""
    rows, stop = Watched(db, until), asyncio.Event()
    running = asyncio.create_task(Dispatcher(rows, sender, endpoints, poll_s=0.05).run(stop))
    try:
        async with asyncio.timeout(30):
            await rows.reached.wait()
    finally:
        stop.set()
        await running


async def test_committed_events_reach_every_endpoint_that_wants_them(db: Database, sender: Sender) -> None:
    await tell(db, 30)
    await tell(db, 10, EventKind.JOB_FAILED)
    await tell(db, 10, EventKind.JOB_PROGRESS)
    async with Receiver() as everything, Receiver() as failures:
        endpoints = [
            Endpoint("all", "custom", everything.url(), SECRET),
            Endpoint("bad", "custom", failures.url(), SECRET, frozenset({"job_failed"})),
        ]
        await dispatch(db, sender, endpoints, {"delivered": 50})
        assert len({request.headers["webhook-id"] for request in everything.received}) == 40
        assert [request.json["event"] for request in failures.received] == ["job_failed"] * 10
        assert everything.received[0].json["cost"] == "0.000000005"


async def test_a_rolled_back_event_is_never_told(db: Database) -> None:
    async def fail() -> None:
        async with db.unit() as uow:
            await events.add(uow, [events.NewEvent(EventKind.JOB_COMPLETED, {})])
            raise RuntimeError("the change failed")

    with pytest.raises(RuntimeError, match="the change failed"):
        await fail()
    assert await DeliveryRows(db).fan_out([], FAN_OUT_LIMIT) == 0


async def test_what_a_killed_dispatcher_had_claimed_is_sent_again_under_its_id(db: Database, sender: Sender) -> None:
    await tell(db, 5)
    async with Receiver() as receiver:
        endpoint = Endpoint("ops", "custom", receiver.url(), SECRET)
        rows = DeliveryRows(db)
        assert await rows.fan_out([endpoint], FAN_OUT_LIMIT) == 5
        claimed = await rows.claim(3, 0.2, ["ops"])
        assert [delivery.tries for delivery in claimed] == [1, 1, 1]
        await sender.send(endpoint, claimed[0].event)
        await dispatch(db, sender, [endpoint], {"delivered": 5})
        ids = [request.headers["webhook-id"] for request in receiver.received]
    assert len(set(ids)) == 5
    assert ids.count(claimed[0].event.id) == 2


async def test_two_dispatchers_share_the_work_and_send_nothing_twice(db: Database, sender: Sender) -> None:
    await tell(db, 100)
    async with Receiver() as receiver:
        endpoints = [Endpoint("ops", "custom", receiver.url(), SECRET)]
        stop = asyncio.Event()
        runs = [Dispatcher(DeliveryRows(db), sender, endpoints).run(stop) for _ in range(2)]
        running = [asyncio.create_task(run) for run in runs]
        await receiver.until(100)
        stop.set()
        await asyncio.gather(*running)
        ids = [request.headers["webhook-id"] for request in receiver.received]
    assert len(ids) == len(set(ids)) == 100


async def test_failures_wait_and_refusals_end(db: Database, sender: Sender, strict: Sender) -> None:
    await tell(db, 2)
    async with Receiver(Answer(500)) as receiver:
        endpoints = [Endpoint("ops", "custom", receiver.url(), SECRET)]
        await dispatch(db, sender, endpoints, {"pending": 2})
        assert len(receiver.received) == 2
        async with db.unit() as uow:
            await uow.sql.execute("UPDATE deliveries SET due_at = now() - interval '1 second'")
        await dispatch(db, strict, endpoints, {"dead": 2})
    async with db.unit() as uow:
        errors = await uow.sql.fetch("SELECT DISTINCT error, tries FROM deliveries")
    assert [tuple(row) for row in errors] == [("the receiver has an address that is not public (loopback)", 2)]
