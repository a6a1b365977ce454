"""The feed over WebSocket: subscriptions, what they are told, what is refused, and how a connection ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from app.core.access import Rights
from app.http.routes import stream as route
from app.http.streams import session
from app.http.streams.seats import Seats
from app.services import keys
from tests.http.catalogue import JOB, LOST, PLAN, PLANNED
from tests.http.conftest import as_, make_keys
from tests.support.live_engine import Hae, Node, running_engine, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Client:
    """A client of ``/v1/stream``."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def say(self, message: Any) -> None:
        await self._connection.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def hear(self, op: str = "") -> dict[str, Any]:
        """The next message, which is to be of this kind."""
        async with asyncio.timeout(20):
            told: dict[str, Any] = json.loads(await self._connection.recv())
        assert told["op"] == op or not op, told
        return told

    async def ask(self, message: Any, op: str) -> dict[str, Any]:
        await self.say(message)
        return await self.hear(op)

    async def events(self, count: int) -> list[dict[str, Any]]:
        """The next ``count`` events, whatever their subscription."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            told = await self.hear("events")
            assert [one["position"] for one in told["events"]][-1] <= told["position"]
            found += told["events"]
        assert len(found) == count
        return found

    async def closed(self) -> int:
        """Waits for the end; its code."""
        async with asyncio.timeout(20):
            with pytest.raises(ConnectionClosed) as closed:
                await self._connection.recv()
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code

    async def left(self) -> None:
        """Waits for the end, whatever is told before."""
        await self._connection.wait_closed()


@asynccontextmanager
async def client(hae: Hae, name: str = "", **options: Any) -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {hae.secrets[name]}"} if name else {}
    url = hae.url.replace("http", "ws") + "/v1/stream"
    async with connect(url, additional_headers=headers, proxy=None, **options) as connection:
        yield Client(connection)


async def submit(hae: Hae, name: str) -> str:
    answer = await as_(hae, name).post("/v1/jobs", json={**JOB, "gpu_models": ["nobody-has-it"]})
    job_id: str = answer.json()["job_id"]
    return job_id


async def in_the_feed(hae: Hae) -> None:
    """Waits until all that was committed is in the feed."""
    async with asyncio.timeout(20):
        while (await as_(hae, "ops").get("/internal/feed")).json()["waiting"]:
            pass


async def test_subscriptions_tell_what_they_ask_for_and_no_more(hae: Hae) -> None:
    alice = as_(hae, "alice")
    first = await submit(hae, "alice")
    await in_the_feed(hae)
    async with client(hae, "alice") as told:
        await told.hear("ready")
        after = (await told.ask({"op": "subscribe", "id": "one", "jobs": [first]}, "subscribed"))["after"]
        second, foreign = await submit(hae, "alice"), await submit(hae, "bob")
        await alice.post(f"/v1/jobs/{first}/cancel")
        (cancelled,) = await told.events(1)
        assert (cancelled["job_id"], cancelled["kind"]) == (first, "job_cancelled")
        left = await told.ask({"op": "unsubscribe", "id": "one"}, "unsubscribed")
        assert left["position"] >= cancelled["position"]
        # From a position in the past: what others were told, and the same.
        await told.ask({"op": "subscribe", "id": "all", "after": after}, "subscribed")
        everything = await told.events(2)
        assert [one["job_id"] for one in everything] == [second, first]
        assert everything[1] == cancelled
        assert foreign not in {one["job_id"] for one in everything}
        page = (await alice.get("/v1/events", params={"after": after})).json()["events"]
        assert everything == page
        ending = {"op": "subscribe", "id": "ends", "kinds": ["job_cancelled"], "after": after}
        await told.ask(ending, "subscribed")
        assert await told.events(1) == [cancelled]


async def test_operators_are_told_of_all_accounts(hae: Hae) -> None:
    await in_the_feed(hae)
    async with client(hae, "ops") as told:
        await told.hear("ready")
        await told.ask({"op": "subscribe", "id": "all", "kinds": ["job_submitted"]}, "subscribed")
        job_ids = [await submit(hae, name) for name in ("alice", "bob")]
        assert [one["job_id"] for one in await told.events(2)] == job_ids


async def test_a_key_that_may_follow_nothing_is_told_nothing(hae: Hae) -> None:
    rights = Rights(tools=frozenset({"quote", "get_plan"}))
    hae.secrets["bounded"] = (await keys.create(hae.engine.db, "alice", ["agent"], rights=rights))[1]
    async with client(hae, "bounded") as told:
        await told.hear("ready")
        for asked in ({}, {"jobs": [LOST]}):
            refused = await told.ask({"op": "subscribe", "id": "all", **asked}, "error")
            assert refused["problem"]["code"] == "tool_not_allowed"
        # Plans are another tool's.
        refused = await told.ask({"op": "subscribe", "id": "plan", "plans": [PLAN]}, "error")
        assert refused["problem"]["code"] == "plan_not_found"


async def test_the_key_may_come_in_the_first_message(hae: Hae) -> None:
    async with client(hae) as told:
        await told.ask({"op": "auth", "key": hae.secrets["alice"]}, "ready")
        await told.ask({"op": "ping"}, "pong")
        again = await told.ask({"op": "auth", "key": hae.secrets["alice"]}, "error")
        assert again["problem"]["code"] == "already_authenticated"


@pytest.mark.parametrize(
    ("message", "code", "closed"),
    [
        ({"op": "auth", "key": "hae_unknown"}, "unauthorised", 4401),
        ({"op": "subscribe", "id": "x"}, "invalid_input", 4401),
        ("no json", "invalid_input", 4401),
    ],
)
async def test_without_a_key_nothing_is_told(hae: Hae, message: Any, code: str, closed: int) -> None:
    async with client(hae) as told:
        last = await told.ask(message, "closing")
        assert last["problem"]["code"] == code
        assert last["problem"]["next_action"]
        assert await told.closed() == closed


async def test_other_scopes_and_silence_end_the_connection(hae: Hae, monkeypatch: pytest.MonkeyPatch) -> None:
    async with client(hae, "miner") as told:
        assert (await told.hear("closing"))["problem"]["code"] == "forbidden"
        assert await told.closed() == 4403
    monkeypatch.setattr(route, "AUTH_S", 0.05)
    async with client(hae) as told:
        assert "first message" in (await told.hear("closing"))["problem"]["next_action"]
        assert await told.closed() == 4401


BAD: list[tuple[Any, str, str]] = [
    ("{", "malformed_json", "op"),
    ("[]", "invalid_input", "op"),
    ("{}", "invalid_input", "op"),
    ({"op": "dance"}, "invalid_input", "op"),
    ({"op": 1}, "invalid_input", "op"),
    ({"op": "subscribe"}, "invalid_input", "id"),
    ({"op": "subscribe", "id": ""}, "invalid_input", "id"),
    ({"op": "subscribe", "id": "a\nb"}, "invalid_input", "id"),
    ({"op": "subscribe", "id": "x", "jobs": "job_1"}, "invalid_input", "jobs"),
    ({"op": "subscribe", "id": "x", "jobs": [LOST]}, "job_not_found", "jobs[0]"),
    ({"op": "subscribe", "id": "x", "plans": [PLAN]}, "", "plans[0]"),
    ({"op": "subscribe", "id": "x", "kinds": ["job_eaten"]}, "invalid_input", "kinds[0]"),
    ({"op": "subscribe", "id": "x", "after": -2}, "invalid_input", "after"),
    ({"op": "subscribe", "id": "x", "after": 10**17}, "invalid_input", "after"),
    ({"op": "subscribe", "id": "x", "after": "1"}, "invalid_input", "after"),
    ({"op": "subscribe", "id": "x", "extra": 1}, "invalid_input", "extra"),
    ({"op": "unsubscribe", "id": "nobody"}, "no_such_subscription", "id"),
    ('{"op": "ping", "x": "\\u0000"}', "invalid_input", "x"),
    ("[" * 5000, "invalid_input", "op"),
    (json.dumps({"op": "subscribe", "id": "x" * 70_000}), "message_too_large", ""),
    (b"\xff\xfe", "malformed_json", "op"),
]


async def test_bad_messages_are_answered_and_the_connection_goes_on(hae: Hae) -> None:
    async with client(hae, "alice") as told:
        await told.hear("ready")
        for message, code, field in BAD:
            problem = (await told.ask(message, "error"))["problem"]
            assert problem["code"] == code or not code, (message, problem)
            assert problem.get("field", "") == field, (message, problem)
            assert problem["next_action"], (message, problem)
        await told.ask({"op": "subscribe", "id": "good"}, "subscribed")
        twice = await told.ask({"op": "subscribe", "id": "good"}, "error")
        assert (twice["id"], twice["problem"]["code"]) == ("good", "already_subscribed")
        await told.ask({"op": "ping"}, "pong")


async def test_a_job_of_another_account_is_not_found(hae: Hae) -> None:
    foreign = await submit(hae, "bob")
    async with client(hae, "alice") as told:
        await told.hear("ready")
        refused = await told.ask({"op": "subscribe", "id": "x", "jobs": [foreign]}, "error")
        assert (refused["id"], refused["problem"]["status"]) == ("x", 404)


async def test_a_plans_subscription_tells_of_the_plan_and_its_jobs_alone(hae: Hae) -> None:
    alice = as_(hae, "alice")
    node = await Node.register(as_(hae, "miner"), "socket-plan", gpu_model="PLAN 1", price_per_gpu_hour_hyper="0.5")
    job = {**JOB, "gpu_models": ["PLAN 1"], "timeout_s": 60}
    body = {**PLANNED, "tasks": [{"task_id": "one", "job": job, "for_each": ["a", "b"]}]}
    plan_id = (await alice.post("/v1/plans", json=body)).json()["plan_id"]
    async with client(hae, "alice") as told:
        await told.hear("ready")
        after = (await told.ask({"op": "subscribe", "id": "plan", "plans": [plan_id]}, "subscribed"))["after"]
        other = await submit(hae, "alice")
        for _ in range(2):
            await node.run_next()
        found: list[dict[str, Any]] = []
        while not (found and found[-1]["kind"] == "plan_completed"):
            found += (await told.hear("events"))["events"]
    ran = [row["id"] for row in await hae.sql.fetch("SELECT id FROM jobs WHERE plan_id = $1 ORDER BY id", plan_id)]
    assert len(ran) == 2
    assert sorted(one["job_id"] for one in found if one["kind"] == "job_completed") == ran
    assert {one["job_id"] for one in found} == {*ran, ""}
    assert found[-1]["data"]["plan_id"] == plan_id
    # As the account's feed has them, each once and in order.
    page = (await alice.get("/v1/events", params={"after": after, "limit": 500})).json()["events"]
    page = [one for one in page if one["position"] <= found[-1]["position"]]
    assert other in {one["job_id"] for one in page}
    assert found == [one for one in page if one["job_id"] in ran or one["data"].get("plan_id") == plan_id]


async def test_silence_is_filled_with_positions(hae: Hae, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HEARTBEAT_S", 0.05)
    async with client(hae, "bob") as told:
        await told.hear("ready")
        start = (await told.ask({"op": "subscribe", "id": "mine", "kinds": ["node_offline"]}, "subscribed"))["after"]
        await submit(hae, "alice")
        async with asyncio.timeout(20):
            while (await told.hear("heartbeat"))["positions"]["mine"] <= start:
                pass


async def test_streams_are_counted(hae: Hae, monkeypatch: pytest.MonkeyPatch) -> None:
    seats = Seats(per_key=1, per_process=2)
    monkeypatch.setattr(hae.engine, "seats", seats)
    async with client(hae, "alice") as told, client(hae, "bob") as other:
        await told.hear("ready")
        await other.hear("ready")
        async with client(hae, "alice") as one_more:
            assert (await one_more.hear("closing"))["problem"]["code"] == "too_many_streams"
            assert await one_more.closed() == 4429
        sse = {"accept": "text/event-stream"}
        refused = await as_(hae, "alice").get("/v1/events", headers=sse)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
        full = await as_(hae, "ops").get("/v1/events", headers=sse)
        assert (full.status_code, full.json()["code"]) == (503, "server_full")
        assert int(full.headers["retry-after"]) > 0
    async with asyncio.timeout(20):
        while seats.total:  # noqa: ASYNC110 (seats tell nobody)
            await asyncio.sleep(0.01)


async def test_a_shutdown_says_come_back(database_url: str, redis_url: str) -> None:
    async with running_engine(settings_for(database_url, redis_url), worker=False) as hae:
        await make_keys(hae)
        async with client(hae, "alice") as told:
            await told.hear("ready")
            after = (await told.ask({"op": "subscribe", "id": "mine"}, "subscribed"))["after"]
            hae.engine.draining.set()
            last = await told.hear("closing")
            assert (last["problem"]["code"], last["positions"]) == ("shutting_down", {"mine": after})
            assert last["problem"]["retryable"] is True
            assert await told.closed() == 1012


async def test_a_stop_leaves_no_connection_open(database_url: str, redis_url: str) -> None:
    stop = asyncio.Event()
    async with running_engine(settings_for(database_url, redis_url), worker=False, stop=stop) as hae:
        await make_keys(hae)
        async with client(hae, "alice") as told, client(hae, "bob") as other, asyncio.timeout(20):
            await told.hear("ready")
            await other.hear("ready")
            stop.set()
            await told.left()
            await other.left()
