"""Requests that come too late, twice, or from somebody else: refused by what the database says, nothing changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

import tools.jobs
from app.services import nodes
from tests.http.catalogue import JOB, nothing_changes
from tests.http.conftest import as_, make_keys
from tests.support.live_engine import Hae, Node, problem_of, running_engine, settings_for
from tests.support.servers import Servers

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hasty(module_database_url: str, servers: Servers) -> AsyncIterator[Hae]:
    """An engine without a worker, whose offers expire soon."""
    settings = settings_for(module_database_url, servers.redis_url, jobs={"offer_ttl_s": 1.0})
    async with running_engine(settings, worker=False) as running:
        await make_keys(running)
        yield running


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without a worker, no job ends while its cancellation waits for that.
    monkeypatch.setattr(tools.jobs, "CANCEL_WAIT_S", 0.01)


async def offered(running: Hae, gpu: str, **job: Any) -> tuple[Node, str, str]:
    """A node with a GPU model of its own, a job for it, and the offer of it: ``(node, job_id, offer_id)``."""
    node = await Node.register(as_(running, "miner"), f"wallet-{gpu}", gpu_model=gpu, capabilities=["inference"])
    body = {**JOB, "gpu_models": [gpu], **job}
    job_id = (await as_(running, "alice").post("/v1/jobs", json=body)).json()["job_id"]
    await running.settle()
    offer_id = await running.sql.fetchval("SELECT id FROM offers WHERE job_id = $1 AND holds_slots", job_id)
    assert offer_id
    return node, job_id, offer_id


async def test_an_offer_answered_after_its_expiry(hasty: Hae) -> None:
    node, job_id, offer_id = await offered(hasty, "late")
    await asyncio.sleep(1.1)
    async with nothing_changes(hasty):
        for action in ("accept", "decline"):
            problem_of(await node.say(offer_id, action), 410, code="offer_expired")
        for action, body in (("progress", {}), ("result", {"result": 1}), ("failure", {"error": "no"})):
            problem_of(await node.say(offer_id, action, **body), 409)
    await hasty.settle()
    problem_of(await node.say(offer_id, "accept"), 410, code="offer_expired")
    history = (await as_(hasty, "alice").get(f"/v1/jobs/{job_id}/history")).json()["transitions"]
    assert [one["to_state"] for one in history][:3] == ["pending", "offered", "pending"]
    assert history[2]["reason"] == "offer_expired"


async def test_reports_before_the_acceptance(still: Hae) -> None:
    node, _, offer_id = await offered(still, "eager")
    async with nothing_changes(still):
        for action, body in (("progress", {}), ("result", {"result": 1}), ("failure", {"error": "no"})):
            problem_of(await node.say(offer_id, action, **body), 409, code="offer_not_accepted")


async def test_answers_from_the_wrong_node(still: Hae) -> None:
    owner, _, offer_id = await offered(still, "theirs")
    neighbour = await Node.register(as_(still, "miner"), "wallet-neighbour", gpu_model="other")
    stranger = await Node.register(as_(still, "digger"), "wallet-stranger", gpu_model="other")
    thief = Node(as_(still, "digger"), owner.id)
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("accept", {}), ("decline", {}), ("progress", {}), ("result", {"result": 1}), ("failure", {"error": "no"}),
    ]  # fmt: skip
    for accepted in (False, True):
        if accepted:
            assert (await owner.say(offer_id, "accept")).status_code == 200
        async with nothing_changes(still):
            for action, body in bodies:
                for node in (neighbour, stranger):
                    problem_of(await node.say(offer_id, action, **body), 404, code="offer_not_found")
                problem_of(await thief.say(offer_id, action, **body), 404, code="node_not_found")
    async with nothing_changes(still):
        for action in ("heartbeat", "drain", "resume"):
            answer = await thief.http.post(f"/v1/node/{owner.id}/{action}", json={})
            problem_of(answer, 404, code="node_not_found")


async def test_a_second_result_for_a_finished_job(still: Hae) -> None:
    node, job_id, offer_id = await offered(still, "once")
    assert (await node.say(offer_id, "accept")).status_code == 200
    assert (await node.say(offer_id, "accept")).status_code == 200
    assert (await node.say(offer_id, "result", result={"n": 1})).status_code == 200
    for finished in (False, True):
        if finished:
            await still.settle()
        async with nothing_changes(still):
            assert (await node.say(offer_id, "result", result={"n": 1})).status_code == 200
            problem_of(await node.say(offer_id, "result", result={"n": 2}), 409, code="already_reported")
            problem_of(await node.say(offer_id, "failure", error="no"), 409, code="already_reported")
    problem_of(await node.say(offer_id, "progress"), 409, code="offer_over")
    problem_of(await node.say(offer_id, "accept"), 409, code="offer_over")
    job = (await as_(still, "alice").get(f"/v1/jobs/{job_id}")).json()
    assert (job["state"], job["result"]) == ("completed", {"n": 1})


async def test_an_offer_answered_both_ways(still: Hae) -> None:
    node, _, first = await offered(still, "torn")
    assert (await node.say(first, "accept")).status_code == 200
    problem_of(await node.say(first, "decline"), 409)
    other, _, second = await offered(still, "torn2")
    assert (await other.say(second, "decline", reason="busy")).status_code == 200
    assert (await other.say(second, "decline", reason="busy")).status_code == 200
    problem_of(await other.say(second, "accept"), 409)
    await still.settle()
    problem_of(await other.say(second, "accept"), 409)


async def test_reports_of_a_cancelled_job(still: Hae) -> None:
    node, job_id, offer_id = await offered(still, "dropped")
    await node.say(offer_id, "accept")
    await still.settle()
    answer = await as_(still, "alice").post(f"/v1/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json()["cancel_requested"]) == (200, True)
    for _ in range(2):
        async with nothing_changes(still):
            told = problem_of(await node.say(offer_id, "progress", percent=1), 409, code="cancel_requested")
        assert told["next_action"].startswith("Stop working on it and report")
        await still.settle()
    assert (await node.say(offer_id, "failure", error="stopped")).status_code == 200
    await still.settle()
    async with nothing_changes(still):
        problem_of(await node.say(offer_id, "progress", percent=1), 409, code="offer_over")
        problem_of(await node.say(offer_id, "result", result=1), 409, code="already_reported")
        assert (await node.say(offer_id, "failure", error="stopped")).status_code == 200
    job = (await as_(still, "alice").get(f"/v1/jobs/{job_id}")).json()
    assert (job["state"], job["reason"]) == ("cancelled", "stopped")


async def silenced(running: Hae, job_id: str) -> None:
    """The job's run loses its lease: nothing was heard of it for far too long."""
    await running.sql.execute("UPDATE node_heartbeats SET last_seen_at = now() - interval '1 day'")
    await running.sql.execute(
        """UPDATE offers SET created_at = created_at - interval '1 day', decided_at = decided_at - interval '1 day',
        renewed_at = renewed_at - interval '1 day' WHERE job_id = $1 AND holds_slots""",
        job_id,
    )
    await running.sql.execute("UPDATE jobs SET timeout_s = 200000 WHERE id = $1", job_id)
    assert await nodes.sweep_leases(running.engine.db, 150.0) == 1
    await running.settle()


