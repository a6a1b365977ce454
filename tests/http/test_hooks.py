"""Agents' own webhooks over REST, from their making to what they are told of a job."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from app.webhooks import signing
from tests.http.catalogue import LOST
from tests.http.conftest import as_, make_keys
from tests.support.live_engine import Hae, Node, problem_of, running_engine, settings_for
from tests.support.receiver import Receiver
from tests.support.servers import Servers

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hae(module_database_url: str, servers: Servers) -> AsyncIterator[Hae]:
    """An engine with a worker, which may send webhooks to this machine."""
    settings = settings_for(
        module_database_url, servers.redis_url, webhooks={"allow_networks": ["127.0.0.0/8"], "poll_s": 0.1}
    )
    async with running_engine(settings) as running:
        await make_keys(running)
        yield running


async def test_a_job_is_told_to_its_accounts_hooks_alone(hae: Hae) -> None:
    alice, bob = as_(hae, "alice"), as_(hae, "bob")
    async with Receiver() as mine, Receiver() as bobs:
        made = (await alice.post("/v1/hooks", json={"url": mine.url(), "kinds": ["job_completed"]})).json()
        assert (await bob.post("/v1/hooks", json={"url": bobs.url()})).status_code == 201
        node = await Node.register(as_(hae, "miner"), "hooked", gpu_model="GB200")
        job = {"type": "llm_inference", "prompt": "Why?", "gpu_models": ["GB200"]}
        job_id = (await alice.post("/v1/jobs", json=job)).json()["job_id"]
        await node.run_next()
        await mine.until(1)
        (sent,) = mine.received
        assert (sent.json["event"], sent.json["job_id"]) == ("job_completed", job_id)
        assert signing.verify(made["secret"], sent.headers, sent.body, time.time())
        assert not bobs.received
        problem_of(await alice.post("/v1/hooks", json={"url": mine.url(), "subject": job_id}), 409, code="subject_over")
        path = f"/v1/hooks/{made['hook_id']}"
        problem_of(await bob.get(path), 404, code="hook_not_found")
        problem_of(await bob.delete(path), 404, code="hook_not_found")
        read = (await alice.get(path)).json()
        assert read == {name: value for name, value in made.items() if name != "secret"}
        assert (read["url"], read["ended_at"], read["error"]) == (mine.url(), "", "")
        assert (await alice.get("/v1/hooks")).json() == {"hooks": [read], "next_cursor": ""}
        assert (await alice.delete(path)).json() == {"hook_id": made["hook_id"], "deleted": True}
        problem_of(await alice.get(path), 404, code="hook_not_found")


async def test_an_idempotency_key_makes_one_hook(hae: Hae) -> None:
    alice, key = as_(hae, "alice"), {"idempotency-key": "one hook"}
    asked = {"url": "https://9.9.9.9/hook"}
    answers = [await alice.post("/v1/hooks", json=asked, headers=key) for _ in range(2)]
    assert [one.status_code for one in answers] == [201, 200]
    assert answers[0].json() == answers[1].json()
    other = await alice.post("/v1/hooks", json={**asked, "kinds": ["job_failed"]}, headers=key)
    problem_of(other, 409, code="idempotency_key_reused")


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"url": "http://169.254.169.254/latest"}, 422, "url"),
        ({"url": "ftp://9.9.9.9/"}, 422, "url"),
        ({"kinds": ["operator_message"]}, 422, "kinds"),
        ({"kinds": ["nonsense"]}, 422, "kinds"),
        ({"secret": "whsec_short"}, 422, "secret"),
        ({"subject": LOST}, 404, "subject"),
        ({"subject": "a b"}, 422, "subject"),
    ],
)
async def test_what_is_no_hook(hae: Hae, changes: dict[str, Any], status: int, field: str) -> None:
    alice = as_(hae, "alice")
    before = (await alice.get("/v1/hooks")).json()
    answer = await alice.post("/v1/hooks", json={"url": "https://9.9.9.9/hook", **changes})
    assert problem_of(answer, status)["field"] == field
    assert (await alice.get("/v1/hooks")).json() == before
