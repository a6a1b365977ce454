"""A worker whose server is away, overloaded, forgetful or unwilling."""

from __future__ import annotations

import logging

import pytest

from tests.integration.node_worker.conftest import Nodes
from tests.support.http_server import CUT, Reply
from tests.support.node_api import NodeApi, problem

SLOW = {"input": {"simulate": {"duration_s": 0.3}}}


async def test_a_cut_connection_repeats_the_call(api: NodeApi, nodes: Nodes) -> None:
    for action in ("register", "offers", "accept", "result"):
        api.fail_next(action, CUT)
    node_id = await nodes.online()
    offer = api.offers[api.offer(node_id)]
    await api.until(lambda: offer.state == "done")
    assert [api.count(action) for action in ("register", "accept", "result")] == [2, 2, 2]
    await nodes.drained()
    assert nodes.stats.completed == 1


async def test_overload_is_waited_out(api: NodeApi, nodes: Nodes) -> None:
    node_id = await nodes.online()
    busy = problem(503, "unavailable", retry_after=0.05)
    api.fail_next("result", busy, problem(429, "rate_limited", retry_after=0.05), Reply(502, "<html>"))
    offer = api.offers[api.offer(node_id)]
    await api.until(lambda: offer.state == "done")
    assert [status for action, status in api.calls if action == "result"] == [503, 429, 502, 200]


async def test_a_result_outlives_a_restart_of_the_server(
    api: NodeApi, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.node_worker")
    node_id = await nodes.online(executor="simulate")
    offer = api.offers[api.offer(node_id, input=SLOW)]
    await api.until(lambda: bool(offer.progress))
    await api.server.stop()
    await nodes.until(lambda stats: "does not answer" in caplog.text)
    await api.server.start()
    await api.until(lambda: offer.state == "done")
    await api.until(lambda: api.nodes[node_id].polls > 1)
    assert caplog.text.count("does not answer") == caplog.text.count("answers again") == 1


async def test_a_server_that_forgot_the_node_is_told_again(api: NodeApi, nodes: Nodes) -> None:
    node_id = await nodes.online()
    del api.nodes[node_id]
    api.fail_next("offers", problem(404, "not_found"))
    api.pulse()
    await api.until(lambda: node_id in api.nodes)
    offer = api.offers[api.offer(node_id)]
    await api.until(lambda: offer.state == "done")
    assert api.count("register") == 2


async def test_a_refused_key_ends_the_node_with_an_error(
    api: NodeApi, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    task = nodes.start(nodes.config(api_key="wrong"))
    assert await task == 1
    assert "401 unauthorised" in caplog.text
    assert "wrong" not in caplog.text


async def test_one_refused_node_does_not_end_the_fleet(api: NodeApi, nodes: Nodes) -> None:
    task = nodes.start(nodes.config("bad", api_key="wrong"), nodes.config("good"))
    await api.until(lambda: api.node_id("good") in api.nodes)
    offer = api.offers[api.offer(api.node_id("good"))]
    await api.until(lambda: offer.state == "done")
    nodes.stop.set()
    assert await task == 1


async def test_stopping_does_not_wait_for_a_server_that_never_came(api: NodeApi, nodes: Nodes) -> None:
    await api.server.stop()
    task = nodes.start(nodes.config())
    nodes.stop.set()
    assert await task == 0


async def test_heartbeats_go_on_while_a_draining_node_works(api: NodeApi, nodes: Nodes) -> None:
    api.heartbeat_interval_s = 1.0
    node_id = await nodes.online(executor="simulate", gpus=2)
    offer = api.offers[api.offer(node_id, input={"input": {"simulate": {"hang": True}}})]
    await api.until(lambda: offer.state == "accepted")
    nodes.stop.set()
    await api.until(lambda: api.nodes[node_id].state == "draining")
    api.nodes[node_id].heartbeats.clear()
    await api.until(lambda: bool(api.nodes[node_id].heartbeats))
    assert api.nodes[node_id].heartbeats == [50]
    offer.state = "over"
    assert await nodes.tasks[0] == 0
