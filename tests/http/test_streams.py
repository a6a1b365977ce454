"""Server-sent events of jobs, and long-polls, up to the shutdown of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.http.streams import sse
from app.services.desk import Desk
from tests.http.catalogue import JOB
from tests.http.conftest import as_, make_keys
from tests.support.event_stream import events_in
from tests.support.live_engine import Hae, Node, running_engine, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def lines(http: httpx.AsyncClient, job_id: str, last: str = "") -> AsyncIterator[str]:
    headers = {"last-event-id": last} if last else {}
    async with http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            yield line


async def events(http: httpx.AsyncClient, job_id: str, last: str = "", limit: int = 0) -> list[dict[str, Any]]:
    """Events until the stream ends, or ``limit`` of them."""
    return await events_in(lines(http, job_id, last), limit)


async def node_and_job(hae: Hae, gpu: str) -> tuple[Node, str]:
    node = await Node.register(as_(hae, "miner"), f"streams-{gpu}", gpu_model=gpu, capabilities=["inference"])
    body = {**JOB, "gpu_models": [gpu]}
    return node, (await as_(hae, "alice").post("/v1/jobs", json=body)).json()["job_id"]


async def test_events_follow_a_job_to_its_end(hae: Hae) -> None:
    node, job_id = await node_and_job(hae, "followed")
    following = asyncio.create_task(events(as_(hae, "alice"), job_id))
    watching = asyncio.create_task(events(as_(hae, "ops"), job_id))
    await node.run_next()
    found = await following
    kinds = ["job_submitted", "job_offered", "job_matched", "job_started", "job_completed"]
    # Progress is told as it comes, before or after the wave that notes its first.
    assert [event["event"] for event in found if event["event"] != "job_progress"] == kinds
    assert [event["event"] for event in found].count("job_progress") == 1
    numbers = [int(event["id"]) for event in found]
    assert numbers == sorted(set(numbers))
    last = found[-1]["data"]
    assert (last["state"], last["job_id"], last["event"]) == ("completed", job_id, "job_completed")
    job = (await as_(hae, "alice").get(f"/v1/jobs/{job_id}")).json()
    assert last["cost_hyper"] == job["cost_hyper"]
    assert "cost" not in last
    assert await watching == found
    assert await events(as_(hae, "alice"), job_id) == found


async def test_a_broken_stream_goes_on_where_it_was(hae: Hae) -> None:
    alice = as_(hae, "alice")
    node, job_id = await node_and_job(hae, "resumed")
    first = await events(alice, job_id, limit=1)
    going_on = asyncio.create_task(events(alice, job_id, first[-1]["id"]))
    await node.run_next()
    rest = await going_on
    assert first + rest == await events(alice, job_id)
    for position in range(len(rest) - 1):
        assert await events(alice, job_id, rest[position]["id"]) == rest[position + 1 :]


async def test_after_the_last_event_there_is_no_content(hae: Hae) -> None:
    alice = as_(hae, "alice")
    node, job_id = await node_and_job(hae, "ended")
    await node.run_next()
    found = await events(alice, job_id)
    for last in (found[-1]["id"], str(2**63 - 1), "9" * 20):
        answer = await alice.get(f"/v1/jobs/{job_id}/events", headers={"last-event-id": last})
        assert (answer.status_code, answer.content) == (204, b"")


async def test_a_silent_stream_is_kept_alive(hae: Hae, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT_S", 0.05)
    _, job_id = await node_and_job(hae, "silent")
    comments = 0
    async for line in lines(as_(hae, "alice"), job_id):
        comments += line.startswith(":")
        if comments == 3:
            break


async def test_a_shutdown_answers_waits_and_ends_streams_at_once(database_url: str, redis_url: str) -> None:
    stop = asyncio.Event()
    async with running_engine(settings_for(database_url, redis_url), worker=False, stop=stop) as hae:
        await make_keys(hae)
        alice, miner = as_(hae, "alice"), as_(hae, "miner")
        node = await Node.register(miner, "w", gpu_model="T4")
        job_id = (await alice.post("/v1/jobs", json=JOB)).json()["job_id"]
        following = asyncio.create_task(events(alice, job_id))
        waits = [
            asyncio.create_task(alice.get(f"/v1/jobs/{job_id}/wait", params={"wait_s": 45})),
            asyncio.create_task(alice.post("/v1/tools/watch_job", json={"job_id": job_id, "wait_s": 45})),
            asyncio.create_task(miner.get(f"/v1/node/{node.id}/offers", params={"wait": 45})),
        ]
        async with asyncio.timeout(10):
            desks: list[Desk[Any]] = [hae.engine.job_desk, hae.engine.offer_desk, hae.engine.event_desk]
            while not all(desk.keys() for desk in desks):  # noqa: ASYNC110 (desks tell nobody who waits)
                await asyncio.sleep(0.01)
        stop.set()
        # Far below what the waits asked for; the grace period of the test server is 5 s.
        async with asyncio.timeout(4):
            job, tool, offers = await asyncio.gather(*waits)
            told = await following
        assert (job.json()["state"], tool.json()["final"], offers.json()) == ("pending", False, {"offers": []})
        assert [event["event"] for event in told] == ["job_submitted"]
