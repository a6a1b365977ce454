"""The Python agent against a real engine, as the network's documents call it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

import hae_client
from agent_plugins.eliza import ElizaAgent
from app.core.access import Scope
from app.core.ids import new_id
from app.webhooks import signing
from tests.http.conftest import as_
from tests.support.live_engine import Hae, Node

pytestmark = pytest.mark.asyncio(loop_scope="module")

JOB = {"type": "llm_inference", "model": "qwen-7b", "prompt": "Explain quantum computing"}
LOST = "job_01jd3k5m7p9r1t3v5x7z9b1d3f"


@pytest_asyncio.fixture(loop_scope="module")
async def agent(hae: Hae) -> AsyncIterator[ElizaAgent]:
    # An account of its own: no events but those of its test.
    key = await hae.key(new_id("agent"), Scope.AGENT)
    async with ElizaAgent({"HYPERNODE_API_URL": hae.url, "HYPERNODE_API_KEY": key}) as one:
        yield one


async def test_it_has_a_job_done(hae: Hae, agent: ElizaAgent) -> None:
    node = await Node.register(as_(hae, "miner"), "wallet-agent", gpu_model="AGENT 1")
    there = await agent.check_availability({"type": "llm_inference", "gpuModels": ["AGENT 1"]})
    assert (there.matching, there.available_now) == (1, 1)
    price = await agent.quote(type="llm_inference", gpu_models=["AGENT 1"], durationS=60)
    assert price.available_now and float(price.cost_hyper) > 0
    made = await agent.submit_job({**JOB, "gpu_models": ["AGENT 1"]})
    assert made.created
    waiting = asyncio.create_task(agent.wait_for_job(made.job_id, timeout_s=30))
    await node.run_next(result={"text": "qubits"})
    done = await waiting
    assert (done.state, done.result) == ("completed", {"text": "qubits"})
    assert (await agent.job_status(made.job_id)).result == {"text": "qubits"}


async def test_it_submits_as_the_documents_write_it(hae: Hae, agent: ElizaAgent) -> None:
    made = await agent.submitJob({"type": "llm_inference", "model": "qwen-7b", "prompt": "Explain quantum computing"})
    job = await agent.job_status(made.job_id)
    assert (job.type, job.model, job.prompt) == ("llm_inference", "qwen-7b", "Explain quantum computing")
    assert (await agent.cancel_job(made.job_id)).state in ("cancelled", "cancelling")


async def test_a_broken_connection_makes_no_second_job(hae: Hae) -> None:
    class Breaking(httpx.AsyncHTTPTransport):
        """Delivers the first request, and loses its answer."""

        lost = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await super().handle_async_request(request)
            if not self.lost:
                self.lost += 1
                await answer.aread()
                raise httpx.ReadError("the connection broke", request=request)
            return answer

    transport = Breaking()
    config = {"HYPERNODE_API_URL": hae.url, "HYPERNODE_API_KEY": hae.secrets["bob"]}
    before = await hae.sql.fetchval("SELECT count(*) FROM jobs WHERE account = 'bob'")
    async with ElizaAgent(config, transport=transport) as agent:
        made = await agent.submit_job(JOB)
    assert transport.lost == 1
    assert made.created is False
    assert await hae.sql.fetchval("SELECT count(*) FROM jobs WHERE account = 'bob'") == before + 1


async def test_refusals_carry_the_problem(hae: Hae, agent: ElizaAgent) -> None:
    with pytest.raises(hae_client.BadRequest) as caught:
        await agent.submit_job(JOB, gpuz=2)
    assert (caught.value.field, caught.value.code) == ("gpuz", "invalid_input")
    with pytest.raises(hae_client.NotFound):
        await agent.cancel_job(LOST)
    with pytest.raises(hae_client.InvalidArgument, match="job_id is given twice"):
        await agent.submit_job({"jobId": LOST, "job_id": LOST})
    with pytest.raises(hae_client.InvalidArgument, match="type is given twice"):
        await agent.submit_job(JOB, type="render")
    with pytest.raises(hae_client.InvalidArgument, match="unknown setting HYPERNODE_KEY"):
        ElizaAgent({"HYPERNODE_KEY": "hae_x"})
    config = {"HYPERNODE_API_URL": hae.url, "HYPERNODE_API_KEY": "hae_nobody"}
    async with ElizaAgent(config) as stranger:
        with pytest.raises(hae_client.Unauthorised):
            await stranger.submit_job(JOB)


async def test_it_takes_its_settings_from_the_environment(hae: Hae, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERNODE_API_URL", hae.url)
    monkeypatch.setenv("HYPERNODE_API_KEY", hae.secrets["alice"])
    async with ElizaAgent() as agent:
        assert (await agent.quote()).duration_s == 3600


async def test_events_are_runtime_events_and_none_is_missed(hae: Hae, agent: ElizaAgent) -> None:
    position = (await agent.client.read_events("latest", limit=1)).latest
    made = await agent.submit_job(JOB)
    seen = []
    async for event in agent.events(after=position):
        seen.append(event)
        break
    await agent.cancel_job(made.job_id)
    async for event in agent.events(after=seen[-1]["payload"]["position"]):
        seen.append(event)
        if event["type"] == "HYPERNODE_JOB_CANCELLED":
            break
    assert seen[0]["type"] == "HYPERNODE_JOB_SUBMITTED"
    assert seen[0]["payload"]["jobId"] == made.job_id
    positions = [event["payload"]["position"] for event in seen]
    assert positions == sorted(set(positions))


async def test_events_begin_with_what_comes(hae: Hae, agent: ElizaAgent) -> None:
    events = agent.events()
    first = asyncio.ensure_future(anext(events))
    # The first event tells of the job that was submitted after its position was read.
    made = []
    while not first.done():
        made.append((await agent.submit_job(JOB)).job_id)
        await asyncio.wait([first], timeout=0.2)
    assert (await first)["payload"]["jobId"] in made
    await events.aclose()  # type: ignore[attr-defined]


async def test_the_example_of_the_docs_runs(hae: Hae) -> None:
    text = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()
    (block,) = [one for one in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "ElizaAgent(" in one]
    block = block.replace("http://127.0.0.1:3002", hae.url).replace("hae_…", hae.secrets["alice"])
    node = await Node.register(as_(hae, "miner"), "wallet-of-the-docs", capabilities=["inference"])

    def work() -> str:
        with redirect_stdout(StringIO()) as printed:
            exec(compile(block, "docs/plugins.md", "exec"), {})
        return printed.getvalue()

    done = asyncio.create_task(asyncio.to_thread(work))
    while not done.done():
        # Jobs that other tests have left behind come first.
        for offer in await node.offers(wait=1):
            await node.say(offer["offer_id"], "accept")
            await node.say(offer["offer_id"], "result", result="qubits")
    assert await done == "completed qubits\n"


async def test_it_verifies_what_the_engine_signs() -> None:
    secret = signing.new_secret()
    body = json.dumps({"event": "job_completed", "job_id": LOST}).encode()
    headers = signing.headers([secret], "evt_1", int(time.time()), body)
    async with ElizaAgent({"HYPERNODE_WEBHOOK_SECRET": secret}) as agent:
        assert agent.verify_webhook(headers, body)["job_id"] == LOST
        with pytest.raises(hae_client.InvalidSignature):
            agent.verify_webhook(headers, body + b" ")
    async with ElizaAgent({"HYPERNODE_WEBHOOK_SECRET": ""}) as agent:
        with pytest.raises(hae_client.InvalidArgument, match="HYPERNODE_WEBHOOK_SECRET"):
            agent.verify_webhook(headers, body)
