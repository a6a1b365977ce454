"""From an event's commit through the feed to its receivers, on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from app.core.deliveries import DeliveryOutcome
from app.core.errors import InvalidInput
from app.core.events import EventKind
from app.services import deliveries
from app.store import events
from app.store.db import Database
from app.store.deliveries import DeliveryRows
from app.webhooks.dispatcher import FAN_OUT_LIMIT, Dispatcher
from app.webhooks.endpoints import Endpoint
from app.webhooks.sender import Sender
from tests.factories import sequence, sql
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
    assert await sequence(db) == count


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
    assert await sequence(db) == 0
    assert (await DeliveryRows(db).fan_out([], FAN_OUT_LIMIT)).events == 0


async def test_what_a_killed_dispatcher_had_claimed_is_sent_again_under_its_id(db: Database, sender: Sender) -> None:
    await tell(db, 5)
    async with Receiver() as receiver:
        endpoint = Endpoint("ops", "custom", receiver.url(), SECRET)
        rows = DeliveryRows(db)
        assert (await rows.fan_out([endpoint], FAN_OUT_LIMIT)).events == 5
        claimed = await rows.claim(3, 0.2, "ops")
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
    errors = await sql(db, "SELECT DISTINCT error, tries FROM deliveries")
    assert errors == [("the receiver has an address that is not public (loopback)", 2)]


async def test_a_cursor_that_somebody_else_moves_is_left_to_him(db: Database) -> None:
    await tell(db, 3)
    endpoint = Endpoint("ops", "custom", "http://127.0.0.1:1/", SECRET)
    async with db.unit() as uow:
        await uow.sql.execute("SELECT FROM consumers WHERE name = 'webhooks' FOR UPDATE")
        assert (await DeliveryRows(db).fan_out([endpoint], 2)).events == 0
    assert [(await DeliveryRows(db).fan_out([endpoint], 2)).events for _ in range(3)] == [2, 1, 0]
    assert await DeliveryRows(db).counts() == {"pending": 3}


async def test_deliveries_of_an_endpoint_that_nobody_knows_end(db: Database) -> None:
    await tell(db, 3)
    rows = DeliveryRows(db)
    kept, gone = (Endpoint(name, "custom", "http://127.0.0.1:1/", SECRET) for name in ("kept", "gone"))
    await rows.fan_out([kept, gone], FAN_OUT_LIMIT)
    assert await rows.retire(["kept"]) == 0, "due for a moment only: another worker may know it"
    await sql(db, "UPDATE deliveries SET due_at = now() - interval '1 day'")
    assert await rows.retire(["kept", "gone"]) == 0
    assert await rows.retire(["kept"]) == 3
    assert (
        await sql(db, "SELECT endpoint, state, error FROM deliveries WHERE state = 'dead'")
        == [("gone", "dead", "the endpoint is no longer in the settings")] * 3
    )


async def test_the_dead_are_listed_and_sent_again_under_their_ids(db: Database, sender: Sender) -> None:
    await tell(db, 5)
    async with Receiver(Answer(410)) as receiver:
        endpoint = Endpoint("ops", "custom", receiver.url(), SECRET)
        await dispatch(db, sender, [endpoint], {"dead": 5})
        first = [request.headers["webhook-id"] for request in receiver.received]
        pages = [await deliveries.dead(db, "ops", "", 3)]
        pages.append(await deliveries.dead(db, "", pages[0][-1].id, 3))
        listed = [one for page in pages for one in page]
        assert [one.event_id for one in listed] == sorted(first, reverse=True)
        assert {(one.endpoint, one.kind, one.tries, one.status_code) for one in listed} == {
            ("ops", "job_completed", 1, 410)
        }
        assert await deliveries.dead(db, "other", "", 3) == []
        named = listed[1].id
        assert await deliveries.requeue(db, [named, deliveries_id(named)], "") == [named]
        assert await deliveries.requeue(db, [named], "") == [], "it is not dead any more"
        assert len(await deliveries.requeue(db, [], "ops")) == 4
        receiver.answer = Answer()
        await dispatch(db, sender, [endpoint], {"delivered": 5})
        again = [request.headers["webhook-id"] for request in receiver.received[5:]]
    assert sorted(again) == sorted(first)
    for wrong in ("evt_1:ops", "evt_1:x:ops", f"evt_1:{'9' * 30}:ops"):
        with pytest.raises(InvalidInput):
            await deliveries.requeue(db, [wrong], "")
        with pytest.raises(InvalidInput):
            await deliveries.dead(db, "", wrong, 3)


def deliveries_id(known: str) -> str:
    """The id of the same event's delivery to somebody else, of which there is none."""
    return f"{known.rsplit(':', 1)[0]}:nobody"
