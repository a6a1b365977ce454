"""hae_client on a bad network: nothing is doubled, nothing is missed, and what is hopeless is told at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from hae_client import AsyncClient, Event, ServerError, TooMany, Unreachable, UnreadableAnswer
from tests.http.conftest import as_
from tests.support.cutting import Cutting
from tests.support.http_server import CUT, HttpServer, Reply, Request
from tests.support.live_engine import Hae, Node, running_engine, settings_for
from tests.support.node_api import problem
from tests.support.servers import Servers

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_lost_answer_makes_no_second_job(hae: Hae) -> None:
    start = await hae.sql.fetchval("SELECT count(*) FROM jobs")
    async with Cutting(hae.url, 0, 30) as relay, AsyncClient(relay.url, hae.secrets["alice"]) as client:
        made = await client.submit(type="render", gpu_models=["cut"])
        assert relay.connections == 3
        assert not made.created
        relay.budgets.extend([0])
        # The connection that is open would go on: a client of its own begins with one that is cut.
        async with AsyncClient(relay.url, hae.secrets["alice"]) as other:
            results = await other.submit_many([{"type": "render", "gpu_models": ["cut"]}] * 20)
        assert [item.created for item in results] == [False] * 20
    assert await hae.sql.fetchval("SELECT count(*) FROM jobs") == start + 21


async def test_what_must_not_be_repeated_is_not(hae: Hae) -> None:
    async with Cutting(hae.url, 0) as relay, AsyncClient(relay.url, hae.secrets["alice"]) as client:
        with pytest.raises(Unreachable, match="no answer from"):
            await client.call_tool("submit_job", {"type": "render"})
        assert relay.connections == 1
        assert (await client.metrics()).jobs_total >= 0


async def test_a_stream_that_is_cut_anywhere_tells_all_once(hae: Hae) -> None:
    async with AsyncClient(hae.url, hae.secrets["alice"]) as direct:
        node = await Node.register(as_(hae, "miner"), "client-cut", gpu_model="client-cut", capabilities=["inference"])
        made = await direct.submit(type="llm_inference", gpu_models=["client-cut"])
        await node.run_next()
        await direct.wait(made.job_id, timeout_s=30)
        expected = [event async for event in direct.stream(made.job_id)]
        position = (await direct.read_events(0, limit=1000)).next_after
        whole = await until(direct, position)
    assert len(expected) >= 5
    cuts = [0, 250, 555, 901, 1_300, 700]
    async with Cutting(hae.url, *cuts) as relay, AsyncClient(relay.url, hae.secrets["alice"]) as client:
        assert [event async for event in client.stream(made.job_id)] == expected
        assert relay.connections > 4
        relay.budgets = deque(cuts)
        assert await until(client, position) == whole


async def until(client: AsyncClient, position: int) -> list[Event]:
    found: list[Event] = []
    async for event in client.stream_all(0):
        found.append(event)
        if event.position >= position:
            break
    return found


async def test_waits_and_streams_outlive_a_server(hae: Hae, module_database_url: str, servers: Servers) -> None:
    node = await Node.register(as_(hae, "miner"), "client-moved", gpu_model="client-moved", capabilities=["inference"])
    stop = asyncio.Event()
    settings = settings_for(module_database_url, servers.redis_url)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        going = await first.enter_async_context(running_engine(settings, worker=False, stop=stop))
        relay = await stack.enter_async_context(Cutting(going.url))
        client = await stack.enter_async_context(AsyncClient(relay.url, hae.secrets["alice"]))
        made = await client.submit(type="llm_inference", gpu_models=["client-moved"])
        position = (await client.read_events("latest")).latest
        waiting = asyncio.create_task(client.wait(made.job_id, timeout_s=60))
        following = asyncio.create_task(told(client.stream(made.job_id)))
        watching = asyncio.create_task(ending(client, position, made.job_id))
        await relay.until(connections=3)
        stop.set()
        await first.aclose()
        relay.to(hae.url)
        await node.run_next("moved")
        assert (await waiting).result == "moved"
        kinds = await following
        assert (kinds[0], kinds[-1]) == ("job_submitted", "job_completed")
        assert kinds == await told(client.stream(made.job_id))
        assert await watching == kinds[kinds.index("job_offered") :]


async def told(events: AsyncIterator[Event]) -> list[str]:
    return [event.kind async for event in events]


async def ending(client: AsyncClient, position: int, job_id: str) -> list[str]:
    """What the account's stream tells of a job, from an offer on."""
    kinds: list[str] = []
    async for event in client.stream_all(position):
        if event.job_id == job_id and (kinds or event.kind == "job_offered"):
            kinds.append(event.kind)
            if event.kind == "job_completed":
                break
    return kinds


