"""Runs of the agent graph when servers stop, die, or are several: nothing hangs, nothing is done twice."""

from __future__ import annotations

import asyncio
import signal
import uuid
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from langgraph.pregel.remote import RemoteGraph

from app.chaos.proxy import Link, Trouble
from app.core.errors import Unavailable
from app.http.langgraph_api import keeper
from app.services import agent_runs as run_service
from app.store import agent_runs
from tests.http.catalogue import JOB
from tests.http.conftest import as_
from tests.support.langgraph_client import AGENT, Sdk, a_job, sdk, some_thread, under_way, watching
from tests.support.live_engine import Hae, running_engine
from tests.support.processes import hae as process

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Balancer(Link):
    """Leads to one server, then to another."""

    def lead_to(self, url: str) -> None:
        """Break off all connections; new ones go to this server."""
        self._upstream = urlsplit(url).port or 0
        self.trouble(Trouble.CUT)
        self.trouble(Trouble.NONE)


@asynccontextmanager
async def another(hae: Hae, stop: asyncio.Event | None = None) -> AsyncIterator[Hae]:
    """A second server on the same database, with the same keys."""
    async with running_engine(hae.settings, worker=False, stop=stop) as second:
        second.secrets = hae.secrets
        yield second


async def parts_of(client: Sdk, thread_id: str, run_id: str) -> list[Any]:
    return [part async for part in client.runs.join_stream(thread_id, run_id)]


async def test_a_run_is_followed_and_called_off_by_way_of_another_server(hae: Hae) -> None:
    client = sdk(hae)
    thread_id = await some_thread(client)
    run = await client.runs.create(
        thread_id, AGENT, input={"calls": [{"tool": "submit_job", "arguments": JOB}, watching(await a_job(hae))]}
    )
    async with another(hae) as second:
        there = sdk(second)
        following_it = asyncio.create_task(parts_of(there, thread_id, run["run_id"]))
        joining = asyncio.create_task(there.runs.join(thread_id, run["run_id"]))
        await under_way(there, thread_id, run["run_id"], steps=1)
        queued = await there.runs.create(thread_id, AGENT, input={"tool": "quote"})
        await there.runs.cancel(thread_id, run["run_id"], wait=True)
        values: Any = await joining
        assert [call["status"] for call in values["calls"]] == ["done", "failed"]
        assert await following_it == await parts_of(client, thread_id, run["run_id"])
        assert (await client.runs.join(thread_id, queued["run_id"]))["calls"][0]["status"] == "done"


async def test_a_server_that_stops_ends_its_runs_and_answers(hae: Hae) -> None:
    client, stop = sdk(hae), asyncio.Event()
    thread_id, job_id = await some_thread(client), await a_job(hae)
    async with another(hae, stop) as second:
        there = sdk(second)
        waiting = asyncio.create_task(there.runs.wait(thread_id, AGENT, input=watching(job_id)))
        run_id = await first_run(client, thread_id)
        streaming = asyncio.create_task(parts_of(there, thread_id, run_id))
        await under_way(there, thread_id, run_id)
        queued = await there.runs.create(thread_id, AGENT, input={"tool": "quote"})
        stop.set()
        values: Any = await waiting
        assert values["calls"][0]["problem"]["code"] == "server_stopping"
        assert values["calls"][0]["problem"]["retryable"] is True
        assert (await streaming)[-1].data == {"run_id": run_id, "status": "interrupted"}
    found = {run["run_id"]: run for run in await client.runs.list(thread_id)}
    assert [run["status"] for run in found.values()] == ["interrupted", "interrupted"]
    assert "server_stopping" in str(found[queued["run_id"]]["cancel_reason"])
    assert (await client.threads.get(thread_id))["values"] == values


async def first_run(client: Sdk, thread_id: str) -> str:
    """Waits for a run on a thread; its id."""
    async with asyncio.timeout(30):
        while not (runs := await client.runs.list(thread_id)):
            pass
    return runs[0]["run_id"]


