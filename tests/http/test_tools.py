"""Tools over HTTP: the forms they are listed in, their answers, and what a key may call, submit and spend."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from app.core.access import Rights
from app.core.money import UNIT
from app.services import keys
from tests.http.catalogue import JOB, LOST, PLANNED, RECURRING
from tests.http.conftest import as_
from tests.support.json_schema import faults
from tests.support.live_engine import Hae, Node, problem_of
from tools import jobs, plans
from tools.registry import TOOLS

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRICED = {**JOB, "max_price_per_gpu_hour_hyper": "3", "timeout_s": 1200}
"""A job that costs one HYPER at most."""


@pytest.fixture(autouse=True)
def no_worker_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelling waits a moment for the job graph, which here runs when a test says so."""
    for module in (jobs, plans):
        monkeypatch.setattr(module, "CANCEL_WAIT_S", 0.0)


async def client(hae: Hae, account: str, **rights: Any) -> httpx.AsyncClient:
    """The client of a new key with these rights."""
    return hae.client((await keys.create(hae.engine.db, account, ["agent"], rights=Rights(**rights)))[1])


async def test_tools_are_listed_in_the_form_that_is_asked_for(still: Hae) -> None:
    alice = as_(still, "alice")
    told = {form: (await alice.get("/v1/tools", params={"format": form})).json() for form in ("openai", "mcp")}
    assert [one["function"]["name"] for one in told["openai"]["tools"]] == list(TOOLS)
    assert [one["name"] for one in told["mcp"]["tools"]] == list(TOOLS)
    assert told["mcp"]["tools"][0]["inputSchema"]["type"] == "object"
    own, anthropic = (await alice.get("/v1/tools")).json(), await alice.get("/v1/tools", params={"format": "anthropic"})
    assert own["tools"][0]["example"] and anthropic.json()["tools"][0].keys() == {"name", "description", "input_schema"}
    refused = problem_of(await alice.get("/v1/tools", params={"format": "gpt"}), 422, code="invalid_input")
    assert refused["field"] == "format" and "openai, anthropic, mcp" in refused["detail"]


async def test_answers_hold_against_the_schemas_that_are_listed(still: Hae) -> None:
    """So that clients which check structured answers, as those of MCP do, take them."""
    mine = await client(still, "checker", cap_day=100 * UNIT)
    schemas = {one["name"]: one["output_schema"] for one in (await mine.get("/v1/tools")).json()["tools"]}
    await Node.register(as_(still, "miner"), "checked", gpu_model="checked", capabilities=["inference"])
    job = {**PRICED, "gpu_models": ["checked"]}
    seen: set[str] = set()

    async def answer(name: str, arguments: dict[str, Any]) -> Any:
        told = (await mine.post(f"/v1/tools/{name}", json=arguments)).raise_for_status().json()
        assert faults(told, schemas[name]) == [], name
        assert told.keys() <= schemas[name]["properties"].keys(), name
        seen.add(name)
        return told

    job_id = (await answer("submit_job", job))["job_id"]
    await answer("submit_jobs", {"jobs": [job, JOB]})
    await still.settle()
    for name in ("get_job", "wait_job", "watch_job", "job_history", "cancel_job"):
        await answer(name, {"job_id": job_id, **({"wait_s": 0} if name.startswith("wa") else {})})
    await answer("cancel_jobs", {"filter": {"type": ["llm_inference"]}})
    await still.settle()
    await answer("rerun_job", {"job_id": job_id})
    for name in ("list_jobs", "get_budget", "network_metrics", "quote", "availability"):
        await answer(name, {})
    for wanted in ("checked", "none such"):
        await answer("match", {"gpu_models": [wanted]})
    made = await answer("create_schedule", RECURRING)
    for name, changes in (("list_schedules", {}), ("change_schedule", {"paused": True}), ("delete_schedule", {})):
        named = {} if name == "list_schedules" else {"schedule_id": made["schedule_id"]}
        await answer(name, named | changes)
    plan = await answer("submit_plan", PLANNED)
    for name in ("get_plan", "cancel_plan"):
        await answer(name, {"plan_id": plan["plan_id"], **({"units": True} if name == "get_plan" else {})})
    await answer("list_plans", {})
    assert seen == set(TOOLS)


