"""hae_client against a real engine: every call, waits, streams, and what it makes of refusals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from app.core.access import Scope
from app.webhooks import signing
from hae_client import (
    AsyncClient,
    BadRequest,
    Client,
    Conflict,
    Event,
    Forbidden,
    InvalidSignature,
    NotFound,
    Unauthorised,
    WaitTimeout,
    verify_webhook,
)
from hae_client.models import JobSpec, SubmitPlan
from tests.http.conftest import as_
from tests.support.live_engine import Hae, Node, running_engine, settings_for
from tests.support.receiver import Receiver
from tests.support.servers import Servers

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(hae: Hae) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(hae.url, hae.secrets["alice"]) as made:
        yield made


@asynccontextmanager
async def node_with(hae: Hae, gpu: str, **described: Any) -> AsyncIterator[Node]:
    """A node that takes no more jobs behind the block: jobs for any GPU would be offered to it in vain."""
    given = {"gpu_model": gpu, "capabilities": ["inference"], "price_per_gpu_hour_hyper": "0.5", **described}
    node = await Node.register(as_(hae, "miner"), f"client-{gpu}", **given)
    yield node
    assert (await node.http.post(f"/v1/node/{node.id}/drain")).status_code == 200


async def test_a_job_from_submission_to_result(hae: Hae, client: AsyncClient) -> None:
    async with node_with(hae, "client-whole") as node:
        made = await client.submit(type="llm_inference", model="qwen-7b", prompt="Hello", gpu_models=["client-whole"])
        assert made.created
        waiting = asyncio.gather(*(client.wait(made.job_id, timeout_s=60) for _ in range(150)))
        following = asyncio.create_task(_kinds(client.stream(made.job_id)))
        await node.run_next({"text": "Hi"})
        job, *others = await waiting
        assert all(other == job for other in others)
        assert (job.state, job.result, job.model, job.prompt) == ("completed", {"text": "Hi"}, "qwen-7b", "Hello")
        kinds = await following
        assert (kinds[0], kinds[-1]) == ("job_submitted", "job_completed")
        assert (await client.get(made.job_id)).cost_hyper == job.cost_hyper != ""
        history = await client.history(made.job_id)
        assert [move.to_state for move in history.transitions][-1] == "completed"
        assert (await client.explain(made.job_id)).node_id == node.id
        again = await client.rerun(made.job_id, priority=3, idempotency_key="client-rerun")
        assert (await client.rerun(made.job_id, priority=3, idempotency_key="client-rerun")).job_id == again.job_id
        assert (await client.get(again.job_id)).rerun_of == made.job_id


async def _kinds(events: AsyncIterator[Event]) -> list[str]:
    return [event.kind async for event in events]


def use(client: Client) -> Iterator[object]:
    """Calls of the client that blocks."""
    made = client.submit(type="render", gpu_models=["nobody-has-it"], idempotency_key="client-sync")
    yield client.submit(type="render", gpu_models=["nobody-has-it"], idempotency_key="client-sync").created
    with pytest.raises(WaitTimeout) as told:
        client.wait(made.job_id, timeout_s=0.2)
    yield told.value.last.state
    yield [job.job_id for job in client.jobs(state=["pending"]) if job.job_id == made.job_id] == [made.job_id]
    client.cancel(made.job_id)
    yield client.wait(made.job_id).state
    yield [event.kind for event in client.stream(made.job_id)]
    yield client.stream_all(0, kinds=["job_cancelled"]).__next__().kind


async def test_the_same_for_programs_that_block(hae: Hae) -> None:
    with Client(hae.url, hae.secrets["alice"]) as client:
        told = await asyncio.to_thread(lambda: list(use(client)))
    assert told == [False, "pending", True, "cancelled", ["job_submitted", "job_cancelled"], "job_cancelled"]


async def test_many_jobs_are_submitted_listed_and_cancelled(client: AsyncClient) -> None:
    wish = {"type": "render", "gpu_models": ["client-many"]}
    wrong = {**wish, "gpus": 10_000}
    jobs = [wish, wrong, *[wish] * 1_000]
    results = await client.submit_many(jobs, idempotency_key="client-many")  # type: ignore[arg-type]
    assert [item.index for item in results] == list(range(1_002))
    refused = results[1]
    assert (refused.job_id, refused.problem is not None and refused.problem.field) == ("", "gpus")
    ids = [item.job_id for item in results if item.job_id]
    assert len(set(ids)) == 1_001
    again = await client.submit_many(jobs, idempotency_key="client-many")  # type: ignore[arg-type]
    assert [item.job_id for item in again] == [item.job_id for item in results]
    listed = [job.job_id async for job in client.jobs(type=["render"])]
    assert [job_id for job_id in listed if job_id in set(ids)] == sorted(ids, reverse=True)
    page = await client.list_jobs(type=["render"], limit=5)
    assert (len(page.jobs), page.next_cursor) == (5, page.jobs[-1].job_id)
    cancelled: list[str] = []
    while True:
        answer = await client.cancel_many(type=["render"], state=["pending"])
        cancelled += answer.job_ids
        if not answer.more:
            break
    assert set(ids) <= set(cancelled)
    named = await client.cancel_many(["job_none", ids[0]])
    assert (named.unknown, named.requested) == (["job_none"], 0)


async def test_what_the_network_offers(hae: Hae, client: AsyncClient) -> None:
    async with node_with(hae, "client-offer") as node:
        found = await client.availability(gpu_models=["client-offer"], type="llm_inference")
        assert (found.matching, found.cheapest_price_per_gpu_hour_hyper) == (1, "0.5")
        quote = await client.quote(gpu_models=["client-offer"], type="llm_inference", duration_s=7_200)
        assert (quote.node_id, quote.cost_hyper) == (node.id, "1")
        match = await client.match(gpu_models=["client-offer"], type="llm_inference")
        assert (match.matched, match.candidates[0].node_id) == (True, node.id)
        nothing = await client.match(gpu_models=["client-offer"], type="llm_inference", gpus=2)
        assert (nothing.matched, nothing.relaxations[0].from_) == (False, 2)
        assert (await client.metrics()).nodes_total >= 1


def plan_for(gpu: str) -> SubmitPlan:
    """Two jobs, then one of both results."""
    job: JobSpec = {"type": "llm_inference", "gpu_models": [gpu], "timeout_s": 60}
    return {
        "name": "two and one",
        "budget_hyper": "1",
        "max_price_per_gpu_hour_hyper": "0.5",
        "tasks": [
            {"task_id": "parts", "job": {**job, "prompt": "{{item}}"}, "for_each": ["a", "b"]},
            {"task_id": "whole", "job": {**job, "prompt": "{{tasks.parts.results}}"}},
        ],
    }


async def test_a_plan_from_dry_run_to_its_end(hae: Hae, client: AsyncClient) -> None:
    async with node_with(hae, "client-plan") as node:
        plan = plan_for("client-plan")
        tried = await client.submit_plan(plan, dry_run=True)
        assert (tried.dry_run, tried.plan_id, tried.units_total, tried.worst_case_hyper) == (True, "", 3, "0.025000002")
        made = await client.submit_plan(plan, idempotency_key="client-plan")
        assert (await client.submit_plan(plan, idempotency_key="client-plan")).plan_id == made.plan_id
        with pytest.raises(WaitTimeout) as told:
            await client.wait_plan(made.plan_id, timeout_s=0)
        assert told.value.last.state == "running"
        waiting = asyncio.create_task(client.wait_plan(made.plan_id, timeout_s=60))
        for result in ("A", "B", "AB"):
            await node.run_next(result)
        done = await waiting
        assert (done.state, done.units_over, done.tasks[1].result) == ("completed", 3, "AB")
        assert (await client.draw_plan(made.plan_id)).startswith("<svg")
        units = (await client.get_plan(made.plan_id, units=True)).units
        assert [unit.state for unit in units] == ["done"] * 3
        assert made.plan_id in [one.plan_id for one in (await client.list_plans()).plans]
        assert (await client.cancel_plan(made.plan_id)).state == "completed"
        with pytest.raises(BadRequest) as refused:
            await client.submit_plan({**plan, "raise_step_hyper": "-1"})
        assert refused.value.field == "raise_step_hyper"


async def test_the_examples_of_the_docs_run(hae: Hae) -> None:
    text = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
    blocks = [block.split("```")[0] for block in text.split("```python\n")[1:]]
    assert len(blocks) == 7
    names: dict[str, Any] = {}

    def run_all() -> None:
        for block in blocks:
            exec(compile(block, "docs/client.md", "exec"), names)

    async with node_with(hae, "A100", capabilities=["inference", "render"], vram_gb=24) as node:
        working = asyncio.create_task(_work(node))
        with pytest.MonkeyPatch.context() as patched, redirect_stdout(StringIO()) as printed:
            patched.setenv("HYPERNODE_API_URL", hae.url)
            patched.setenv("HYPERNODE_API_KEY", hae.secrets["alice"])
            await asyncio.to_thread(run_all)
        working.cancel()
    lines = printed.getvalue().splitlines()
    assert lines[0].startswith("completed done ")
    assert lines[1] == "['completed', 'completed', 'completed']"
    assert lines[2].startswith("pending - ")
    assert lines[3] == "at worst 0.166666668"
    assert lines[4].startswith("completed 0") and lines[4].endswith(" of 2.5")
    assert "job_submitted pending" in lines[5] and "job_completed completed" in lines[-2]
    assert lines[-1].startswith("invalid_input gpus ")
    body = b'{"event":"job_completed","id":"evt_1"}'
    assert names["receive"](signing.headers([names["SECRET"]], "evt_1", int(time.time()), body), body) == 204
    assert names["receive"]({}, body) == 401


async def _work(node: Node) -> None:
    """Run what is offered."""
    while True:
        for offer in await node.offers():
            for action, body in (("accept", {}), ("result", {"result": "done"})):
                await node.say(offer["offer_id"], action, **body)


async def test_a_hook_is_told_and_what_it_is_told_believed(database_url: str, servers: Servers) -> None:
    settings = settings_for(database_url, servers.redis_url, webhooks={"allow_networks": ["127.0.0.0/8"]})
    async with (
        running_engine(settings) as own,
        Receiver() as receiver,
        AsyncClient(own.url, await own.key("carol", Scope.AGENT)) as client,
    ):
        made = await client.create_hook(url=receiver.url(), kinds=["job_cancelled"], idempotency_key="client-hook")
        again = await client.create_hook(url=receiver.url(), kinds=["job_cancelled"], idempotency_key="client-hook")
        assert (again.hook_id, again.secret) == (made.hook_id, made.secret)
        job = await client.submit(type="render")
        await client.cancel(job.job_id)
        await receiver.until(1)
        (message,) = receiver.received
        event = verify_webhook(made.secret, message.headers, message.body)
        assert (event["event"], event["job_id"]) == ("job_cancelled", job.job_id)
        with pytest.raises(InvalidSignature):
            verify_webhook(made.secret, message.headers, message.body + b" ")
        with pytest.raises(BadRequest) as told:
            await client.create_hook(url="ftp://x")
        assert told.value.field == "url"
        assert [hook.hook_id for hook in (await client.list_hooks()).hooks] == [made.hook_id]
        assert (await client.delete_hook(made.hook_id)).deleted
        with pytest.raises(NotFound):
            await client.delete_hook(made.hook_id)


async def test_schedules(client: AsyncClient) -> None:
    made = await client.create_schedule(job={"type": "render"}, cron="0 9 * * mon", timezone="Europe/Berlin")
    assert len(made.next_runs) == 5
    paused = await client.change_schedule(made.schedule_id, paused=True)
    assert (paused.paused, paused.cron) == (True, made.cron)
    assert (await client.get_schedule(made.schedule_id)).paused
    assert made.schedule_id in [one.schedule_id for one in (await client.list_schedules()).schedules]
    assert (await client.delete_schedule(made.schedule_id)).deleted
    with pytest.raises(NotFound):
        await client.delete_schedule(made.schedule_id)


async def test_tools_are_listed_and_called_by_name(client: AsyncClient) -> None:
    tools = {tool.name: tool for tool in await client.tools()}
    assert tools["get_job"].annotations.read_only
    answer = await client.call_tool("submit_job", tools["submit_job"].example)
    waited = await client.call_tool("watch_job", {"job_id": answer["job_id"], "wait_s": 0}, repeatable=True)
    assert waited["state"] == "pending"
    with pytest.raises(NotFound, match="tool_not_found"):
        await client.call_tool("no_such_tool")


async def test_refusals_carry_the_problem(hae: Hae, client: AsyncClient) -> None:
    with pytest.raises(BadRequest) as told:
        await client.submit(type="render", gpus=0)
    assert (told.value.code, told.value.field, told.value.retryable) == ("invalid_input", "gpus", False)
    assert told.value.next_action
    with pytest.raises(NotFound):
        await client.get("job_none")
    first = await client.submit(type="render", idempotency_key="client-clash")
    with pytest.raises(Conflict, match="idempotency_key_reused"):
        await client.submit(type="render", priority=1, idempotency_key="client-clash")
    with pytest.raises(Conflict):
        await client.rerun(first.job_id)
    async with AsyncClient(hae.url, "hae_nobody") as stranger:
        with pytest.raises(Unauthorised):
            await stranger.metrics()
        with pytest.raises(Unauthorised):
            await anext(stranger.stream_all())
    async with AsyncClient(hae.url, hae.secrets["miner"]) as miner:
        with pytest.raises(Forbidden):
            await miner.list_jobs()
    async with AsyncClient(hae.url, hae.secrets["bob"]) as bob:
        with pytest.raises(NotFound):
            await anext(bob.stream(first.job_id))


async def test_the_feed_by_pages_and_as_a_stream(client: AsyncClient) -> None:
    start = (await client.read_events("latest")).latest
    ids = [(await client.submit(type="render", gpu_models=["client-feed"])).job_id for _ in range(3)]
    seen: list[Event] = []
    async with aclosing(client.stream_all(start, kinds=["job_submitted"])) as events:
        async for event in events:
            seen.append(event)
            if event.job_id == ids[-1]:
                break
    assert [event.job_id for event in seen if event.job_id in ids] == ids
    page = await client.read_events(start, kinds=["job_submitted"], wait_s=5)
    assert [event.id for event in page.events] == [event.id for event in seen][: len(page.events)]
    assert all(event.position > start for event in seen)


async def test_latest_is_where_the_stream_begins_though_nothing_has_happened(client: AsyncClient) -> None:
    async with aclosing(client.stream_all(kinds=["job_submitted"])) as events:
        coming = asyncio.ensure_future(anext(events))
        job_id = ""
        # The stream may begin behind a submission that is made at the same time: one more is then seen.
        while not coming.done():
            job_id = (await client.submit(type="render", gpu_models=["client-latest"])).job_id
            await asyncio.wait((coming,), timeout=0.5)
        event = await coming
    assert event.kind == "job_submitted"
    assert job_id