async def test_waiting_goes_on_at_another_server_when_the_first_one_goes(hae: Hae) -> None:
    client, stop = sdk(hae), asyncio.Event()
    thread_id, job_id = await some_thread(client), await a_job(hae)
    run = await client.runs.create(thread_id, AGENT, input=watching(job_id))
    async with another(hae, stop) as second, Balancer(urlsplit(second.url).port or 0) as balancer:
        there = sdk(hae, url=f"http://127.0.0.1:{balancer.port}")
        parts: list[Any] = []
        begun, answered = asyncio.Event(), asyncio.Event()

        async def note(answer: httpx.Response) -> None:
            if answer.url.path.endswith("/join"):
                answered.set()

        async def stream() -> None:
            async for part in there.runs.join_stream(thread_id, run["run_id"]):
                parts.append(part)
                if part.event == "values":
                    begun.set()

        there.http.client.event_hooks = {"response": [note]}
        streaming = asyncio.create_task(stream())
        joining = asyncio.create_task(there.runs.join(thread_id, run["run_id"]))
        await asyncio.gather(begun.wait(), answered.wait())
        with warnings.catch_warnings():
            # The SDK says that it connects again.
            warnings.filterwarnings("ignore", "Request failed, attempting reconnect")
            stop.set()
            balancer.lead_to(hae.url)
            await as_(hae, "alice").post(f"/v1/jobs/{job_id}/cancel")
            values: Any = await joining
            await streaming
    assert values["calls"][0]["result"]["state"] == "cancelled"
    assert parts == await parts_of(client, thread_id, run["run_id"])
    assert [part.event for part in parts] == ["metadata", "values", "values", "end"]


async def test_runs_of_a_server_that_is_killed_end_at_another_one(hae: Hae) -> None:
    client = sdk(hae)
    thread_id = await some_thread(client)
    env = {"DATABASE_URL": hae.settings.database.url, "REDIS_URL": hae.settings.redis.url}
    async with process("serve", "--port", "0", env=env) as victim:
        there = sdk(hae, url=await victim.url())
        calls: Any = [{"tool": "submit_job", "arguments": {**JOB, "gpu_models": ["nobody-has-this"]}}]
        begun = await there.runs.create(thread_id, AGENT, input={"calls": [*calls, watching(await a_job(hae))]})
        queued = await there.runs.create(thread_id, AGENT, input={"calls": calls})
        await under_way(client, thread_id, begun["run_id"], steps=1)
        behind = await client.runs.create(thread_id, AGENT, input={"tool": "quote"})
        following = asyncio.create_task(parts_of(client, thread_id, begun["run_id"]))
        joining = asyncio.create_task(client.runs.join(thread_id, begun["run_id"]))
        before = await hae.sql.fetchval("SELECT count(*) FROM jobs")
        assert await victim.end(signal.SIGKILL) == -signal.SIGKILL
        with pytest.raises(httpx.TransportError):
            await there.runs.join(thread_id, begun["run_id"])
    # As if its leases' time were over: nobody is left to renew them.
    await hae.sql.execute(
        "UPDATE agent_runs SET lease_until = now() WHERE id = ANY($1)", [begun["run_id"], queued["run_id"]]
    )
    told: Any = await joining
    assert told["__error__"]["error"] == "server_restarted"
    assert [call["status"] for call in told["calls"]] == ["done", "waiting"]
    job = (await as_(hae, "alice").get(f"/v1/jobs/{told['calls'][0]['result']['job_id']}")).json()
    assert job["state"] == "pending"
    assert [part.event for part in await following][-2:] == ["error", "end"]
    assert (await client.runs.get(thread_id, queued["run_id"]))["status"] == "error"
    # What waited behind them goes on; what they had not done is not done by others.
    assert (await client.runs.join(thread_id, behind["run_id"]))["calls"][0]["status"] == "done"
    assert await hae.sql.fetchval("SELECT count(*) FROM jobs") == before
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_a_run_whose_server_died_is_in_error(hae: Hae) -> None:
    client = sdk(hae)
    thread_id = await some_thread(client)
    dead = await orphaned(hae, client, thread_id)
    thread = await client.threads.get(thread_id)
    assert thread["status"] == "error"
    told: Any = await client.runs.join(thread_id, dead)
    assert (told["__error__"]["error"], told["calls"][0]["status"]) == ("server_restarted", "waiting")
    assert (await client.runs.get(thread_id, dead))["status"] == "error"
    kinds = [part.event for part in await parts_of(client, thread_id, dead)]
    assert kinds[-2:] == ["error", "end"]
    assert (await client.threads.get(thread_id))["values"] == thread["values"]
    state = await client.threads.get_state(thread_id)
    assert "server_restarted" in str(state["tasks"][0]["error"])
    # The thread goes on.
    again = await orphaned(hae, client, thread_id)
    await client.runs.wait(thread_id, AGENT, input={"tool": "quote"}, multitask_strategy="reject")
    assert (await client.runs.get(thread_id, again))["status"] == "error"
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def orphaned(hae: Hae, client: Sdk, thread_id: str) -> str:
    """A run as a server leaves it that is killed in the middle of it, its lease over."""
    run = await client.runs.create(thread_id, AGENT, input={"tool": "quote"})
    await client.runs.join(thread_id, run["run_id"])
    orphan = str(uuid.uuid4())
    await hae.sql.execute(
        """INSERT INTO agent_runs (id, thread_id, account, key_id, status, request, output, lease_until)
        SELECT $1, thread_id, account, key_id, 'running', request, $3::json, now() - interval '1 second'
        FROM agent_runs WHERE id = $2""",
        orphan,
        run["run_id"],
        '{"messages": [], "order": [], "calls": [{"id": "call_1", "tool": "quote", "arguments": {}, "reply": "",'
        ' "status": "waiting", "result": null, "problem": null}]}',
    )
    return orphan