async def test_a_result_after_the_lease_is_kept_and_does_not_count(still: Hae) -> None:
    node, job_id, offer_id = await offered(still, "slow")
    assert (await node.say(offer_id, "accept")).status_code == 200
    await still.settle()
    await silenced(still, job_id)
    told = problem_of(await node.say(offer_id, "result", result={"n": 1}), 409, code="offer_over")
    assert "kept" in told["detail"]
    async with nothing_changes(still):
        assert problem_of(await node.say(offer_id, "result", result={"n": 1}), 409, code="offer_over") == told
        problem_of(await node.say(offer_id, "result", result={"n": 2}), 409, code="already_reported")
        problem_of(await node.say(offer_id, "progress"), 409, code="offer_over")
    # Not in the block: the job, which waits for another node, is looked at again now and then.
    await still.settle()
    row = await still.sql.fetchrow("SELECT body, late, ok FROM results WHERE offer_id = $1", offer_id)
    assert tuple(row) == ('{"n": 1}', True, True)
    job = (await as_(still, "alice").get(f"/v1/jobs/{job_id}")).json()
    assert (job["result"], job["cost_hyper"], job["attempt"]) == (None, "", 2)
    stop = (await node.http.post(f"/v1/node/{node.id}/heartbeat", json={"running": [offer_id]})).json()["stop"]
    assert stop == [offer_id]


async def test_the_present_worker_is_too_late_as_well(still: Hae) -> None:
    node, job_id, offer_id = await offered(still, "oldslow")
    assert (await node.say(offer_id, "accept")).status_code == 200
    await still.settle()
    await silenced(still, job_id)
    for _ in range(2):
        answer = await node.http.post(f"/api/jobs/{job_id}/result", json={"result": 1})
        problem_of(answer, 409, code="offer_over")
    assert await still.sql.fetchval("SELECT late FROM results WHERE offer_id = $1", offer_id)


