"""The old engine's routes, in exactly its shapes, under its names and those of the network's documents."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.http.catalogue import JOB
from tests.http.conftest import as_
from tests.support.live_engine import Hae, Node, until_state

pytestmark = pytest.mark.asyncio(loop_scope="module")

STAMP = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def shape(value: Any) -> Any:
    return {name: type(item) for name, item in value.items()}


async def test_health(hae: Hae) -> None:
    body = (await hae.client().get("/health")).json()
    assert shape(body) == {"status": str, "timestamp": str}
    assert body["status"] == "ok"
    assert re.fullmatch(STAMP, body["timestamp"])


@pytest.mark.parametrize("prefix", ["/api", "/internal"])
async def test_match(hae: Hae, prefix: str) -> None:
    node = await Node.register(
        as_(hae, "miner"), f"operator{prefix}", gpu_model=f"RTX {prefix[1:]}", vram_gb=24, capabilities=["inference"]
    )
    requirements = {"gpuModel": f"NVIDIA RTX {prefix[1:]}", "vramMin": 23.5, "capabilities": ["inference"]}
    asked = {"jobId": "job_1", "jobType": "llm_inference", "requirements": requirements, "price": 2.5}
    path = f"{prefix}/matchmaker/match"
    before = await hae.counts()
    body = (await as_(hae, "alice").post(path, json=asked)).json()
    assert shape(body) == {"success": bool, "match": dict}
    match = body["match"]
    assert shape(match) == {
        "nodeId": str, "operator": str, "gpuModel": str, "vram": int, "reputation": int, "score": float,
    }  # fmt: skip
    assert (match["nodeId"], match["operator"], match["vram"]) == (node.id, f"operator{prefix}", 24)
    assert match["gpuModel"] == f"RTX {prefix[1:]}"
    for wrong in ({"vramMin": 25}, {"capabilities": ["render"]}, {"gpuModel": "H100"}):
        refused = await as_(hae, "alice").post(path, json={**asked, "requirements": {**requirements, **wrong}})
        assert (refused.status_code, refused.json()) == (200, {"success": False, "reason": "no_match"})
    # The type asks for what it needs where the caller does not.
    unsaid = {**asked, "jobType": "render", "requirements": {"gpuModel": requirements["gpuModel"]}}
    assert (await as_(hae, "alice").post(path, json=unsaid)).json()["success"] is False
    for loose in ({"requirements": None}, {"requirements": {"gpuModel": None, "vramMin": None, "other": 1}}, {"x": 1}):
        assert (await as_(hae, "alice").post(path, json={**asked, **loose})).json()["success"] is True
    assert await hae.counts() == before


@pytest.mark.parametrize("prefix", ["/api", "/internal"])
async def test_metrics(hae: Hae, prefix: str) -> None:
    node = await Node.register(as_(hae, "miner"), "counted", gpu_model="Counted", price_per_gpu_hour_hyper="36")
    job = (await as_(hae, "alice").post("/v1/jobs", json={"type": "generic_compute", "gpu_models": ["counted"]})).json()
    await node.run_next()
    await until_state(as_(hae, "alice"), job["job_id"], ["completed"])
    hae.engine.figures.max_age_s = 0
    body = (await hae.client().get(f"{prefix}/metrics/current")).json()
    assert {name: type(value) for name, value in body.items() if name != "totalHyperPaid"} == {
        "totalNodes": int, "activeNodes": int, "totalJobs": int, "jobsCompleted": int, "jobsFailed": int,
        "avgJobDuration": int,
    }  # fmt: skip
    assert isinstance(body["totalHyperPaid"], (int, float))
    assert body["totalNodes"] >= body["activeNodes"] >= 1
    assert body["totalJobs"] >= body["jobsCompleted"] >= 1
    assert body["totalHyperPaid"] > 0


async def test_validation(hae: Hae) -> None:
    node = await Node.register(as_(hae, "miner"), "shown", gpu_model="Shown Model")
    wanted = {"type": "generic_compute", "gpu_models": ["shown model"]}
    done = (await as_(hae, "alice").post("/v1/jobs", json=wanted)).json()["job_id"]
    await node.run_next()
    await until_state(as_(hae, "alice"), done, ["completed"])
    waiting = (await as_(hae, "alice").post("/v1/jobs", json={**JOB, "gpu_models": ["none"]})).json()["job_id"]
    body = (await hae.client().get("/api/validation")).json()
    assert shape(body) == {"recentJobs": list, "recentNodes": list, "lastUpdated": str}
    jobs = {job["job_id"]: job for job in body["recentJobs"]}
    assert shape(jobs[done]) == {
        "job_id": str, "job_type": str, "status": str, "price": float, "created_at": str, "completed_at": str,
        "tx_signature": type(None),
    }  # fmt: skip
    assert jobs[done]["status"] == "completed"
    assert re.fullmatch(STAMP, jobs[done]["completed_at"])
    assert (jobs[waiting]["completed_at"], jobs[waiting]["price"]) == (None, None)
    nodes = {one["node_id"]: one for one in body["recentNodes"]}
    assert shape(nodes[node.id]) == {
        "node_id": str, "gpu_model": str, "status": str, "reputation_score": int, "jobs_completed": int,
        "registered_at": str,
    }  # fmt: skip
    assert (nodes[node.id]["gpu_model"], nodes[node.id]["jobs_completed"]) == ("Shown Model", 1)
    assert len(body["recentJobs"]) <= 50
    assert len(body["recentNodes"]) <= 20


@pytest.mark.parametrize("prefix", ["/api", "/internal"])
async def test_trigger(hae: Hae, prefix: str) -> None:
    body = {"event": "maintenance", "data": {"at": "noon", "list": [1, {"a": None}], "event": "not this"}}
    answer = await as_(hae, "ops").post(f"{prefix}/webhooks/trigger", json=body)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    row = await hae.sql.fetchrow("SELECT kind, data FROM events ORDER BY seq DESC LIMIT 1")
    assert row is not None
    assert row["kind"] == "operator_message"
    assert '"maintenance"' in row["data"]