async def test_a_key_calls_only_the_tools_that_it_may(still: Hae) -> None:
    bounded = await client(still, "bounded", tools=frozenset({"quote", "get_job"}))
    assert [one["name"] for one in (await bounded.get("/v1/tools")).json()["tools"]] == ["get_job", "quote"]
    assert (await bounded.post("/v1/tools/quote", json={})).status_code == 200
    problem_of(await bounded.get(f"/v1/jobs/{LOST}"), 404, code="job_not_found")
    for method, path, body in (
        ("POST", "/v1/tools/submit_job", JOB),
        ("POST", "/v1/jobs", JOB),
        ("POST", "/v1/jobs:batch", {"jobs": [JOB]}),
        ("POST", "/v1/jobs:cancel", {"job_ids": [LOST]}),
        ("POST", f"/v1/jobs/{LOST}/cancel", None),
        ("POST", f"/v1/jobs/{LOST}/rerun", {}),
        ("GET", "/v1/jobs", None),
        ("GET", f"/v1/jobs/{LOST}/wait", None),
        ("GET", f"/v1/jobs/{LOST}/history", None),
        ("GET", f"/v1/jobs/{LOST}/match", None),
        ("GET", f"/v1/jobs/{LOST}/events", None),
        ("GET", "/v1/events", None),
        ("POST", "/v1/hooks", {"url": "https://hooks.example/agent"}),
        ("GET", "/v1/agents/eliza/events", None),
        ("POST", "/v1/match", {}),
        ("GET", "/v1/availability", None),
        ("POST", "/v1/schedules", RECURRING),
        ("GET", "/v1/schedules", None),
        ("PUT", "/v1/specs", JOB),
    ):
        told = problem_of(await bounded.request(method, path, json=body), 403, code="tool_not_allowed")
        assert "get_job, quote" in told["next_action"], path
    # Before a word about the arguments.
    problem_of(await bounded.post("/v1/tools/match", json={"no": 1}), 403, code="tool_not_allowed")


async def test_a_key_waits_over_rest_by_either_of_its_tools(still: Hae) -> None:
    for name, changes in (("wait_job", False), ("watch_job", True)):
        bounded = await client(still, name, tools=frozenset({"submit_job", name}))
        job_id = (await bounded.post("/v1/jobs", json=JOB)).json()["job_id"]
        told = await bounded.get(f"/v1/jobs/{job_id}/wait", params={"wait_s": 0})
        assert (told.status_code, told.json()["state"]) == (200, "pending")
        changing = await bounded.get(f"/v1/jobs/{job_id}/wait", params={"wait_s": 0, "until": "change"})
        assert changing.status_code == (200 if changes else 403)


async def test_a_key_submits_only_the_types_that_it_may(still: Hae) -> None:
    bounded = await client(still, "painter", job_types=frozenset({"render"}))
    render = {"type": "render", "timeout_s": 60}
    assert (await bounded.post("/v1/jobs", json=render)).status_code == 201
    for method, path, body in (
        ("POST", "/v1/jobs", JOB),
        ("POST", "/v1/tools/submit_job", JOB),
        ("POST", "/v1/schedules", RECURRING),
        ("POST", "/v1/tools/create_schedule", RECURRING),
        ("PUT", "/v1/specs", JOB),
    ):
        told = problem_of(await bounded.request(method, path, json=body), 403, code="job_type_not_allowed")
        assert told["field"] == "type" and "It may submit render" in told["next_action"]
    for path in ("/v1/jobs:batch", "/v1/tools/submit_jobs"):
        answer = (await bounded.post(path, json={"jobs": [render, JOB]})).json()
        assert (answer["created"], answer["refused"]) == (1, 1)
        assert answer["results"][1]["problem"]["code"] == "job_type_not_allowed"
    # The same account's other key has submitted what this one may not run once more.
    free = await client(still, "painter")
    job_id = (await free.post("/v1/jobs", json=JOB)).json()["job_id"]
    await free.post(f"/v1/jobs/{job_id}/cancel")
    await still.settle()
    problem_of(await bounded.post(f"/v1/jobs/{job_id}/rerun", json={}), 403, code="job_type_not_allowed")


