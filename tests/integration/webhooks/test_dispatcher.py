"""The dispatcher over real HTTP, with deliveries in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from app.core.deliveries import DeliveryState, Event
from app.webhooks.dispatcher import FAN_OUT_LIMIT, Dispatcher
from app.webhooks.endpoints import Endpoint
from app.webhooks.guard import Guard
from app.webhooks.schedule import DELAYS_S, MAX_TRIES
from app.webhooks.sender import Limits, Sender
from tests.support.delivery_store import MemoryStore
from tests.support.receiver import Answer, Received, Receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AT = datetime(2026, 1, 1, tzinfo=UTC)
PENDING, DELIVERED, DEAD = DeliveryState.PENDING, DeliveryState.DELIVERED, DeliveryState.DEAD


def events(count: int, kind: str = "job_completed", start: int = 0) -> list[Event]:
    return [Event(f"evt_{i}", kind, AT, {"job_id": f"job_{i}"}) for i in range(start, start + count)]


def custom(name: str, receiver: Receiver, **more: Any) -> Endpoint:
    return Endpoint(name, "custom", receiver.url(), SECRET, **more)


@asynccontextmanager
async def dispatching(
    store: MemoryStore,
    endpoints: Sequence[Endpoint],
    *,
    poll_s: float = 0.02,
    grace_s: float = 5.0,
    limits: Limits | None = None,
) -> AsyncIterator[Dispatcher]:
    stop = asyncio.Event()
    async with Sender(Guard(["127.0.0.0/8"]), limits) as sender:
        dispatcher = Dispatcher(store, sender, endpoints, poll_s=poll_s, grace_s=grace_s)
        running = asyncio.create_task(dispatcher.run(stop))
        try:
            yield dispatcher
        finally:
            stop.set()
            await running


async def test_every_event_reaches_every_endpoint_that_wants_it() -> None:
    store = MemoryStore()
    store.feed = events(60) + events(20, "job_failed", start=60)
    async with Receiver() as all_of_them, Receiver() as failures:
        endpoints = [custom("all", all_of_them), custom("bad", failures, events=frozenset({"job_failed"}))]
        async with dispatching(store, endpoints) as dispatcher:
            await store.until(DELIVERED, 100)
        assert dispatcher.delivered == 100
        told = sorted(request.headers["webhook-id"] for request in all_of_them.received)
        assert told == sorted(f"evt_{i}" for i in range(80))
        assert {request.json["event"] for request in failures.received} == {"job_failed"}
        assert len(failures.received) == 20
    assert {row.status_code for row in store.rows.values()} == {200}


async def test_a_wake_up_does_not_wait_for_the_poll() -> None:
    store = MemoryStore()
    async with (
        Receiver() as receiver,
        dispatching(store, [custom("ops", receiver)], poll_s=3600) as dispatcher,
    ):
        await asyncio.sleep(0.05)
        store.feed = events(3)
        dispatcher.wake()
        await store.until(DELIVERED, 3)


async def test_the_feed_is_read_on_even_when_nobody_wants_anything() -> None:
    store = MemoryStore()
    store.feed = events(FAN_OUT_LIMIT * 2 + 1)
    async with dispatching(store, []):
        await store.changed(lambda: not store.feed)
    assert not store.rows


async def test_a_receiver_that_hangs_does_not_hold_up_the_others() -> None:
    store = MemoryStore()
    store.feed = events(200)
    async with (
        Receiver(Answer(wait_for=asyncio.Event())) as hanging,
        Receiver() as good,
        dispatching(store, [custom("a-hanging", hanging), custom("good", good)], grace_s=0),
    ):
        await store.until(DELIVERED, 200, "good")
        assert hanging.most_in_flight == 8
    assert store.count(PENDING, "a-hanging") == 200


async def test_a_long_backlog_does_not_starve_another_endpoint() -> None:
    store = MemoryStore()
    store.feed = events(60)
    order: list[str] = []

    def note(name: str) -> Callable[[Received], Answer]:
        def answer(_: Received) -> Answer:
            order.append(name)
            return Answer()

        return answer

    limits = Limits(concurrency=4, per_endpoint=4)
    async with (
        Receiver(note("a")) as first,
        Receiver(note("b")) as second,
        dispatching(store, [custom("a", first), custom("b", second)], limits=limits),
    ):
        await store.until(DELIVERED, 120)
    assert "a" in order[order.index("b") :]


async def test_a_paced_endpoint_gets_its_turn_without_a_poll() -> None:
    store = MemoryStore()
    store.feed = events(2)
    async with Receiver() as chat:
        async with dispatching(store, [Endpoint("chat", "slack", chat.url())], poll_s=3600):
            await store.until(DELIVERED, 2)
        assert len(chat.received) == 2


async def test_a_failure_is_retried_by_the_schedule_with_the_same_id() -> None:
    store = MemoryStore()
    store.feed = events(1)
    answers = [Answer(500), Answer(302), Answer(503, {"retry-after": "7200"}), Answer(200)]
    async with Receiver(lambda _: answers.pop(0)) as receiver, dispatching(store, [custom("ops", receiver)]):
        waits = []
        await receiver.until(1)
        row = store.rows["evt_0:ops"]
        for _ in range(3):
            await store.changed(lambda: row.next_in_s is not None)
            assert row.state is PENDING
            waits.append(row.next_in_s)
            row.next_in_s = None
            store.now = row.due_at
        await store.until(DELIVERED, 1)
        assert len({request.headers["webhook-id"] for request in receiver.received}) == 1
    assert waits[0] is not None
    assert 0.9 * DELAYS_S[1] <= waits[0] <= 1.1 * DELAYS_S[1]
    assert waits[1] is not None
    assert 0.9 * DELAYS_S[2] <= waits[1] <= 1.1 * DELAYS_S[2]
    assert waits[2] is not None
    assert waits[2] >= 7200


async def test_after_the_last_try_it_is_dead() -> None:
    store = MemoryStore()
    store.feed = events(1)
    async with Receiver(Answer(500)) as receiver:
        await store.fan_out([custom("ops", receiver)], 10)
        store.rows["evt_0:ops"].tries = MAX_TRIES - 1
        async with dispatching(store, [custom("ops", receiver)]):
            await store.until(DEAD, 1)
    row = store.rows["evt_0:ops"]
    assert row.error == "receiver answered HTTP 500; gave up after 10 tries"
    assert row.status_code == 500


async def test_a_refused_receiver_is_dead_at_once() -> None:
    store = MemoryStore()
    store.feed = events(2)
    endpoint = Endpoint("meta", "custom", "http://169.254.169.254/latest/", SECRET)
    async with dispatching(store, [endpoint]):
        await store.until(DEAD, 2)
    assert store.rows["evt_0:meta"].error == "the receiver has an address that is not public (link-local)"


async def test_an_endpoint_that_is_gone_is_sent_nothing_more() -> None:
    store = MemoryStore()
    store.feed = events(1)
    async with Receiver(Answer(410)) as gone, Receiver() as good:
        async with dispatching(store, [custom("gone", gone), custom("good", good)]):
            await store.until(DEAD, 1, "gone")
            store.feed = events(30, start=1)
            await store.until(DELIVERED, 31, "good")
        assert len(gone.received) == 1
    assert [key for key in store.rows if key.endswith(":gone")] == ["evt_0:gone"]


async def test_failures_of_the_store_are_waited_out_and_nothing_is_lost() -> None:
    store = MemoryStore()
    store.feed = events(5)
    store.fail = [OSError("down")] * 3
    async with Receiver() as receiver, dispatching(store, [custom("ops", receiver)], poll_s=0.01):
        await store.until(DELIVERED, 5)
        store.feed = events(1, start=5)
        await receiver.until(6)
        store.fail = [OSError("down")] * 2
        await store.until(DELIVERED, 6)
        assert len(receiver.received) == 6


async def test_stopping_ends_what_is_in_flight() -> None:
    store = MemoryStore()
    store.feed = events(3)
    go = asyncio.Event()
    async with Receiver(Answer(wait_for=go)) as receiver:
        async with dispatching(store, [custom("ops", receiver)]):
            await receiver.until(3)
            asyncio.get_running_loop().call_later(0.05, go.set)
        assert store.count(DELIVERED) == 3


async def test_what_does_not_end_in_time_is_due_again_at_once() -> None:
    store = MemoryStore()
    store.feed = events(3)
    answers = [Answer(wait_for=asyncio.Event())] * 3 + [Answer()] * 3
    async with Receiver(lambda _: answers.pop(0)) as receiver:
        async with dispatching(store, [custom("ops", receiver)], grace_s=0):
            await receiver.until(3)
        assert [row.due_at for row in store.rows.values()] == [store.now] * 3
        async with dispatching(store, [custom("ops", receiver)]):
            await store.until(DELIVERED, 3)
        assert len(receiver.received) == 6


async def test_what_a_killed_dispatcher_had_claimed_comes_back_after_its_lease() -> None:
    store = MemoryStore()
    store.feed = events(4)
    answers = [Answer(wait_for=asyncio.Event())] * 4 + [Answer()] * 4
    async with Receiver(lambda _: answers.pop(0)) as receiver, Sender(Guard(["127.0.0.0/8"])) as sender:
        endpoints = [custom("ops", receiver)]
        claimed = await _claim_and_die(store, sender, endpoints)
        assert claimed == 4
        async with dispatching(store, endpoints):
            assert store.count(PENDING) == 4
            store.now = max(row.due_at for row in store.rows.values())
            answers[:] = [Answer()] * 4
            await store.until(DELIVERED, 4)
        assert sorted(r.headers["webhook-id"] for r in receiver.received) == sorted(e.id for e in events(4))


async def _claim_and_die(store: MemoryStore, sender: Sender, endpoints: Sequence[Endpoint]) -> int:
    await store.fan_out(endpoints, FAN_OUT_LIMIT)
    return sum([len(await store.claim(10, sender.limits.total_s, endpoint.name)) for endpoint in endpoints])


async def test_no_more_is_claimed_than_is_sent_at_once() -> None:
    store = MemoryStore()
    store.feed = events(50)
    async with Receiver(Answer(wait_for=asyncio.Event())) as receiver, Receiver() as chat:
        endpoints = [custom("ops", receiver), Endpoint("chat", "slack", chat.url())]
        async with dispatching(store, endpoints, grace_s=0):
            await receiver.until(8)
            await store.until(DELIVERED, 1, "chat")
    assert sum(row.tries for row in store.rows.values() if row.endpoint == "ops") == 8
    assert all(limit == 1 for limit, _, names in store.claims if names == "chat")
    assert all(lease_s > Limits().total_s for _, lease_s, _ in store.claims)