async def test_a_server_that_lost_its_lease_writes_nothing_more(hae: Hae, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("the database is away")

    # As for a server that cannot reach the database: else it might renew its lease before anybody looks.
    monkeypatch.setattr(run_service, "renew", away)
    client = sdk(hae)
    thread_id, job_id = await some_thread(client), await a_job(hae)
    calls: Any = [watching(job_id), {"tool": "submit_job", "arguments": {**JOB, "prompt": "never"}}]
    run = await client.runs.create(thread_id, AGENT, input={"calls": calls})
    await under_way(client, thread_id, run["run_id"])
    await hae.sql.execute("UPDATE agent_runs SET lease_until = now() WHERE id = $1", run["run_id"])
    told: Any = await client.runs.join(thread_id, run["run_id"])
    assert told["__error__"]["error"] == "server_restarted"
    before = await hae.sql.fetchval("SELECT count(*) FROM jobs")
    await as_(hae, "alice").post(f"/v1/jobs/{job_id}/cancel")
    # Its task has ended when it has left the keeper: all that it could still have done is done.
    async with asyncio.timeout(30):
        while run["run_id"] in hae.engine.runs.under_way:  # noqa: ASYNC110 (nobody is told of it)
            await asyncio.sleep(0.01)
    assert await client.runs.join(thread_id, run["run_id"]) == told
    assert await hae.sql.fetchval("SELECT count(*) FROM jobs") == before


async def test_silent_streams_and_waits_are_kept_alive(hae: Hae, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "HEARTBEAT_S", 0.05)
    client = sdk(hae)
    job_id = await a_job(hae)
    run = await client.runs.create(None, AGENT, input=watching(job_id))
    where = f"/threads/{run['thread_id']}/runs/{run['run_id']}"
    for path, sign in ((f"{where}/stream", b": still here"), (f"{where}/join", b"\n")):
        seen = b""
        async with client.http.client.stream("GET", path) as answer:
            async for chunk in answer.aiter_raw():
                seen += chunk
                if seen.count(sign) >= 3:
                    break
    await client.runs.cancel(run["thread_id"], run["run_id"], wait=True)


async def test_runs_alone_are_not_kept_for_ever(hae: Hae) -> None:
    client = sdk(hae)
    runs = [await client.runs.create(None, AGENT, input={"tool": "quote"}) for _ in range(2)]
    for run in runs:
        await client.runs.join(run["thread_id"], run["run_id"])
    await hae.sql.execute(
        "UPDATE agent_runs SET created_at = created_at - interval '2 hours' WHERE id = $1", runs[0]["run_id"]
    )
    async with hae.engine.db.unit() as uow:
        assert await agent_runs.prune(uow, 3600, 10) == 1
    left = [await hae.sql.fetchval("SELECT count(*) FROM agent_runs WHERE id = $1", run["run_id"]) for run in runs]
    assert left == [0, 1]


async def test_the_graph_stands_in_for_one_of_langgraph(hae: Hae) -> None:
    """As a node of somebody's own graph, by LangGraph's RemoteGraph."""
    remote = RemoteGraph(AGENT, client=sdk(hae))
    answer: Any = await remote.ainvoke({"tool": "submit_job", "arguments": JOB})
    job_id = answer["calls"][0]["result"]["job_id"]
    assert (await as_(hae, "alice").get(f"/v1/jobs/{job_id}")).status_code == 200
    seen = [part async for part in remote.astream({"tool": "quote"}, stream_mode="updates")]
    assert seen[0]["tool"]["calls"][0]["status"] == "done"
