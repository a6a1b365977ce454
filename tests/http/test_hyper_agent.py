"""A Hyper Agent at work against a real engine: negotiate, hire, execute, scale, status, cancel."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from app.core.access import Scope
from tests.http.conftest import as_
from tests.support.live_engine import Hae, Node

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLAN = "plan_01jd3k5m7p9r1t3v5x7z9b1d3f"


async def say(http: httpx.AsyncClient, intent: str, body: Any, status: int = 200) -> dict[str, Any]:
    answer = await http.post(f"/v1/agents/hyper_agent/{intent}", json=body)
    told: dict[str, Any] = answer.json()
    assert answer.status_code == status, told
    assert told.keys() == {"ok", "intent", "message", "result", "problem"}
    assert told["ok"] is (status == 200)
    assert told["message"]
    return told


def job(model: str, **more: Any) -> dict[str, Any]:
    return {"type": "llm_inference", "model": "qwen-7b", "prompt": "Explain {{item}}", "gpu_models": [model], **more}


async def test_it_negotiates_hires_and_scales(hae: Hae) -> None:
    alice = as_(hae, "alice")
    node = await Node.register(
        as_(hae, "miner"), "wallet-hyper", gpu_model="HYPER 1", price_per_gpu_hour_hyper="0.2", capacity=4
    )
    found = (await say(alice, "negotiate", {"job": job("HYPER 1"), "duration_s": 60}))["result"]
    assert found["available_now"] and found["matched"]
    assert found["terms"] == {
        "start_price_per_gpu_hour_hyper": "0.2",
        "raise_step_hyper": "",
        "max_price_per_gpu_hour_hyper": "0.2",
    }
    single = job("HYPER 1", prompt="Explain quantum computing", max_price_per_gpu_hour_hyper="0.2")
    hired = (await say(alice, "hire", {"job": single}))["result"]
    await node.run_next(result="qubits")
    done = await say(alice, "status", {"job_id": hired["job_id"], "wait_s": 20})
    assert done["result"]["state"] == "completed" and done["result"]["result"] == "qubits"

    scaled = await say(
        alice,
        "scale",
        {
            "job": job("HYPER 1", timeout_s=60),
            "inputs": ["a", "b", "c"],
            "budget_hyper": "1",
            "terms": found["terms"],
        },
    )
    plan_id = scaled["result"]["plan_id"]
    assert scaled["result"]["units_total"] == 3
    for _ in range(3):
        await node.run_next(result="done")
    status = (await say(alice, "status", {"plan_id": plan_id, "wait_s": 30}))["result"]
    assert status["state"] == "completed"
    assert float(status["cost_hyper"]) <= 1
    mapped = await hae.sql.fetch("SELECT payload FROM jobs WHERE plan_id = $1", plan_id)
    assert len(mapped) == 3
    over = await say(as_(hae, "bob"), "status", {"plan_id": plan_id}, 404)
    assert over["problem"]["code"].endswith("not_found")


async def test_it_executes_plans_and_cancels_them(hae: Hae) -> None:
    alice = as_(hae, "alice")
    plan = {
        "budget_hyper": "10",
        "terms": {"max_price_per_gpu_hour_hyper": "1"},
        "tasks": [
            {"task_id": "draft", "job": job("NONE 1"), "for_each": ["a", "b"]},
            {"task_id": "sum_up", "job": job("NONE 1", prompt="Sum up: {{tasks.draft.results}}")},
        ],
    }
    tried = await say(alice, "execute", {**plan, "dry_run": True})
    assert tried["result"]["dry_run"] is True
    made = await say(alice, "execute", plan)
    assert made["result"]["units_total"] == 3
    ended = await say(alice, "cancel", {"plan_id": made["result"]["plan_id"]})
    assert ended["result"]["state"] in ("cancelling", "cancelled")


async def test_the_same_plan_again_is_one_plan(hae: Hae) -> None:
    alice = as_(hae, "alice")
    body = {"job": job("NONE 1"), "copies": 3, "budget_hyper": "9", "terms": {"max_price_per_gpu_hour_hyper": "1"}}
    headers = {"idempotency-key": "hyper-once"}
    made = [
        (await alice.post("/v1/agents/hyper_agent/scale", json=body, headers=headers)).json()["result"]["plan_id"]
        for _ in range(2)
    ]
    assert made[0] == made[1]


WRONG: list[tuple[str, Any, str]] = [
    ("negotiate", {"job": {"gpuz": 1}}, "gpuz"),
    ("negotiate", {"work": {}}, "work"),
    ("hire", {"job": []}, "job"),
    ("hire", {"job": {"type": "dance"}}, "type"),
    ("execute", {"tasks": [], "budget_hyper": "1", "max_price_per_gpu_hour_hyper": "1"}, "tasks"),
    ("execute", {"terms": {"price": "1"}}, "terms.price"),
    ("execute", {"terms": {"raise_after_s": 1}, "raise_after_s": 2}, "raise_after_s"),
    ("execute", {"terms": "cheap"}, "terms"),
    ("scale", {"job": {}, "budget_hyper": "1"}, "inputs"),
    ("scale", {"job": {}, "inputs": [1], "copies": 1}, "inputs"),
    ("scale", {"job": {}, "inputs": []}, "inputs"),
    ("scale", {"job": {}, "copies": True}, "copies"),
    ("scale", {"job": {}, "copies": 10_001}, "copies"),
    ("scale", {"job": {}, "copies": 1, "tasks": []}, "tasks"),
    ("status", {}, "plan_id"),
    ("status", {"plan_id": PLAN, "job_id": "job_1"}, "plan_id"),
    ("cancel", {}, "plan_id"),
    ("cancel", {"plan_id": PLAN, "now": True}, "now"),
]


@pytest.mark.parametrize(
    ("intent", "body", "field"), WRONG, ids=[f"{one[0]}-{one[2]}-{n}" for n, one in enumerate(WRONG)]
)
async def test_what_is_wrong_is_named_with_a_valid_example(hae: Hae, intent: str, body: Any, field: str) -> None:
    told = await say(hae.client(await hae.key("refused", Scope.AGENT)), intent, body, 422)
    assert told["problem"]["field"] == field
    assert "valid" in told["problem"]["next_action"]
    for table in ("jobs", "plans"):
        assert await hae.sql.fetchval(f"SELECT count(*) FROM {table} WHERE account = 'refused'") == 0


async def test_unknown_intents_and_ids(hae: Hae) -> None:
    told = await say(as_(hae, "alice"), "dance", {}, 404)
    assert "negotiate" in told["problem"]["next_action"]
    await say(as_(hae, "alice"), "cancel", {"plan_id": PLAN}, 404)
    await say(as_(hae, "alice"), "negotiate", [1], 422)
    nobody = (await say(as_(hae, "alice"), "negotiate", {"job": job("NONE 1")}))["result"]
    assert (nobody["matched"], nobody["terms"]) == (False, {})


async def test_events_of_plans_are_shown(hae: Hae) -> None:
    alice = hae.client(await hae.key("hearing", Scope.AGENT))
    latest = (await alice.get("/v1/events", params={"after": "latest"})).json()["latest"]
    body = {"job": job("NONE 1"), "copies": 1, "budget_hyper": "9", "terms": {"max_price_per_gpu_hour_hyper": "1"}}
    plan_id = (await say(alice, "scale", body))["result"]["plan_id"]
    await say(alice, "cancel", {"plan_id": plan_id})
    seen = []
    async with asyncio.timeout(30):
        async with alice.stream("GET", "/v1/agents/hyper_agent/events", params={"after": str(latest)}) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("event: "):
                    seen.append(line.removeprefix("event: "))
                if "plan_cancelled" in seen:
                    break
    assert seen[0] == "plan_submitted"