async def test_another_lease_token_than_the_offers(still: Hae) -> None:
    node, _, offer_id = await offered(still, "fenced")
    (offer,) = await node.offers(0)
    token, lease_s = offer["lease_token"], offer["lease_s"]
    assert lease_s == still.settings.nodes.lease_s
    path = f"/v1/node/{node.id}/offers/{offer_id}/accept"
    wrong = token + 1
    async with nothing_changes(still):
        problem_of(await node.http.post(path, params={"lease_token": wrong}), 409, code="lease_lost")
    for _ in range(2):
        answer = await node.http.post(path, params={"lease_token": token})
        assert answer.json() == {
            "offer_id": offer_id, "state": "accepted", "lease_token": token, "lease_s": lease_s,
        }  # fmt: skip
    reports: list[tuple[str, dict[str, Any]]] = [("result", {"result": 1}), ("failure", {"error": "no"})]
    async with nothing_changes(still):
        for action, body in [("progress", {"percent": 1}), *reports]:
            problem_of(await node.say(offer_id, action, lease_token=wrong, **body), 409, code="lease_lost")
    assert (await node.say(offer_id, "progress", percent=1, lease_token=token)).status_code == 200
    assert (await node.say(offer_id, "result", result=1, lease_token=token)).status_code == 200
    async with nothing_changes(still):
        assert (await node.say(offer_id, "result", result=1, lease_token=token)).status_code == 200
        problem_of(await node.say(offer_id, "result", result=1, lease_token=wrong), 409, code="lease_lost")


async def test_foreign_jobs_are_not_found(still: Hae) -> None:
    _, job_id, _ = await offered(still, "mine")
    async with nothing_changes(still):
        for path in ("", "/wait", "/history", "/match", "/events"):
            problem_of(await as_(still, "bob").get(f"/v1/jobs/{job_id}{path}"), 404, code="job_not_found")
        problem_of(await as_(still, "bob").post(f"/v1/jobs/{job_id}/cancel"), 404, code="job_not_found")
        for tool in ("get_job", "watch_job", "cancel_job"):
            answer = await as_(still, "bob").post(f"/v1/tools/{tool}", json={"job_id": job_id})
            problem_of(answer, 404, code="job_not_found")
    listed = (await as_(still, "bob").get("/v1/jobs")).json()["jobs"]
    assert job_id not in [job["job_id"] for job in listed]
    seen = (await as_(still, "ops").get("/v1/jobs", params={"limit": 200})).json()["jobs"]
    assert job_id in [job["job_id"] for job in seen]
    assert (await as_(still, "ops").get(f"/v1/jobs/{job_id}")).json()["job_id"] == job_id


async def test_a_wallet_of_another_account(still: Hae) -> None:
    await Node.register(as_(still, "miner"), "wallet-owned", gpu_model="T4")
    async with nothing_changes(still):
        body = {"wallet": "wallet-owned", "gpu_model": "T4", "fresh": True}
        problem_of(await as_(still, "digger").post("/v1/node/register", json=body), 409, code="wallet_taken")
        legacy = await as_(still, "digger").post("/api/nodes/register", json={"walletAddress": "wallet-owned"})
        problem_of(legacy, 409, code="wallet_taken")


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/tools/submit_job"])
@pytest.mark.parametrize("way", ["header", "field"])
async def test_idempotency_keys(still: Hae, path: str, way: str) -> None:
    alice, bob = as_(still, "alice"), as_(still, "bob")
    key = f"{path}-{way}-ключ" if way == "field" else f"{path}-{way}"

    def request(**job: Any) -> dict[str, Any]:
        body = {**JOB, "input": {"a": 1, "b": 2}, **job}
        if way == "header":
            return {"json": body, "headers": {"idempotency-key": key}}
        return {"json": {**body, "idempotency_key": key}}

    first = await alice.post(path, **request())
    assert first.json()["created"] is True
    async with nothing_changes(still):
        # The same request, written differently: order and defaults do not count.
        again = await alice.post(path, **request(input={"b": 2, "a": 1}, gpus=1))
        assert again.status_code == 200
        assert again.json() == {**first.json(), "created": False}
        told = problem_of(await alice.post(path, **request(prompt="else")), 409, code="idempotency_key_reused")
        assert first.json()["job_id"] in told["detail"]
    # Keys are an account's own.
    assert (await bob.post(path, **request())).json()["created"] is True
    await alice.post(f"/v1/jobs/{first.json()['job_id']}/cancel")
    await still.settle()
    assert (await alice.post(path, **request())).json()["state"] == "cancelled"


async def test_equal_submissions_at_once_make_one_job(still: Hae) -> None:
    headers = {"idempotency-key": "at-once"}
    before = (await still.counts())["jobs"]
    answers = await asyncio.gather(
        *(as_(still, "alice").post("/v1/jobs", json=JOB, headers=headers) for _ in range(12))
    )
    assert {answer.json()["job_id"] for answer in answers} == {answers[0].json()["job_id"]}
    assert sorted(answer.status_code for answer in answers) == [200] * 11 + [201]
    assert (await still.counts())["jobs"] == before + 1
