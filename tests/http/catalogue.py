"""Every route that needs a key, who may call it, and a body it takes: what tests of refusals go through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.http.conftest import as_
from tests.support.live_engine import Hae, problem_of

JOB = {"type": "llm_inference", "model": "qwen-7b", "prompt": "Explain quantum computing"}
NODE = {"wallet": "wallet-1", "gpu_model": "A100"}
NOBODY = "node_01jd3k5m7p9r1t3v5x7z9b1d3f"
LOST = "job_01jd3k5m7p9r1t3v5x7z9b1d3f"
HASH = "0" * 64
SCHEDULE = "sched_01jd3k5m7p9r1t3v5x7z9b1d3f"
PLAN = "plan_01jd3k5m7p9r1t3v5x7z9b1d3f"
PLANNED = {
    "tasks": [{"task_id": "one", "job": JOB}],
    "budget_hyper": "10",
    "max_price_per_gpu_hour_hyper": "1",
}
HOOK = "hook_01jd3k5m7p9r1t3v5x7z9b1d3f"
RECURRING = {"job": JOB, "cron": "0 9 * * mon-fri"}
THREAD = "/threads/019ac000-0000-7000-8000-000000000000"
RUN = f"{THREAD}/runs/019ac000-0000-7000-8000-000000000001"
OFFER = f"/v1/node/{NOBODY}/offers/offer_01jd3k5m7p9r1t3v5x7z9b1d3f"
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Route:
    """``who``: a key that may call it. ``body``: a valid one, of ids that nobody has; None where it takes none.

    ``most``: bytes that a body may have.
    """

    method: str
    path: str
    who: str
    body: dict[str, Any] | None = None
    most: int = 1 << 20

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


STRICT = [
    Route("POST", "/v1/jobs", "alice", JOB),
    Route("POST", "/v1/jobs:batch", "alice", {"jobs": [JOB]}, 16 << 20),
    Route("POST", "/v1/jobs:cancel", "alice", {"job_ids": [LOST]}),
    Route("POST", f"/v1/jobs/{LOST}/rerun", "alice", {"priority": 1}),
    Route("POST", "/v1/schedules", "alice", RECURRING),
    Route("PATCH", f"/v1/schedules/{SCHEDULE}", "alice", {"paused": True}),
    Route("POST", "/v1/plans", "alice", PLANNED, 16 << 20),
    Route("POST", "/v1/hooks", "alice", {"url": "https://9.9.9.9/hook", "kinds": ["job_completed"]}),
    Route("PUT", "/v1/specs", "alice", JOB),
    Route("POST", "/v1/availability", "alice", {"type": "render"}),
    Route("POST", "/v1/quotes", "alice", {"type": "render"}),
    Route("POST", "/v1/match", "alice", {"type": "render"}),
    Route("POST", "/v1/tools/submit_job", "alice", JOB),
    Route("POST", "/v1/tools/submit_jobs", "alice", {"jobs": [JOB]}),
    Route("POST", "/v1/tools/cancel_jobs", "alice", {"job_ids": [LOST]}),
    Route("POST", "/v1/tools/rerun_job", "alice", {"job_id": LOST}),
    Route("POST", "/v1/tools/create_schedule", "alice", RECURRING),
    Route("POST", "/v1/tools/list_schedules", "alice", {}),
    Route("POST", "/v1/tools/change_schedule", "alice", {"schedule_id": SCHEDULE}),
    Route("POST", "/v1/tools/delete_schedule", "alice", {"schedule_id": SCHEDULE}),
    Route("POST", "/v1/tools/submit_plan", "alice", PLANNED),
    Route("POST", "/v1/tools/get_plan", "alice", {"plan_id": PLAN}),
    Route("POST", "/v1/tools/list_plans", "alice", {}),
    Route("POST", "/v1/tools/cancel_plan", "alice", {"plan_id": PLAN}),
    Route("POST", "/v1/tools/match", "alice", {"type": "render"}),
    Route("POST", "/v1/tools/get_job", "alice", {"job_id": LOST}),
    Route("POST", "/v1/tools/watch_job", "alice", {"job_id": LOST}),
    Route("POST", "/v1/tools/wait_job", "alice", {"job_id": LOST}),
    Route("POST", "/v1/tools/list_jobs", "alice", {}),
    Route("POST", "/v1/tools/job_history", "alice", {"job_id": LOST}),
    Route("POST", "/v1/tools/get_budget", "alice", {}),
    Route("POST", "/v1/tools/cancel_job", "alice", {"job_id": LOST}),
    Route("POST", "/v1/tools/network_metrics", "alice", {}),
    Route("POST", "/v1/node/register", "miner", NODE),
    Route("POST", f"/v1/node/{NOBODY}/heartbeat", "miner", {}),
    Route("POST", f"{OFFER}/decline", "miner", {}),
    Route("POST", f"{OFFER}/progress", "miner", {}),
    Route("POST", f"{OFFER}/result", "miner", {"result": 1}),
    Route("POST", f"{OFFER}/failure", "miner", {"error": "no"}),
    Route("PUT", "/v1/events/consumers/mine", "alice", {"position": 0}),
    Route("POST", "/threads", "alice", {"metadata": {}}),
    Route("POST", "/threads/search", "alice", {"limit": 1}),
    Route("PATCH", THREAD, "alice", {"metadata": {}}),
    Route("POST", f"{THREAD}/history", "alice", {"limit": 1}),
    Route("POST", f"{THREAD}/runs", "alice", {"assistant_id": "agent", "input": {"tool": "quote"}}),
    Route("POST", "/runs/cancel", "alice", {"status": "all"}),
    Route("POST", "/internal/jobs/dead/requeue", "ops", {"job_ids": [LOST]}),
    Route("POST", "/internal/deliveries/requeue", "ops", {"endpoint": "nowhere"}),
    Route("PUT", "/internal/nodes/standing", "ops", {"nodes": [{"node_id": NOBODY, "reputation": 1}]}),
]
LEGACY = [
    Route("POST", "/api/nodes/register", "miner", {"walletAddress": "w"}),
    Route("POST", "/api/nodes/heartbeat", "miner", {"walletAddress": "w"}),
    Route("POST", f"/api/jobs/{LOST}/result", "miner", {"result": 1}),
    Route("POST", f"/api/jobs/{LOST}/failure", "miner", {"error": "no"}),
    Route("POST", "/api/matchmaker/match", "alice", {"jobId": "a", "jobType": "render"}),
    Route("POST", "/internal/matchmaker/match", "alice", {"jobId": "a", "jobType": "render"}),
    Route("POST", "/api/webhooks/trigger", "ops", {"event": "hello", "data": {}}),
    Route("POST", "/internal/webhooks/trigger", "ops", {"event": "hello", "data": {}}),
]
WITH_BODY = STRICT + LEGACY
WITHOUT_BODY = [
    Route("POST", f"/v1/jobs/{LOST}/cancel", "alice"),
    Route("POST", f"{OFFER}/accept", "miner"),
    Route("POST", f"/v1/node/{NOBODY}/drain", "miner"),
    Route("POST", f"/v1/node/{NOBODY}/resume", "miner"),
    Route("GET", "/v1/tools", "alice"),
    Route("GET", "/v1/agents", "alice"),
    Route("GET", "/v1/agents/eliza", "alice"),
    Route("POST", "/v1/agents/eliza/actions", "alice"),
    Route("GET", "/v1/agents/eliza/webhook", "alice"),
    Route("GET", "/v1/agents/eliza/events", "alice"),
    Route("GET", "/internal/agents", "ops"),
    Route("GET", "/v1/jobs", "alice"),
    Route("GET", f"/v1/jobs/{LOST}", "alice"),
    Route("GET", f"/v1/jobs/{LOST}/wait", "alice"),
    Route("GET", f"/v1/jobs/{LOST}/history", "alice"),
    Route("GET", f"/v1/jobs/{LOST}/match", "alice"),
    Route("GET", f"/v1/jobs/{LOST}/events", "alice"),
    Route("GET", "/v1/events", "alice"),
    Route("GET", "/v1/events/consumers/mine", "alice"),
    Route("GET", "/v1/schedules", "alice"),
    Route("GET", f"/v1/schedules/{SCHEDULE}", "alice"),
    Route("DELETE", f"/v1/schedules/{SCHEDULE}", "alice"),
    Route("GET", "/v1/plans", "alice"),
    Route("GET", f"/v1/plans/{PLAN}", "alice"),
    Route("GET", f"/v1/plans/{PLAN}/graph.svg", "alice"),
    Route("DELETE", f"/v1/plans/{PLAN}", "alice"),
    Route("GET", "/v1/hooks", "alice"),
    Route("GET", f"/v1/hooks/{HOOK}", "alice"),
    Route("DELETE", f"/v1/hooks/{HOOK}", "alice"),
    Route("GET", f"/v1/specs/{HASH}", "alice"),
    Route("GET", "/v1/availability", "alice"),
    Route("GET", f"/v1/node/{NOBODY}/offers", "miner"),
    Route("GET", "/api/jobs/available", "miner"),
    Route("GET", "/assistants/agent", "alice"),
    Route("GET", THREAD, "alice"),
    Route("DELETE", THREAD, "alice"),
    Route("GET", f"{THREAD}/state", "alice"),
    Route("GET", f"{THREAD}/runs", "alice"),
    Route("GET", RUN, "alice"),
    Route("GET", f"{RUN}/join", "alice"),
    Route("GET", f"{RUN}/stream", "alice"),
    Route("POST", f"{RUN}/cancel", "alice"),
    Route("DELETE", RUN, "alice"),
    Route("GET", "/internal/jobs/dead", "ops"),
    Route("GET", f"/internal/jobs/dead/{LOST}", "ops"),
    Route("GET", "/internal/deliveries", "ops"),
    Route("GET", "/internal/feed", "ops"),
    Route("GET", "/internal/chain", "ops"),
    Route("GET", "/internal/chain/quarantine", "ops"),
]
KEYED = WITH_BODY + WITHOUT_BODY
SIGNED = {"POST /v1/agents/{plugin}/webhook"}
"""Routes that take a signature instead of a key."""
FOREIGN = ("/threads", "/runs", "/assistants")
"""Paths of an API that others have described: the OpenAPI document leaves them out."""
PUBLIC = ["/livez", "/readyz", "/health", "/api/metrics/current", "/internal/metrics/current", "/api/validation"]

each_strict = pytest.mark.parametrize("route", STRICT, ids=str)
each_body = pytest.mark.parametrize("route", WITH_BODY, ids=str)
each_keyed = pytest.mark.parametrize("route", KEYED, ids=str)


@asynccontextmanager
async def nothing_changes(running: Hae) -> AsyncIterator[None]:
    """Every row of the database is the same after the block as before it."""
    before = await running.contents()
    yield
    assert await running.contents() == before


async def refused(running: Hae, route: Route, *statuses: int, code: str = "", **request: Any) -> dict[str, Any]:
    """Sends the request as the route's caller; the problem it gets, which must have one of these statuses."""
    answer = await as_(running, route.who).request(route.method, route.path, **request)
    return problem_of(answer, *statuses, code=code)
