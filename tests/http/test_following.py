"""Streams of the feed under fire: writers side by side, broken connections, clients that read too slowly."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from app.core.events import EventKind
from app.http.streams import session, sse
from app.store import events
from app.store.events import NewEvent
from tests.http.conftest import as_
from tests.support.event_stream import events_in
from tests.support.live_engine import Hae
from tests.support.told_events import lines_of, narrow_socket, narrow_stream, write

pytestmark = pytest.mark.asyncio(loop_scope="module")

STREAM = {"accept": "text/event-stream"}
Told = list[dict[str, Any]]


async def latest(hae: Hae) -> int:
    """Where the feed ends, once all that was committed is in it."""
    ops = as_(hae, "ops")
    async with asyncio.timeout(30):
        while (await ops.get("/internal/feed")).json()["waiting"]:
            pass
    found: int = (await ops.get("/internal/feed")).json()["latest"]
    return found


async def nobody_streams(hae: Hae) -> None:
    """Waits until the streams of earlier tests are over."""
    async with asyncio.timeout(20):
        while hae.engine.seats.total:  # noqa: ASYNC110 (seats tell nobody)
            await asyncio.sleep(0.01)


async def feed(hae: Hae, name: str, after: int, **query: Any) -> Told:
    """All events after a position, from pages."""
    found: Told = []
    while True:
        asked = {"after": after, "limit": 500, **query}
        page = (await as_(hae, name).get("/v1/events", params=asked)).json()
        found += page["events"]
        after = page["next_after"]
        if after >= page["latest"]:
            return found


async def by_sse(hae: Hae, name: str, after: int, until: asyncio.Future[int], seed: int, **query: Any) -> Told:
    """What streams tell one that breaks off again and again, up to the position that ``until`` comes to."""
    chance = random.Random(seed)
    found: Told = []
    last = str(after)
    while not (until.done() and int(last) >= until.result()):
        headers = {**STREAM, "last-event-id": last}
        count = 0
        async with as_(hae, name).stream("GET", "/v1/events", params=query, headers=headers) as answer:
            assert answer.status_code == 200
            most = chance.randint(1, 40)
            async for line in answer.aiter_lines():
                field, _, value = line.partition(": ")
                if field == "id":
                    last = value
                elif field == "data":
                    found.append(json.loads(value))
                    count += 1
                if not line and (count >= most or (until.done() and int(last) >= until.result())):
                    break
    return found


async def by_socket(hae: Hae, name: str, after: int, until: asyncio.Future[int], seed: int) -> Told:
    """The same over WebSocket."""
    chance = random.Random(seed)
    found: Told = []
    url, headers = hae.url.replace("http", "ws") + "/v1/stream", as_(hae, name).headers
    while not (until.done() and after >= until.result()):
        async with connect(url, additional_headers=[("authorization", headers["authorization"])], proxy=None) as client:
            await client.send(json.dumps({"op": "subscribe", "id": "x", "after": after}))
            for _ in range(chance.randint(3, 12)):
                told = json.loads(await client.recv())
                if told["op"] == "events":
                    found += told["events"]
                    after = told["position"]
                if until.done() and after >= until.result():
                    break
    return found


async def test_streams_tell_the_feed_over_broken_connections_and_side_by_side_writers(
    hae: Hae, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sse, session):
        monkeypatch.setattr(module, "HEARTBEAT_S", 0.2)
    start = await latest(hae)
    until: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    reading = [
        asyncio.create_task(by_sse(hae, "alice", start, until, 1)),
        asyncio.create_task(by_sse(hae, "alice", start, until, 2, kind="job_completed")),
        asyncio.create_task(by_sse(hae, "ops", start, until, 3)),
        asyncio.create_task(by_socket(hae, "alice", start, until, 4)),
        asyncio.create_task(by_socket(hae, "ops", start, until, 5)),
    ]
    async with asyncio.timeout(60):
        await asyncio.gather(*(write(hae.engine.db, ["alice", "bob"], 120, seed=seed) for seed in range(4)))
        await latest(hae)
        # The last event is for all of them, so that all come to the end.
        end = await one_for_all(hae)
        until.set_result(end)
        told = await asyncio.gather(*reading)
    own, everything = await feed(hae, "alice", start), await feed(hae, "ops", start)
    assert len(everything) == 481
    assert 0 < len(own) < len(everything)
    assert told[0] == told[3] == own
    assert told[1] == [one for one in own if one["kind"] == "job_completed"]
    assert told[2] == told[4] == everything


async def one_for_all(hae: Hae) -> int:
    """Write one more event, of alice's; its position."""
    async with hae.engine.db.unit() as uow:
        await events.add(uow, [NewEvent(EventKind.JOB_COMPLETED, {"last": True}, "alice")])
    return await latest(hae)


