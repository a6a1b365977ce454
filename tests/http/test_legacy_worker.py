"""The operators' worker runs unchanged against this engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.http.catalogue import JOB
from tests.http.conftest import as_, make_keys
from tests.support.legacy_worker import MACHINE, LegacyWorker
from tests.support.live_engine import Hae, Node, problem_of, running_engine, settings_for, until_state
from tests.support.servers import Servers

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def submitted(hae: Hae, gpu: str, **job: Any) -> str:
    answer = await as_(hae, "alice").post("/v1/jobs", json={**JOB, "gpu_models": [gpu], **job})
    job_id: str = answer.json()["job_id"]
    return job_id


async def registered(hae: Hae, wallet: str, **machine: Any) -> str:
    body = {"walletAddress": wallet, **MACHINE, **machine}
    answer = await as_(hae, "miner").post("/api/nodes/register", json=body)
    assert answer.status_code == 201, answer.text
    node_id: str = answer.json()["node"]["nodeId"]
    return node_id


async def available(hae: Hae, wallet: str) -> Any:
    answer = await as_(hae, "miner").get("/api/jobs/available", params={"wallet": wallet})
    assert answer.status_code == 200
    return answer.json()["job"]


async def handed_out(hae: Hae, wallet: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while (job := await available(hae, wallet)) is None:  # noqa: ASYNC110 (this worker has to poll)
            await asyncio.sleep(0.02)
    found: dict[str, Any] = job
    return found


async def test_a_worker_runs_jobs_to_their_end(hae: Hae) -> None:
    seen: list[dict[str, Any]] = []

    def work(job: dict[str, Any]) -> dict[str, Any]:
        seen.append(job)
        return {"text": job["prompt"].upper()}

    async with LegacyWorker(hae.url, hae.secrets["miner"], "legacy-1", work, machine={"gpuModel": "GTX 1"}) as worker:
        job_ids = [await submitted(hae, "gtx 1", input={"n": number}) for number in range(4)]
        jobs = [await until_state(as_(hae, "alice"), job_id, ["completed"]) for job_id in job_ids]
    assert {job["node_id"] for job in jobs} == {worker.node_id}
    assert {job["result"]["text"] for job in jobs} == {JOB["prompt"].upper()}
    assert jobs[0]["logs"] == ["ran"]
    assert sorted(job["jobId"] for job in seen) == job_ids
    first = next(job for job in seen if job["jobId"] == job_ids[0])
    assert (first["jobType"], first["model"], first["attempt"]) == ("llm_inference", "qwen-7b", 1)
    assert first["payload"] == {"model": "qwen-7b", "prompt": JOB["prompt"], "input": {"n": 0}}
    assert {status for _, status in worker.answers} <= {200, 201}


async def test_what_a_machine_tells_becomes_a_node(hae: Hae) -> None:
    node_id = await registered(hae, "legacy-told")
    row = await hae.sql.fetchrow("SELECT * FROM nodes WHERE id = $1", node_id)
    assert row is not None
    assert (row["gpu_model"], row["vram_gb"], row["region"]) == ("rtx 4090", 24, "EU")
    assert (row["gpus"], row["capacity"], row["capabilities"]) == (1, 1, 63)
    assert await registered(hae, "legacy-told") == node_id


@pytest.mark.parametrize(
    "odd",
    [
        {"location": None},
        {"location": "Germany"},
        {"location": {}},
        {"location": {"country": None, "lat": "52"}},
        {"vram": None},
        {"vram": "24"},
        {"vram": 23.99},
        {"vram": 1e12},
        {"vram": -3},
        {"vram": "lots"},
        {"gpuModel": None},
        {"gpuModel": "x" * 500},
        {"gpuModel": "a|b"},
        {"gpuModel": ""},
        {"capabilities": None},
        {"capabilities": ["flying", 3, "Render"]},
        {"capabilities": "inference"},
        {"driverVersion": None, "cudaVersion": 12.4, "hostOS": None, "cpuModel": ["a"], "ramTotal": "64 GB"},
        {"extra": {"deep": [1]}, "another": None},
        {"cpuModel": "x" * 50_000},
    ],
    ids=lambda odd: str(odd)[:40],
)
async def test_whatever_a_machine_tells_is_taken(hae: Hae, odd: dict[str, Any]) -> None:
    await registered(hae, "legacy-odd", **odd)
    assert await available(hae, "legacy-odd") is None


async def test_a_lost_answer_is_given_again(hae: Hae) -> None:
    await registered(hae, "legacy-lost", gpuModel="GTX 2")
    job_ids = {await submitted(hae, "gtx 2"), await submitted(hae, "gtx 2")}
    first = await handed_out(hae, "legacy-lost")
    first_id = first["jobId"]
    (second_id,) = job_ids - {first_id}
    for _ in range(3):
        assert await available(hae, "legacy-lost") == first
    assert (await until_state(as_(hae, "alice"), first_id, ["running"]))["attempt"] == 1
    assert (await as_(hae, "alice").get(f"/v1/jobs/{second_id}")).json()["state"] == "pending"
    await as_(hae, "miner").post(f"/api/jobs/{first_id}/result", json={"result": 1})
    assert (await handed_out(hae, "legacy-lost"))["jobId"] == second_id
    await as_(hae, "miner").post(f"/api/jobs/{second_id}/result", json={"result": 1})


@pytest.mark.parametrize("query", ["", "?wallet=", "?wallet=unknown", "?wallet=" + "x" * 500, "?wallet=a&wallet=b",
                                   "?other=1", "?wallet=%20"])  # fmt: skip
async def test_a_poll_that_is_wrong_gets_null(hae: Hae, query: str) -> None:
    answer = await as_(hae, "miner").get(f"/api/jobs/available{query}")
    assert (answer.status_code, answer.json()) == (200, {"job": None})


async def test_a_foreign_wallet_gets_null(hae: Hae) -> None:
    await registered(hae, "legacy-mine", gpuModel="GTX 3")
    job_id = await submitted(hae, "gtx 3")
    await until_state(as_(hae, "alice"), job_id, ["offered"])
    answer = await as_(hae, "digger").get("/api/jobs/available", params={"wallet": "legacy-mine"})
    assert (answer.status_code, answer.json()) == (200, {"job": None})
    assert (await handed_out(hae, "legacy-mine"))["jobId"] == job_id
    report = {"nodeId": "current_node_id", "result": 1}
    problem_of(await as_(hae, "digger").post(f"/api/jobs/{job_id}/result", json=report), 404, code="job_not_found")
    problem_of(await as_(hae, "digger").post(f"/api/jobs/{job_id}/failure", json={"error": "x"}), 404)
    assert (await as_(hae, "miner").post(f"/api/jobs/{job_id}/result", json=report)).json() == {"success": True}


async def test_five_identical_results_are_all_taken(hae: Hae) -> None:
    await registered(hae, "legacy-five", gpuModel="GTX 4")
    job_id = await submitted(hae, "gtx 4")
    await handed_out(hae, "legacy-five")
    body = {"nodeId": "current_node_id", "result": {"a": 1}, "logs": ["x"], "metrics": {"b": 2}, "extra": None}
    for attempt in range(5):
        answer = await as_(hae, "miner").post(f"/api/jobs/{job_id}/result", json=body)
        assert (answer.status_code, answer.json()) == (200, {"success": True})
        if attempt == 2:
            await until_state(as_(hae, "alice"), job_id, ["completed"])
    other = await as_(hae, "miner").post(f"/api/jobs/{job_id}/result", json={**body, "result": 2})
    problem_of(other, 409, code="already_reported")
    results = await hae.sql.fetchval("SELECT count(*) FROM results WHERE job_id = $1", job_id)
    assert results == 1


@pytest.mark.parametrize(
    "report",
    [{}, {"result": None, "logs": None, "metrics": None}, {"result": "text", "logs": "one line", "metrics": 3}],
)
async def test_results_of_any_form(hae: Hae, report: dict[str, Any]) -> None:
    await registered(hae, "legacy-form", gpuModel="GTX 5")
    job_id = await submitted(hae, "gtx 5")
    await handed_out(hae, "legacy-form")
    assert (await as_(hae, "miner").post(f"/api/jobs/{job_id}/result", json=report)).status_code == 200
    job = await until_state(as_(hae, "alice"), job_id, ["completed"])
    assert job["result"] == report.get("result")


@pytest.mark.parametrize("error", ["out of memory", "", None, {"code": 3}, "x" * 50_000])
async def test_failures_of_any_form(hae: Hae, error: Any) -> None:
    await registered(hae, "legacy-fail", gpuModel="GTX 6")
    job_id = await submitted(hae, "gtx 6", max_retries=0)
    await handed_out(hae, "legacy-fail")
    assert (await as_(hae, "miner").post(f"/api/jobs/{job_id}/failure", json={"error": error})).status_code == 200
    job = await until_state(as_(hae, "alice"), job_id, ["failed"])
    assert 0 < len(job["error"]) <= 10_000


async def test_a_failed_job_is_run_elsewhere(hae: Hae) -> None:
    failing = threading.Event()

    def work(job: dict[str, Any]) -> Any:
        assert failing.wait(30)
        raise RuntimeError("CUDA error")

    async with LegacyWorker(hae.url, hae.secrets["miner"], "legacy-bad", work, machine={"gpuModel": "GTX 7"}):
        job_id = await submitted(hae, "gtx 7")
        await until_state(as_(hae, "alice"), job_id, ["running"])
        other = await Node.register(as_(hae, "digger"), "elsewhere", gpu_model="gtx 7", capabilities=["inference"])
        failing.set()
        await other.run_next("fine")
        job = await until_state(as_(hae, "alice"), job_id, ["completed"])
    assert (job["node_id"], job["attempt"], job["result"]) == (other.id, 2, "fine")


async def test_a_restarted_worker_gives_its_job_to_another(hae: Hae) -> None:
    await registered(hae, "legacy-again", gpuModel="GTX 8")
    job_id = await submitted(hae, "gtx 8")
    await handed_out(hae, "legacy-again")
    other = await Node.register(as_(hae, "digger"), "again-2", gpu_model="gtx 8", capabilities=["inference"])
    await registered(hae, "legacy-again", gpuModel="GTX 8")
    await other.run_next()
    assert (await until_state(as_(hae, "alice"), job_id, ["completed"]))["node_id"] == other.id
    assert await available(hae, "legacy-again") is None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strict(module_database_url: str, servers: Servers) -> AsyncIterator[Hae]:
    """An engine that takes a node for offline after 0.8 s of silence."""
    settings = settings_for(
        module_database_url,
        servers.redis_url,
        nodes={"offline_after_s": 0.8, "heartbeat_flush_s": 0.1},
        worker={"sweep_s": 0.1},
    )
    async with running_engine(settings) as running:
        await make_keys(running)
        yield running


async def test_heartbeats_alone_keep_the_job_while_the_loop_blocks(strict: Hae) -> None:
    done = threading.Event()

    def work(job: dict[str, Any]) -> str:
        assert done.wait(30)
        return "kept"

    machine = {"gpuModel": "GTX 9"}
    async with LegacyWorker(strict.url, strict.secrets["miner"], "legacy-slow", work, machine=machine) as worker:
        job_id = await submitted(strict, "gtx 9")
        await until_state(as_(strict, "alice"), job_id, ["running"])
        # Three times the silence that would take the job away: long enough for a sweep to do so.
        await asyncio.sleep(2.4)
        assert (await as_(strict, "alice").get(f"/v1/jobs/{job_id}")).json()["state"] == "running"
        done.set()
        job = await until_state(as_(strict, "alice"), job_id, ["completed"])
    assert (job["result"], job["attempt"], job["node_id"]) == ("kept", 1, worker.node_id)


async def test_without_heartbeats_the_job_goes_elsewhere(strict: Hae) -> None:
    await registered(strict, "legacy-dead", gpuModel="GTX 10")
    job_id = await submitted(strict, "gtx 10")
    await handed_out(strict, "legacy-dead")
    job = await until_state(as_(strict, "alice"), job_id, ["pending"])
    assert job["reason"] == "node_offline"
    answer = await as_(strict, "miner").post(f"/api/jobs/{job_id}/result", json={"result": 1})
    problem_of(answer, 404, 409)
