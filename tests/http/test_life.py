"""A job's life over HTTP, seen by its agent and by its nodes, on an engine whose worker runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.core.access import Scope
from tests.http.catalogue import JOB
from tests.http.conftest import as_
from tests.support.live_engine import Hae, Node, problem_of, until_state

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def node_for(hae: Hae, gpu: str, key: str = "miner", **described: Any) -> Node:
    given = {"capabilities": ["inference"], "gpu_model": gpu, **described}
    return await Node.register(as_(hae, key), f"{key}-{gpu}", **given)


async def submitted(hae: Hae, gpu: str, **job: Any) -> str:
    answer = await as_(hae, "alice").post("/v1/jobs", json={**JOB, "gpu_models": [gpu], **job})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['job_id']}"
    job_id: str = answer.json()["job_id"]
    return job_id


async def test_a_job_from_submit_to_result(hae: Hae) -> None:
    alice = as_(hae, "alice")
    node = await node_for(hae, "whole", price_per_gpu_hour_hyper="0.36")
    polling = asyncio.create_task(node.offers())
    await asyncio.sleep(0)
    job_id = await submitted(hae, "whole", input={"temperature": 0.5})
    waiting = asyncio.create_task(alice.get(f"/v1/jobs/{job_id}/wait", params={"wait_s": 30}))
    (offer,) = await polling
    assert offer["job_id"] == job_id
    assert offer["input"] == {"model": "qwen-7b", "prompt": JOB["prompt"], "input": {"temperature": 0.5}}
    assert (offer["price_per_gpu_hour_hyper"], offer["gpus"], offer["type"]) == ("0.36", 1, "llm_inference")
    assert (await node.offers(0))[0]["offer_id"] == offer["offer_id"]
    assert (await node.say(offer["offer_id"], "accept")).json()["state"] == "accepted"
    progress = await node.say(offer["offer_id"], "progress", percent=40, message="working")
    assert progress.json() == {"offer_id": offer["offer_id"], "continue": True}
    assert (await until_state(alice, job_id, ["running"]))["node_id"] == node.id
    report = {"result": {"text": "…"}, "logs": ["a", {"b": 1}], "metrics": {"tokens": 12}}
    assert (await node.say(offer["offer_id"], "result", **report)).status_code == 200
    job = (await waiting).json()
    assert (job["state"], job["final"], job["reason"]) == ("completed", True, "result")
    assert {name: job[name] for name in report} == report
    assert job["settlement"] == "awaiting"
    assert float(job["cost_hyper"]) == pytest.approx(0.36 * job["duration_ms"] / 3_600_000)
    history = (await alice.get(f"/v1/jobs/{job_id}/history")).json()["transitions"]
    assert [one["to_state"] for one in history] == ["pending", "offered", "assigned", "running", "completed"]
    check = example("reliability.md")["check"]
    check(job_id, history)
    for changed in ({"actor": "somebody"}, {"at_us": history[2]["at_us"] + 1}, {"reason": "operator"}):
        with pytest.raises(AssertionError, match="row 3"):
            check(job_id, [*history[:2], {**history[2], **changed}, *history[3:]])
    with pytest.raises(AssertionError, match="row 3"):
        check(job_id, history[:2] + history[3:])
    match = (await alice.get(f"/v1/jobs/{job_id}/match")).json()
    assert (match["node_id"], match["verdict"], match["top"][0]["node_id"]) == (node.id, "", node.id)
    assert await node.offers(0) == []


def example(page: str) -> dict[str, Any]:
    """What the Python of a page of the docs defines."""
    text = (Path(__file__).parents[2] / "docs" / page).read_text()
    names: dict[str, Any] = {}
    exec(text.split("```python\n")[1].split("```")[0], names)
    return names


async def test_a_declined_job_falls_back_to_the_next_node(hae: Hae) -> None:
    first = await node_for(hae, "fallback", price_per_gpu_hour_hyper="0.1")
    second = await node_for(hae, "fallback", "digger", price_per_gpu_hour_hyper="9")
    job_id = await submitted(hae, "fallback", policy="cheapest")
    offer_id = await first.next_offer()
    assert (await first.say(offer_id, "decline", reason="too hot")).json()["state"] == "declined"
    await second.run_next()
    job = await until_state(as_(hae, "alice"), job_id, ["completed"])
    assert (job["node_id"], job["attempt"]) == (second.id, 2)


async def test_a_failed_run_goes_to_the_next_node_and_then_fails(hae: Hae) -> None:
    first, second = await node_for(hae, "frail"), await node_for(hae, "frail", "digger")
    job_id = await submitted(hae, "frail", max_retries=1)
    polls = {asyncio.create_task(node.next_offer()): node for node in (first, second)}
    for _ in range(2):
        (done, *_), _ = await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED)
        node = polls.pop(done)
        await node.say(done.result(), "accept")
        assert (await node.say(done.result(), "failure", error="out of memory")).status_code == 200
    job = await until_state(as_(hae, "alice"), job_id, ["failed"])
    assert (job["reason"], job["error"], job["result"]) == ("retries_exhausted", "out of memory", None)


@pytest.mark.parametrize("state", ["pending", "offered", "assigned", "running"])
async def test_cancel_in_each_state(hae: Hae, state: str) -> None:
    alice, gpu = as_(hae, "alice"), f"cancel-{state}"
    if state != "pending":
        node = await node_for(hae, gpu)
    job_id = await submitted(hae, gpu)
    if state != "pending":
        offer_id = await node.next_offer()
        if state != "offered":
            await node.say(offer_id, "accept")
        if state == "running":
            await node.say(offer_id, "progress")
        await until_state(alice, job_id, [state])
    on_node = state in ("assigned", "running")
    ending = asyncio.create_task(alice.post(f"/v1/jobs/{job_id}/cancel"))
    if on_node:
        # Its node is told to stop, and the job is over once it has.
        await until_state(alice, job_id, ["cancelling"])
        told = (await node.http.post(f"/v1/node/{node.id}/heartbeat", json={"running": [offer_id]})).json()
        assert told["stop"] == [offer_id]
        problem_of(await node.say(offer_id, "progress"), 409, code="cancel_requested")
        assert (await node.say(offer_id, "failure", error="cancelled")).status_code == 200
    answer = await ending
    assert answer.status_code == 200
    assert answer.json()["cancel_requested"]
    job = await until_state(alice, job_id, ["cancelled"])
    assert job["reason"] == ("stopped" if on_node else "cancel_requested")
    assert (await alice.post(f"/v1/jobs/{job_id}/cancel")).json()["state"] == "cancelled"
    if state != "pending":
        problem_of(await node.say(offer_id, "progress"), 409, code="offer_over")
        next_job = await submitted(hae, gpu)
        await node.run_next()
        await until_state(alice, next_job, ["completed"])


async def test_cancel_of_a_finished_job_changes_nothing(hae: Hae) -> None:
    node = await node_for(hae, "over")
    job_id = await submitted(hae, "over")
    await node.run_next("kept")
    before = await until_state(as_(hae, "alice"), job_id, ["completed"])
    assert (await as_(hae, "alice").post(f"/v1/jobs/{job_id}/cancel")).json() == before


async def test_a_drained_node_gets_nothing_until_it_resumes(hae: Hae) -> None:
    node = await node_for(hae, "drained")
    job_id = await submitted(hae, "drained")
    await node.next_offer()
    assert (await node.http.post(f"/v1/node/{node.id}/drain")).json() == {"node_id": node.id, "state": "draining"}
    await until_state(as_(hae, "alice"), job_id, ["pending"])
    assert await node.offers(0) == []
    assert (await node.http.post(f"/v1/node/{node.id}/heartbeat", json={})).json() == {
        "node_id": node.id, "state": "draining", "penalty": 0, "trial": 0, "suspended_until": "", "stop": [],
    }  # fmt: skip
    assert (await node.http.post(f"/v1/node/{node.id}/resume")).json()["state"] == "online"
    await node.run_next()
    assert (await until_state(as_(hae, "alice"), job_id, ["completed"]))["node_id"] == node.id


async def test_waits_answer_the_state_there_is(hae: Hae) -> None:
    alice = as_(hae, "alice")
    job_id = await submitted(hae, "nobody-has-this")
    job = (await alice.get(f"/v1/jobs/{job_id}/wait", params={"wait_s": 0})).json()
    assert (job["state"], job["final"]) == ("pending", False)
    same = (await alice.get(f"/v1/jobs/{job_id}/wait", params={"wait_s": 0.05, "until": "change"})).json()
    assert same["version"] == job["version"]
    match = (await alice.get(f"/v1/jobs/{job_id}/match")).json()
    assert (match["verdict"], match["top"], match["node_id"]) == ("never_fits", [], "")
    tool = await alice.post("/v1/tools/watch_job", json={"job_id": job_id, "wait_s": 0})
    assert tool.json()["state"] == "pending"


async def test_lists_show_each_job_once_while_jobs_come_in(hae: Hae) -> None:
    http = hae.client(await hae.key("lister", Scope.AGENT))

    async def submit() -> str:
        body = {**JOB, "type": "render", "gpu_models": ["nothing"]}
        job_id: str = (await http.post("/v1/jobs", json=body)).json()["job_id"]
        return job_id

    there = [await submit() for _ in range(11)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        page = (await http.get("/v1/jobs", params=query)).json()
        seen += [job["job_id"] for job in page["jobs"]]
        if not page["next_cursor"]:
            break
        query["cursor"] = page["next_cursor"]
        await submit()
    assert seen == sorted(there, reverse=True)
    assert "result" not in page["jobs"][0]
    assert (await http.get("/v1/jobs?type=render&state=pending&state=offered&limit=200")).json()["next_cursor"] == ""
    assert (await http.get("/v1/jobs?type=llm_inference")).json()["jobs"] == []
    assert (await http.get("/v1/jobs?state=completed")).json() == {"jobs": [], "next_cursor": ""}


async def test_availability_quote_and_match_agree(hae: Hae) -> None:
    alice = as_(hae, "alice")
    cheap = await node_for(hae, "agreed", gpus=4, price_per_gpu_hour_hyper="0.5", region="EU", vram_gb=24)
    await node_for(hae, "agreed", "digger", gpus=2, price_per_gpu_hour_hyper="2.5", region="NA", vram_gb=80)
    wants = {"type": "llm_inference", "gpu_models": ["AGREED"], "gpus": 2, "min_vram_gb": 24}

    async def both(path: str, tool: str, body: dict[str, Any]) -> Any:
        rest, called = await alice.post(path, json=body), await alice.post(f"/v1/tools/{tool}", json=body)
        assert rest.status_code == called.status_code == 200, rest.text
        ages = {"view_age_s", "view_version"}
        same = [{k: v for k, v in answer.json().items() if k not in ages} for answer in (rest, called)]
        assert same[0] == same[1]
        return rest.json()

    there = await both("/v1/availability", "availability", wants)
    assert (there["matching"], there["available_now"], there["free_slots"]) == (2, 2, 6)
    assert there["cheapest_price_per_gpu_hour_hyper"] == "0.5"
    quote = await both("/v1/quotes", "quote", {**wants, "policy": "cheapest", "duration_s": 1800})
    match = await both("/v1/match", "match", {**wants, "policy": "cheapest"})
    assert quote["node_id"] == match["candidates"][0]["node_id"] == cheap.id
    assert quote["cost_hyper"] == quote["cheapest_cost_hyper"] == "0.5"
    assert match["feasible"] == there["available_now"]
    assert match["feasible"] + sum(match["rejects"].values()) == there["nodes_total"]
    nothing = {**wants, "gpus": 8}
    assert (await both("/v1/availability", "availability", nothing))["matching"] == 0
    assert (await both("/v1/quotes", "quote", nothing))["cost_hyper"] == ""
    assert (await both("/v1/match", "match", nothing))["verdict"] == "never_fits"
    everything = (await alice.get("/v1/availability")).json()
    assert everything["nodes_total"] == there["nodes_total"]
    figures = (await alice.post("/v1/tools/network_metrics", json={})).json()
    assert figures["nodes_total"] <= everything["nodes_total"]


async def test_operators_set_the_standing_of_nodes(hae: Hae) -> None:
    node = await node_for(hae, "standing")
    body = {"nodes": [{"node_id": node.id, "reputation": 900, "stake_hyper": "12.5", "jobs_completed": 7}]}
    answer = await as_(hae, "ops").put("/internal/nodes/standing", json=body)
    assert (answer.status_code, answer.json()) == (200, {"updated": 1})
    wants = {"gpu_models": ["standing"], "min_reputation": 900}
    async with asyncio.timeout(10):
        while not (await as_(hae, "alice").post("/v1/availability", json=wants)).json()["matching"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_restarted_node_gives_its_runs_up_at_once(hae: Hae) -> None:
    node = await node_for(hae, "restarted")
    job_id = await submitted(hae, "restarted")
    offer_id = await node.next_offer()
    await node.say(offer_id, "accept")
    await node.say(offer_id, "progress")
    await until_state(as_(hae, "alice"), job_id, ["running"])
    again = await node_for(hae, "restarted")
    assert again.id == node.id
    assert (await as_(hae, "alice").get(f"/v1/jobs/{job_id}")).json()["state"] == "running"
    await node_for(hae, "restarted", fresh=True)
    # Alone as it is, it gets the job again: it went away, it did not fail it.
    await node.run_next("second time")
    job = await until_state(as_(hae, "alice"), job_id, ["completed"])
    assert (job["node_id"], job["attempt"], job["result"]) == (node.id, 2, "second time")
    history = (await as_(hae, "alice").get(f"/v1/jobs/{job_id}/history")).json()["transitions"]
    assert "node_restarted" in [one["reason"] for one in history]
    problem_of(await node.say(offer_id, "result", result="too late"), 409)


async def test_a_node_that_restarts_with_its_last_retry_fails_the_job(hae: Hae) -> None:
    node = await node_for(hae, "last-try")
    job_id = await submitted(hae, "last-try", max_retries=0)
    await node.say(await node.next_offer(), "accept")
    await node_for(hae, "last-try", fresh=True)
    job = await until_state(as_(hae, "alice"), job_id, ["failed"])
    assert job["error"] == "the node restarted"


async def test_a_fresh_node_keeps_its_open_offers(hae: Hae) -> None:
    node = await node_for(hae, "unhurt")
    job_id = await submitted(hae, "unhurt")
    offer_id = await node.next_offer()
    await node_for(hae, "unhurt", fresh=True)
    assert await node.next_offer() == offer_id
    await node.run_next()
    assert (await until_state(as_(hae, "alice"), job_id, ["completed"]))["attempt"] == 1


async def test_many_clients_at_once(hae: Hae) -> None:
    node = await node_for(hae, "crowd", gpus=8)
    job_ids = await asyncio.gather(*(submitted(hae, "crowd") for _ in range(24)))

    async def work() -> None:
        left = 24
        while left:
            for offer in await node.offers():
                for action, body in (("accept", {}), ("result", {"result": offer["job_id"]})):
                    answer: httpx.Response = await node.say(offer["offer_id"], action, **body)
                    assert answer.status_code == 200
                left -= 1

    _, *jobs = await asyncio.gather(work(), *(until_state(as_(hae, "alice"), one, ["completed"]) for one in job_ids))
    assert [job["result"] for job in jobs] == job_ids