class Script:
    """A server that answers as told, one reply a request, and remembers what it was asked."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = deque(replies)
        self.asked: list[Request] = []
        self.server = HttpServer(self._answer)

    async def _answer(self, request: Request) -> Reply:
        self.asked.append(request)
        return self.replies.popleft()

    def client(self, retry_for_s: float = 30.0) -> AsyncClient:
        return AsyncClient(self.server.url, "key", retry_for_s=retry_for_s)

    async def __aenter__(self) -> Script:
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop()


DONE = Reply(201, {"job_id": "job_1", "state": "pending", "created": True})
BUSY = problem(503, "unavailable", retry_after=0.01)


async def test_a_submission_is_sent_again_under_one_key_until_it_is_answered() -> None:
    async with (
        Script(BUSY, CUT, problem(429, "rate_limited", retry_after=0.01), Reply(502, "bad"), DONE) as script,
        script.client() as client,
    ):
        assert (await client.submit(type="render", priority=1)).job_id == "job_1"
    assert len(script.asked) == 5
    assert len({request.headers["idempotency-key"] for request in script.asked}) == 1
    assert {request.headers["authorization"] for request in script.asked} == {"Bearer key"}
    assert script.asked[-1].body == {"type": "render", "priority": 1}


async def test_patience_ends() -> None:
    async with Script(BUSY, problem(503, "unavailable", retry_after=3600)) as script, script.client() as client:
        with pytest.raises(ServerError) as told:
            await client.get("job_1")
    assert (told.value.retry_after, len(script.asked)) == (3600, 2)
    async with Script(problem(429, "quota_exceeded")) as script, script.client(retry_for_s=0) as client:
        with pytest.raises(TooMany):
            await client.submit(type="render")


async def test_nobody_there_and_nothing_readable_are_told() -> None:
    server = HttpServer(Script(DONE)._answer)
    await server.start()
    await server.stop()
    async with AsyncClient(server.url, "key", retry_for_s=0.2) as client:
        with pytest.raises(Unreachable, match=r"no answer from http://127\.0\.0\.1"):
            await client.metrics()
        with pytest.raises(Unreachable):
            await anext(client.stream("job_1"))
    async with Script(Reply(200, "hello"), Reply(500, "oops")) as script, script.client() as client:
        with pytest.raises(UnreadableAnswer):
            await client.get("job_1")
        with pytest.raises(ServerError, match="http_500"):
            await client.get("job_1")


async def test_an_answer_that_does_not_come_times_out() -> None:
    silent = asyncio.Event()

    async def never(_: Request) -> Reply:
        await silent.wait()
        return CUT

    server = HttpServer(never)
    await server.start()
    try:
        async with AsyncClient(server.url, "key", timeout_s=0.1, retry_for_s=0.3) as client:
            with pytest.raises(Unreachable):
                await client.get("job_1")
    finally:
        silent.set()
        await server.stop()


async def test_a_wait_goes_on_when_a_server_that_ends_answers_at_once() -> None:
    def state(final: bool) -> Reply:
        told = {"job_id": "job_1", "type": "render", "state": "completed" if final else "running", "reason": "result"}
        return Reply(200, {**told, "version": 1, "attempt": 1, "final": final})

    async with Script(state(False), BUSY, CUT, state(True)) as script, script.client() as client:
        assert (await client.wait("job_1", timeout_s=60)).state == "completed"
    asked = [float(request.query["wait_s"]) for request in script.asked]
    assert max(asked) <= 45
    assert len(asked) == 4