async def test_a_slow_reader_is_cut_off_and_goes_on_without_loss(hae: Hae, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hae.engine.fanout, "window", 16)
    await nobody_streams(hae)
    start = await latest(hae)
    async with asyncio.timeout(60), narrow_stream(hae.url, hae.secrets["alice"], str(start)) as reader:
        while not hae.engine.fanout.waiting:  # noqa: ASYNC110 (it tells nobody who waits)
            await asyncio.sleep(0.01)
        # Far more than the buffers of a connection take, and than is kept in memory.
        await write(hae.engine.db, ["alice"], 240, seed=9, text="x" * 60_000)
        end = await latest(hae)
        # Nobody reads on for a stream that has been cut off already.
        while hae.engine.fanout.end < end and hae.engine.seats.total:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        found = await events_in(lines_of(reader))
    cut = found.pop()
    assert (cut["event"], cut["data"]["code"], cut["data"]["retryable"]) == ("cut_off", "slow_reader", True)
    assert cut["id"] in cut["data"]["next_action"]
    assert int(found[-1]["id"]) <= int(cut["id"]) < end
    async with narrow_stream(hae.url, hae.secrets["alice"], cut["id"]) as reader, asyncio.timeout(60):
        rest = await events_in(lines_of(reader), 240 - len(found))
    told = [one["data"] for one in found + rest]
    assert told == await feed(hae, "alice", start)
    assert len(told) == 240


async def test_a_slow_socket_is_cut_off_and_goes_on_from_the_positions_it_is_told(
    hae: Hae, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hae.engine.fanout, "window", 16)
    await nobody_streams(hae)
    start = await latest(hae)
    kinds: dict[str, list[str]] = {"all": [], "done": ["job_completed"]}
    async with asyncio.timeout(60), narrow_socket(hae.url, hae.secrets["alice"]) as client:
        for name, wanted in kinds.items():
            await client.send(json.dumps({"op": "subscribe", "id": name, "kinds": wanted, "after": start}))
        while hae.engine.fanout.waiting < len(kinds):  # noqa: ASYNC110 (it tells nobody who waits)
            await asyncio.sleep(0.01)
        await write(hae.engine.db, ["alice"], 150, seed=11, text="x" * 60_000)
        end = await latest(hae)
        while hae.engine.fanout.end < end and hae.engine.seats.total:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        found, last = await by_name(client, kinds)
    assert client.close_code == 4408
    assert (last["op"], last["problem"]["code"], last["problem"]["retryable"]) == ("closing", "slow_reader", True)
    assert min(last["positions"].values()) < end
    for name, told in found.items():
        assert [one["position"] for one in told][-1:] <= [last["positions"][name]]
    # A heartbeat says that there is nothing more.
    monkeypatch.setattr(session, "HEARTBEAT_S", 0.2)
    async with asyncio.timeout(60), narrow_socket(hae.url, hae.secrets["alice"]) as client:
        for name, wanted in kinds.items():
            after = last["positions"][name]
            await client.send(json.dumps({"op": "subscribe", "id": name, "kinds": wanted, "after": after}))
        rest, _ = await by_name(client, kinds, until=end)
    for name, wanted in kinds.items():
        assert found[name] + rest[name] == await feed(hae, "alice", start, **({"kind": wanted[0]} if wanted else {}))
    assert len(found["all"] + rest["all"]) == 150


async def by_name(
    client: ClientConnection, names: Iterable[str], until: int | None = None
) -> tuple[dict[str, Told], dict[str, Any]]:
    """Events by subscription, and the last message; up to the end of the connection, or until each has been told all
    up to that position."""
    found: dict[str, Told] = {name: [] for name in names}
    positions = dict.fromkeys(found, 0)
    message: dict[str, Any] = {}
    with suppress(ConnectionClosed):
        while until is None or min(positions.values()) < until:
            message = json.loads(await client.recv())
            if message["op"] == "events":
                found[message["id"]] += message["events"]
                positions[message["id"]] = message["position"]
            elif message["op"] == "heartbeat":
                positions |= message["positions"]
    return found, message
