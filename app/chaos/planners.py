"""Clients that submit plans with little money, send again what they do not know the outcome of, and cancel some."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from app.chaos.calls import Recorder
from app.chaos.clients import PATIENCE_S
from app.chaos.history import History

JOBS_PER_PLAN = 100
"""One plan for so many jobs of the run."""
_TIMEOUT_S = 30
_CEILING = 36
"""HYPER per GPU-hour at most, so that a job may cost 0.3 HYPER."""


class Planners:
    """All of them, each with a key of its own. ``refusals``: of good plans, of which there should be none."""

    def __init__(self, seed: int, recorders: Sequence[Recorder]) -> None:
        self.refusals: list[str] = []
        self._seed = seed
        self._recorders = recorders

    async def play(self, jobs: int, span_s: float) -> None:
        """Submit the plans of a run; returns when each is acknowledged, refused or given up."""
        chance = random.Random(f"{self._seed} planners")
        count = max(1, jobs // JOBS_PER_PLAN)
        dues = sorted(chance.uniform(0.0, span_s) for _ in range(count))
        async with asyncio.TaskGroup() as group:
            for number, due_s in enumerate(dues):
                group.create_task(self._carry_out(number, due_s, random.Random(f"{self._seed} plan {number}")))

    async def _carry_out(self, number: int, due_s: float, chance: random.Random) -> None:
        await asyncio.sleep(due_s)
        recorder = self._recorders[number % len(self._recorders)]
        body, key = _body(chance), f"chaos-plan-{self._seed}-{number}"
        plan_id = await self._submit(recorder, body, key)
        if plan_id and chance.random() < 0.3:
            await self._submit(recorder, body, key)
        if plan_id and chance.random() < 0.25:
            await asyncio.sleep(chance.choice((0.0, 1.0, 3.0)))
            await recorder.until_known(
                recorder.op(kind="cancel_plan", key=key, job_id=plan_id), "DELETE", f"/v1/plans/{plan_id}"
            )

    async def _submit(self, recorder: Recorder, body: dict[str, Any], key: str) -> str:
        give_up = History.now() + PATIENCE_S
        while True:
            op = recorder.op(kind="submit_plan", key=key)
            reply = await recorder.caller.call("POST", "/v1/plans", body, key=key)
            if reply.outcome == "ok":
                op.job_id = reply.body["plan_id"]
            recorder.add(op, reply)
            if reply.outcome == "fail":
                self.refusals.append(f"{reply.status} {reply.body}"[:300])
            if reply.outcome != "unknown" or History.now() > give_up:
                return op.job_id
            await asyncio.sleep(0.3)


def _body(chance: random.Random) -> dict[str, Any]:
    """Two stages and an end, and money for a few jobs at once."""

    def job(prompt: str) -> dict[str, Any]:
        return {
            "type": "llm_inference",
            "model": "chaos",
            "prompt": prompt,
            "input": {"run_s": round(chance.uniform(0.1, 0.6), 3)},
            "timeout_s": _TIMEOUT_S,
        }

    return {
        "budget_hyper": chance.choice(("1.1", "2", "10")),
        "max_price_per_gpu_hour_hyper": str(_CEILING),
        "start_price_per_gpu_hour_hyper": chance.choice(("0.000001", str(_CEILING))),
        "raise_step_hyper": str(_CEILING),
        "raise_after_s": 2,
        "parallelism": chance.randint(1, 10),
        "redundancy": chance.choice((1, 1, 1, 3)),
        "on_failure": chance.choice(("retry", "replace", "skip")),
        "tasks": [
            {"task_id": "first", "for_each": list(range(chance.randint(1, 8))), "job": job("first {{item}}")},
            {"task_id": "second", "for_each_of": "first", "job": job("second {{index}} of {{item}}")},
            {"task_id": "last", "job": job("all of {{tasks.second.results}}")},
        ],
    }