async def test_over_the_cap_is_a_402_with_the_numbers_over_every_face(still: Hae) -> None:
    capped = await client(still, "saver", cap_day=2 * UNIT + UNIT // 2)
    made = (await capped.post("/v1/jobs", json=PRICED)).json()
    assert made["budget_remaining_hyper"] == "1.5"
    shown = (await capped.get(f"/v1/jobs/{made['job_id']}")).json()
    assert shown["max_cost_hyper"] == "1"
    batch = (await capped.post("/v1/jobs:batch", json={"jobs": [PRICED, PRICED]})).json()
    assert (batch["created"], batch["refused"], batch["budget_remaining_hyper"]) == (1, 1, "0.5")
    figures = {
        "cap_hyper": "2.5", "spent_hyper": "0", "reserved_hyper": "2", "asked_hyper": "1", "remaining_hyper": "0.5",
    }  # fmt: skip
    assert batch["results"][1]["problem"]["figures"] == figures
    for path in ("/v1/jobs", "/v1/tools/submit_job"):
        told = problem_of(await capped.post(path, json=PRICED), 402, code="budget_exceeded")
        assert told["figures"] == figures and "0.5 of this API key's cap of 2.5" in told["detail"]
    unpriced = problem_of(await capped.post("/v1/jobs", json=JOB), 422, code="invalid_input")
    assert unpriced["field"] == "max_price_per_gpu_hour_hyper" and '"2.5"' in unpriced["next_action"]
    for path in ("/v1/quotes", "/v1/match"):
        assert (await capped.post(path, json={})).json()["budget_remaining_hyper"] == "0.5"
    # Cancelled, they cost nothing, and what was held back is there again.
    for job_id in (made["job_id"], batch["results"][0]["job_id"]):
        await capped.post(f"/v1/jobs/{job_id}/cancel")
    await still.settle()
    again = await capped.post(f"/v1/jobs/{made['job_id']}/rerun", json={})
    assert again.status_code == 201 and again.json()["budget_remaining_hyper"] == "1.5"


async def test_the_budget_can_be_read(still: Hae) -> None:
    capped = await client(
        still, "reader", cap_day=5 * UNIT, cap_job=UNIT, tools=frozenset({"get_budget", "submit_job"}),
        job_types=frozenset({"render", "llm_inference"}),
    )  # fmt: skip
    await capped.post("/v1/jobs", json=PRICED)
    told = (await capped.post("/v1/tools/get_budget", json={})).json()
    assert len(told.pop("day")) == 10
    assert told == {
        "cap_day_hyper": "5", "spent_hyper": "0", "reserved_hyper": "1", "remaining_hyper": "4", "cap_job_hyper": "1",
        "tools": ["get_budget", "submit_job"], "job_types": ["llm_inference", "render"],
        "max_active_gpus": 0, "max_waiting_jobs": 0,
    }  # fmt: skip
    free = (await as_(still, "alice").post("/v1/tools/get_budget", json={})).json()
    assert (free["cap_day_hyper"], free["remaining_hyper"], free["tools"]) == ("", "", [])
    assert (await as_(still, "alice").post("/v1/tools/quote", json={})).json()["budget_remaining_hyper"] == ""


async def test_jobs_are_listed_waited_for_and_their_histories_told(still: Hae) -> None:
    mine = await client(still, "lister")
    ids = [(await mine.post("/v1/jobs", json=JOB)).json()["job_id"] for _ in range(3)]
    await mine.post(f"/v1/jobs/{ids[0]}/cancel")
    await still.settle()
    page = (await mine.post("/v1/tools/list_jobs", json={"limit": 2})).json()
    rest = (await mine.post("/v1/tools/list_jobs", json={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert [one["job_id"] for one in [*page["jobs"], *rest["jobs"]]] == ids[::-1]
    over = (await mine.post("/v1/tools/list_jobs", json={"state": ["cancelled"], "type": ["llm_inference"]})).json()
    assert [one["job_id"] for one in over["jobs"]] == [ids[0]]
    waited = (await mine.post("/v1/tools/wait_job", json={"job_id": ids[1], "wait_s": 0})).json()
    assert (waited["job_id"], waited["final"]) == (ids[1], False)
    told = (await mine.post("/v1/tools/job_history", json={"job_id": ids[1]})).json()
    assert [(one["from_state"], one["to_state"], one["reason"]) for one in told["steps"]] == [
        ("", "pending", "submitted")
    ]
    assert told["match"] and told["payment_steps"] == []
    theirs = await client(still, "stranger")
    for name in ("wait_job", "job_history"):
        problem_of(await theirs.post(f"/v1/tools/{name}", json={"job_id": ids[1]}), 404, code="job_not_found")
    problem_of(await mine.post("/v1/tools/wait_job", json={"job_id": ids[1], "wait_s": 46}), 422)
