"""A plan of 200 jobs over three stages on real processes, the worker of which is killed on the way."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any

import asyncpg
import httpx
import pytest

from tests.e2e.test_processes import asking, children, key_for_all
from tests.support.processes import NO_CHAIN, hae, until_ready

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
ITEMS = 99
PLAN: dict[str, Any] = {
    "name": "three stages",
    "budget_hyper": "0.05",
    "max_price_per_gpu_hour_hyper": "3.6",
    "start_price_per_gpu_hour_hyper": "1.2",
    "raise_step_hyper": "0.6",
    "raise_after_s": 1,
    "parallelism": 24,
    "max_tries": 5,
    "tasks": [
        {"task_id": "map", "for_each": list(range(ITEMS)), "job": {"prompt": "read {{item}}"}},
        {"task_id": "refine", "for_each_of": "map", "job": {"prompt": "refine {{index}}", "input": {"of": "{{item}}"}}},
        {
            "task_id": "join",
            "for_each": ["short", "long"],
            "job": {"prompt": "join, {{item}}", "input": {"all": "{{tasks.refine.results}}"}},
        },
    ],
}
"""Each job may cost 0.003 HYPER at its dearest (3 s at 3.6 an hour), so that 16 at once hold the whole budget back."""


async def test_a_plan_survives_its_worker_and_ends_within_budget(database_url: str, redis_url: str) -> None:
    key = await key_for_all(database_url)
    env = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, **NO_CHAIN}
    async with AsyncExitStack() as stack:
        sql = await asyncpg.connect(database_url)
        stack.push_async_callback(sql.close)
        engine = await stack.enter_async_context(hae("up", "--port", "0", env=env))
        client = await stack.enter_async_context(asking(await engine.url(), key))
        await until_ready(client)
        for wallet, price in (("cheap", "1.0"), ("dear", "2.0")):
            await stack.enter_async_context(hae("node", *_node(client, key, wallet, price), env={}))
        await _until_online(client, 2)

        for task in PLAN["tasks"]:
            task["job"] |= {"type": "llm_inference", "timeout_s": 3, "max_retries": 3}
        dry = (await client.post("/v1/plans", json={**PLAN, "dry_run": True})).json()
        assert (dry["units_total"], dry["plan_id"], dry["worst_case_hyper"]) == (200, "", "0.6")
        made = await client.post("/v1/plans", json=PLAN, headers={"idempotency-key": "stages"})
        assert made.status_code == 201, made.text
        again = await client.post("/v1/plans", json=PLAN, headers={"idempotency-key": "stages"})
        plan_id = made.json()["plan_id"]
        assert (again.status_code, again.json()["plan_id"]) == (200, plan_id)

        killed = 0
        async with asyncio.timeout(150):
            while not (plan := await _read(client, plan_id, wait_s=0.3))["final"]:
                assert await _within_budget(sql, plan_id)
                if plan["progress"] > 0.2 * (killed + 1) and killed < 3:
                    children(engine, "worker")[0].send_signal(signal.SIGKILL)
                    killed += 1
        assert killed == 3
        plan = await _read(client, plan_id, units=True)
        assert (plan["state"], plan["units_over"], plan["progress"]) == ("completed", 200, 1.0), json.dumps(plan)[:2000]
        assert {unit["state"] for unit in plan["units"]} == {"done"}
        await _check_sums(sql, plan)
        picture = await client.get(f"/v1/plans/{plan_id}/graph.svg")
        assert (picture.status_code, picture.headers["content-type"].split(";")[0]) == (200, "image/svg+xml")


def _node(client: httpx.AsyncClient, key: str, wallet: str, price: str) -> list[str]:
    return [
        "--wallet", wallet, "--gpu-model", "A100", "--gpus", "12", "--price", price, "--executor", "echo",
        "--api-key", key, "--url", str(client.base_url).rstrip("/"),
    ]  # fmt: skip


async def _until_online(client: httpx.AsyncClient, count: int) -> None:
    async with asyncio.timeout(60):
        while True:
            answer = await client.post("/v1/tools/network_metrics", json={})
            if answer.json()["nodes_active"] >= count:
                return
            await asyncio.sleep(0.1)


async def _read(client: httpx.AsyncClient, plan_id: str, **query: Any) -> dict[str, Any]:
    answer = await client.get(f"/v1/plans/{plan_id}", params=query)
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _within_budget(sql: asyncpg.Connection[Any], plan_id: str) -> bool:
    """By the jobs themselves, at one moment."""
    held: int = await sql.fetchval(
        "SELECT coalesce(sum(coalesce(cost, CASE WHEN finished_at IS NULL THEN max_cost END)), 0)::int8 FROM jobs "
        "WHERE plan_id = $1",
        plan_id,
    )
    return held <= 50_000_000


async def _check_sums(sql: asyncpg.Connection[Any], plan: dict[str, Any]) -> None:
    row = await sql.fetchrow(
        """SELECT sum(cost)::int8 AS cost, count(*) FILTER (WHERE state = 'completed') AS completed,
            count(*) FILTER (WHERE finished_at IS NULL) AS live FROM jobs WHERE plan_id = $1""",
        plan["plan_id"],
    )
    assert row is not None
    assert row["live"] == 0
    assert row["completed"] == 200
    assert Decimal(plan["cost_hyper"]) == Decimal(row["cost"]) / 10**9 <= Decimal(plan["budget_hyper"])
    assert plan["reserved_hyper"] == "0"
    inputs = await sql.fetch("SELECT payload->'input'->'all' AS all FROM jobs WHERE payload->>'prompt' LIKE 'join%'")
    assert len(inputs) == 2
    for (everything,) in inputs:
        assert len(json.loads(everything) if isinstance(everything, str) else everything) == ITEMS
