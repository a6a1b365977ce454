"""A worker's life over real HTTP: offers, runs, reports, cancellation, draining."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from app.node_worker import EXECUTORS, Behaviour, run
from app.node_worker.executors.base import Job, Outcome, Progress
from tests.integration.node_worker.conftest import Nodes
from tests.support.node_api import NodeApi, problem

HANG = {"input": {"simulate": {"hang": True}}}


def simulate(**orders: Any) -> dict[str, Any]:
    return {"input": {"simulate": {"duration_s": 0, **orders}}}


async def test_a_job_is_accepted_started_and_answered(api: NodeApi, nodes: Nodes) -> None:
    node_id = await nodes.online(gpus=2, region="EU", capacity=4)
    offer = api.offers[api.offer(node_id, input={"prompt": "hello", "input": {"n": 1}})]
    await api.until(lambda: offer.state == "done")
    assert offer.report == (
        "result",
        {"result": {"prompt": "hello", "input": {"n": 1}}, "logs": [], "metrics": {}},
    )
    assert offer.progress[0] == (0, "started")
    described = api.nodes[node_id].description
    assert (described["gpus"], described["capacity"], described["region"]) == (2, 4, "EU")
    await nodes.drained()
    assert (nodes.stats.accepted, nodes.stats.completed) == (1, 1)


async def test_no_more_jobs_run_at_once_than_slots(api: NodeApi, nodes: Nodes) -> None:
    node_id = await nodes.online(executor="simulate", gpus=4)
    first = api.offer(node_id, gpus=3, input=HANG)
    await api.until(lambda: api.offers[first].state == "accepted")
    second, third = api.offer(node_id, gpus=2), api.offer(node_id, gpus=1, input=HANG)
    await api.until(lambda: api.offers[third].state == "accepted" and api.offers[second].state == "declined")
    assert api.offers[second].reason == "busy: needs 2 slots and 1 are free"


async def test_slots_are_free_again_after_a_run(api: NodeApi, nodes: Nodes) -> None:
    node_id = await nodes.online(executor="simulate")
    for _ in range(3):
        offer = api.offers[api.offer(node_id, input=simulate())]
        await api.until(lambda offer=offer: offer.state == "done")  # type: ignore[misc]
    await nodes.drained()
    assert nodes.stats.completed == 3


async def test_failures_and_time_outs_are_reported(api: NodeApi, nodes: Nodes) -> None:
    node_id = await nodes.online(executor="simulate", gpus=2)
    failing = api.offers[api.offer(node_id, input=simulate(fail="out of memory"))]
    slow = api.offers[api.offer(node_id, input=HANG, timeout_s=0.2)]
    await api.until(lambda: failing.state == slow.state == "done")
    assert failing.report == ("failure", {"error": "out of memory", "logs": [], "metrics": {}})
    assert slow.report == ("failure", {"error": "timed out after 0.2 s", "logs": [], "metrics": {}})


async def test_work_stops_when_the_job_is_taken_away(api: NodeApi, nodes: Nodes) -> None:
    node_id = await nodes.online(executor="simulate")
    taken = api.offers[api.offer(node_id, input=HANG)]
    await api.until(lambda: bool(taken.progress))
    taken.state = "over"
    await api.until(lambda: ("progress", 409) in api.calls)
    # The slot is free for the next job, and nothing is reported for the old one.
    await nodes.until(lambda stats: stats.taken_away == 1)
    follower = api.offers[api.offer(node_id, input=simulate())]
    await api.until(lambda: follower.state == "done")
    assert taken.report is None


@pytest.mark.parametrize("told_by", ["progress", "heartbeat"])
async def test_a_run_to_be_cancelled_is_stopped_and_reported(api: NodeApi, nodes: Nodes, told_by: str) -> None:
    api.heartbeat_interval_s = 1.0
    interval_s = 0.05 if told_by == "progress" else 600.0
    node_id = await nodes.online(executor="simulate", progress_interval_s=interval_s)
    offer_id = api.offer(node_id, input=HANG, lease_token=7)
    running = api.offers[offer_id]
    await api.until(lambda: bool(running.progress))
    running.state = "cancelling"
    await api.until(lambda: running.state == "done")
    assert running.report == ("failure", {"error": "cancelled", "logs": [], "metrics": {}, "lease_token": 7})
    assert set(running.tokens) == {7}
    if told_by == "heartbeat":
        assert api.nodes[node_id].running == [offer_id]
    follower = api.offers[api.offer(node_id, input=simulate())]
    await api.until(lambda: follower.state == "done")


async def test_a_run_whose_lease_is_lost_is_stopped_without_a_word(api: NodeApi, nodes: Nodes) -> None:
    node_id = await nodes.online(executor="simulate")
    running = api.offers[api.offer(node_id, input=HANG, lease_token=7)]
    await api.until(lambda: bool(running.progress))
    running.wire["lease_token"] = 8
    await nodes.until(lambda stats: stats.taken_away == 1)
    follower = api.offers[api.offer(node_id, input=simulate())]
    await api.until(lambda: follower.state == "done")
    assert running.report is None


async def test_an_executor_that_does_not_stop_is_left_behind(
    api: NodeApi, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_STOP_S", 0.05)
    monkeypatch.setitem(EXECUTORS, "deaf", lambda config: Deaf())
    node_id = await nodes.online(executor="deaf")
    running = api.offers[api.offer(node_id)]
    await api.until(lambda: bool(running.progress))
    running.state = "cancelling"
    await api.until(lambda: running.state == "done")
    assert running.report == ("failure", {"error": "cancelled", "logs": [], "metrics": {}})
    Deaf.over.set()


class Deaf:
    """Goes on when it is cancelled, until ``over``."""

    over = asyncio.Event()

    async def run(self, job: Job, progress: Progress) -> Outcome:
        while not self.over.is_set():
            with suppress(asyncio.CancelledError):
                await self.over.wait()
        return Outcome()

    async def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize(
    "answer", [problem(410, "offer_expired"), problem(409, "offer_over"), problem(404, "not_found")]
)
async def test_an_accept_that_comes_too_late_runs_nothing(api: NodeApi, nodes: Nodes, answer: Any) -> None:
    node_id = await nodes.online()
    api.fail_next("accept", answer)
    late = api.offers[api.offer(node_id)]
    await api.until(lambda: bool(api.count("accept")))
    late.state = "expired"
    follower = api.offers[api.offer(node_id)]
    await api.until(lambda: follower.state == "done")
    assert late.report is None
    assert late.progress == []


async def test_a_result_the_server_cannot_take_becomes_a_failure(api: NodeApi, nodes: Nodes) -> None:
    node_id = await nodes.online()
    api.fail_next("result", problem(413, "body_too_large", "a body may hold 1 MiB"))
    offer = api.offers[api.offer(node_id)]
    await api.until(lambda: offer.state == "done")
    assert offer.report is not None
    assert offer.report[0] == "failure"
    assert offer.report[1]["error"] == "the server refused the result: body_too_large a body may hold 1 MiB"


async def test_behaviour_declines_fails_and_vanishes(api: NodeApi, nodes: Nodes) -> None:
    behaviour = Behaviour(decline_first=1, fail_rate=1.0, vanish_after=2)
    node_id = await nodes.online(behaviour=behaviour, gpus=4)
    reports = []
    for state in ("declined", "done", "accepted"):
        offer = api.offers[api.offer(node_id)]
        await api.until(lambda offer=offer, state=state: offer.state == state)  # type: ignore[misc]
        reports.append(offer.report and offer.report[1]["error"])
    assert reports == [None, "failed by the node's configured behaviour", None]
    assert await nodes.tasks[0] == 0
    assert api.nodes[node_id].state == "online"
    assert nodes.stats.vanished == 1


async def test_draining_finishes_what_runs_and_takes_no_more(api: NodeApi, nodes: Nodes) -> None:
    node_id = await nodes.online(executor="simulate")
    running = api.offers[api.offer(node_id, input=simulate(duration_s=0.5))]
    await api.until(lambda: running.state == "accepted")
    nodes.stop.set()
    await api.until(lambda: api.nodes[node_id].state == "draining")
    late = api.offers[api.offer(node_id)]
    assert await nodes.tasks[0] == 0
    assert running.report is not None
    assert running.report[0] == "result"
    assert late.state == "open"


async def test_what_outlasts_the_grace_time_is_reported_as_failed(api: NodeApi, nodes: Nodes) -> None:
    node_id = await nodes.online(executor="simulate", grace_s=0.1)
    running = api.offers[api.offer(node_id, input=HANG)]
    await api.until(lambda: running.state == "accepted")
    nodes.stop.set()
    assert await nodes.tasks[0] == 0
    assert running.report is not None
    assert running.report[1]["error"] == "the node was shut down before the job was finished"


async def test_a_node_that_drained_resumes_when_started_again(api: NodeApi, nodes: Nodes) -> None:
    node_id = await nodes.online()
    nodes.stop.set()
    await nodes.tasks[0]
    assert api.nodes[node_id].state == "draining"
    nodes.stop = asyncio.Event()
    await nodes.online()
    await api.until(lambda: api.nodes[node_id].state == "online")
    offer = api.offers[api.offer(node_id)]
    await api.until(lambda: offer.state == "done")


async def test_a_fleet_shares_the_work(api: NodeApi, nodes: Nodes) -> None:
    wallets = [f"wallet-{n}" for n in range(40)]
    nodes.start(*(nodes.config(wallet) for wallet in wallets))
    await api.until(lambda: len(api.nodes) == 40)
    offers = [api.offers[api.offer(api.node_id(wallet))] for wallet in wallets]
    await api.until(lambda: all(offer.state == "done" for offer in offers))
    await nodes.drained()
    assert {node.state for node in api.nodes.values()} == {"draining"}
    assert nodes.stats.completed == 40
