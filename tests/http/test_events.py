"""The feed over HTTP: pages, long-polls, streams, cursors, and what operators see of it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from app.http.streams import sse
from tests.http.catalogue import JOB
from tests.http.conftest import as_, make_keys
from tests.support.event_stream import events_in
from tests.support.live_engine import Hae, Node, problem_of, running_engine, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

STREAM = {"accept": "text/event-stream"}


async def page(http: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await http.get("/v1/events", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def end(hae: Hae, name: str = "ops") -> int:
    """Where the feed ends, once all that was committed is in it."""
    async with asyncio.timeout(20):
        while (await as_(hae, "ops").get("/internal/feed")).json()["waiting"]:
            pass
    latest: int = (await page(as_(hae, name), after="latest"))["latest"]
    return latest


async def streamed(http: httpx.AsyncClient, count: int, last: str = "", **query: Any) -> list[dict[str, Any]]:
    """``count`` events of a stream, or all until it ends."""
    headers = {**STREAM, "last-event-id": last} if last else STREAM
    async with http.stream("GET", "/v1/events", params=query, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return await events_in(answer.aiter_lines(), count)


async def submit(hae: Hae, name: str, gpu: str) -> str:
    answer = await as_(hae, name).post("/v1/jobs", json={**JOB, "gpu_models": [gpu]})
    job_id: str = answer.json()["job_id"]
    return job_id


async def test_a_long_poll_follows_jobs_to_their_end(hae: Hae) -> None:
    alice = as_(hae, "alice")
    start = await end(hae)
    node = await Node.register(as_(hae, "miner"), "feed-node", gpu_model="followed", capabilities=["inference"])
    job_ids = [await submit(hae, "alice", "followed") for _ in range(2)]
    foreign = await submit(hae, "bob", "nobody-has-it")
    running = asyncio.create_task(node.run_next())
    found: list[dict[str, Any]] = []
    after = start
    async with asyncio.timeout(30):
        await running
        await node.run_next()
        while [one["kind"] for one in found].count("job_completed") < 2:
            told = await page(alice, after=after, limit=3, wait_s=20)
            assert told["events"] or told["next_after"] > after
            found += told["events"]
            after = told["next_after"]
    positions = [one["position"] for one in found]
    assert positions == sorted(set(positions))
    for job_id in job_ids:
        kinds = [one["kind"] for one in found if one["job_id"] == job_id and one["kind"] != "job_progress"]
        assert kinds == ["job_submitted", "job_offered", "job_matched", "job_started", "job_completed"]
    assert {one["job_id"] for one in found} == set(job_ids)
    done = next(one for one in found if one["kind"] == "job_completed")
    assert done["data"]["cost_hyper"]
    assert "cost" not in done["data"]
    assert (done["node_id"], done["data"]["state"]) == (node.id, "completed")
    everything = await page(as_(hae, "ops"), after=start, limit=1000)
    numbers = [one["position"] for one in everything["events"]]
    assert numbers == list(range(start + 1, start + 1 + len(numbers)))
    assert foreign in {one["job_id"] for one in everything["events"]}
    assert [one for one in everything["events"] if one["job_id"] in job_ids] == found
    only = await page(alice, after=start, kind=["job_completed", "job_submitted"])
    assert only["events"] == [one for one in found if one["kind"] in ("job_completed", "job_submitted")]


async def test_nothing_new_is_an_empty_page_after_the_wait(hae: Hae) -> None:
    start = await end(hae)
    told = await page(as_(hae, "bob"), after="latest", wait_s=0.05)
    assert told == {"events": [], "next_after": start, "latest": start}


async def test_a_stream_tells_the_same_and_goes_on_behind_the_last_id(hae: Hae) -> None:
    alice = as_(hae, "alice")
    start = await end(hae)
    following = asyncio.create_task(streamed(alice, 3, after="latest"))
    while not hae.engine.fanout.waiting:  # noqa: ASYNC110 (it tells nobody who waits)
        await asyncio.sleep(0.01)
    job_ids = [await submit(hae, "alice", "nobody-has-it") for _ in range(3)]
    async with asyncio.timeout(20):
        found = await following
    assert [one["data"]["job_id"] for one in found] == job_ids
    assert {one["event"] for one in found} == {"job_submitted"}
    assert [one["data"] for one in found] == (await page(alice, after=start))["events"]
    assert [int(one["id"]) for one in found] == [one["data"]["position"] for one in found]
    assert await streamed(alice, 2, last=found[0]["id"]) == found[1:]


async def test_a_silent_stream_is_kept_alive(hae: Hae, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT_S", 0.05)
    comments = 0
    async with as_(hae, "bob").stream("GET", "/v1/events", params={"after": "latest"}, headers=STREAM) as answer:
        async for line in answer.aiter_lines():
            comments += line.startswith(":")
            if comments == 2:
                break


async def test_consumers_are_kept_by_account_and_only_go_back_when_forced(hae: Hae) -> None:
    alice, bob = as_(hae, "alice"), as_(hae, "bob")
    path = "/v1/events/consumers/billing"
    await submit(hae, "alice", "nobody-has-it")
    latest = await end(hae)
    problem_of(await alice.get(path), 404, code="no_such_consumer")

    async def move(position: int, **more: Any) -> int:
        answer = await alice.put(path, json={"position": position, **more})
        assert answer.status_code == 200, answer.text
        at: int = answer.json()["position"]
        return at

    assert [await move(2), await move(latest), await move(1)] == [2, latest, latest]
    assert await move(latest - 1, force=True) == latest - 1
    assert (await alice.get(path)).json() == {"name": "billing", "position": latest - 1, "latest": latest}
    assert [one["position"] for one in (await page(alice, consumer="billing"))["events"]] == [latest]
    problem_of(await bob.get(path), 404, code="no_such_consumer")
    problem_of(await bob.get("/v1/events", params={"consumer": "billing"}), 404, code="no_such_consumer")
    problem_of(await alice.put(path, json={"position": latest + 1_000}), 422)
    problem_of(await alice.put("/v1/events/consumers/a%20b", json={"position": 0}), 422)
    problem_of(await alice.get("/v1/events", params={"consumer": "billing", "after": "1"}), 422)


async def test_cursors_that_cannot_be_are_refused(hae: Hae) -> None:
    alice = as_(hae, "alice")
    for after in ("-1", "x", "9" * 19, "9" * 18):
        problem_of(await alice.get("/v1/events", params={"after": after}), 400, 422)
    problem_of(await alice.get("/v1/events", headers={**STREAM, "last-event-id": "x"}), 422)
    problem_of(await alice.get("/v1/events", params={"kind": "job_eaten"}), 400, 422)


async def test_operators_see_the_lag_and_requeue_what_is_dead(hae: Hae) -> None:
    ops = as_(hae, "ops")
    latest = await end(hae)
    lag = (await ops.get("/internal/feed")).json()
    assert (lag["latest"], lag["waiting"], [one["name"] for one in lag["consumers"]]) == (latest, 0, ["webhooks"])
    event_id, at = await hae.sql.fetchrow("SELECT id, at FROM events WHERE kind = 'job_submitted' LIMIT 1")
    await hae.sql.execute(
        """INSERT INTO deliveries (event_id, at, endpoint, state, tries, error)
        VALUES ($1, $2, 'gone', 'dead', 3, 'refused')""",
        event_id,
        at,
    )
    (dead,) = (await ops.get("/internal/deliveries", params={"state": "dead"})).json()["deliveries"]
    assert (dead["event_id"], dead["endpoint"], dead["tries"], dead["error"]) == (event_id, "gone", 3, "refused")
    asked = {"ids": [dead["id"]]}
    done = (await ops.post("/internal/deliveries/requeue", json=asked)).json()
    assert done == {"requeued": 1, "ids": [dead["id"]], "more": False}
    assert (await ops.post("/internal/deliveries/requeue", json=asked)).json()["requeued"] == 0
    problem_of(await ops.post("/internal/deliveries/requeue", json={}), 422)
    problem_of(await ops.post("/internal/deliveries/requeue", json={"ids": ["x"]}), 422)


async def test_what_is_no_longer_kept_is_gone(database_url: str, redis_url: str) -> None:
    async with running_engine(settings_for(database_url, redis_url)) as hae:
        await make_keys(hae)
        for _ in range(4):
            await submit(hae, "alice", "nobody-has-it")
        assert await end(hae) == 4
        await hae.sql.execute("DELETE FROM feed WHERE position <= 2")
        alice = as_(hae, "alice")
        told = problem_of(await alice.get("/v1/events", params={"after": 1}), 410, code="cursor_expired")
        assert "after=2" in told["next_action"]
        problem_of(await alice.get("/v1/events", headers={**STREAM, "last-event-id": "1"}), 410)
        assert [one["position"] for one in (await page(alice))["events"]] == [3, 4]


async def test_a_shutdown_answers_waits_and_ends_streams_at_once(database_url: str, redis_url: str) -> None:
    stop = asyncio.Event()
    async with running_engine(settings_for(database_url, redis_url), worker=False, stop=stop) as hae:
        await make_keys(hae)
        waiting = asyncio.create_task(page(as_(hae, "alice"), wait_s=45))
        following = asyncio.create_task(streamed(as_(hae, "ops"), 1))
        async with asyncio.timeout(10):
            while not (hae.engine.feed_desk.keys() and hae.engine.fanout.waiting):  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.01)
        stop.set()
        async with asyncio.timeout(4):
            assert (await waiting)["events"] == []
            assert await following == []
