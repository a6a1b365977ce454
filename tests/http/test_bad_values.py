"""Values out of range, words that are none, ids that nobody has: a clear problem, nothing changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.http.catalogue import JOB, KEYED, LOST, NOBODY, NODE, Route, nothing_changes, refused
from tests.http.conftest import as_
from tests.support.live_engine import Hae
from tools.registry import TOOLS

pytestmark = pytest.mark.asyncio(loop_scope="module")

WRONG_JOBS: dict[str, list[Any]] = {
    "type": ["mining", "", None, 3],
    "model": ["x" * 201, ["qwen"]],
    "prompt": ["x" * 100_001, None],
    "input": [[], "text", None],
    "gpus": [0, -1, 65, "1", 1.5, True, None],
    "min_vram_gb": [-1, 1025, "24"],
    "gpu_models": ["A100", [""], ["a|b"], ["x" * 61], ["a"] * 17, None],
    "capabilities": [["flying"], "inference", [None]],
    "region": ["EARTH", "eu", 3],
    "min_reputation": [1001, -1],
    "max_price_per_gpu_hour_hyper": ["0", "0.000000000", "-1", "1e3", "0.0000000001", "99999999999", "٣", 1, "1" * 41],
    "policy": ["dearest", None],
    "priority": [10, -1],
    "timeout_s": [-1, 604_801],
    "queue_ttl_s": [-1, 604_801],
    "max_retries": [21, -2],
    "deadline_s": [-1, 604_801, 1.5, "60", None],
    "idempotency_key": ["k" * 201, 3],
}


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/tools/submit_job"])
@pytest.mark.parametrize("field", WRONG_JOBS)
async def test_a_wrong_job(still: Hae, path: str, field: str) -> None:
    async with nothing_changes(still):
        for value in WRONG_JOBS[field]:
            told = await refused(still, Route("POST", path, "alice"), 422, json={**JOB, field: value})
            assert told["code"] == "invalid_input"
            assert told["field"].startswith(field), told
            assert told["errors"][0]["field"] == told["field"]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/tools/submit_job"])
async def test_a_word_that_is_none_is_told_with_those_there_are(still: Hae, path: str) -> None:
    for field, value, known in (
        ("type", "mining", "llm_inference"),
        ("region", "EARTH", "AF"),
        ("capabilities", ["flying"], "cpu_compute"),
        ("policy", "dearest", "cheapest"),
    ):
        told = await refused(still, Route("POST", path, "alice"), 422, json={**JOB, field: value})
        assert known in told["detail"], told


async def test_every_wrong_field_of_a_job_is_named_at_once(still: Hae) -> None:
    body = {"gpus": 0, "prompt": 1, "colour": "red"}
    told = await refused(still, Route("POST", "/v1/jobs", "alice"), 422, json=body)
    assert {error["field"] for error in told["errors"]} == {"gpus", "prompt", "colour", "type"}


async def test_a_tool_shows_a_call_that_works(still: Hae) -> None:
    route = Route("POST", "/v1/tools/submit_job", "alice")
    told = await refused(still, route, 422, json={"type": "llm_inference", "modle": "qwen"})
    assert "modle" in told["detail"]
    assert "model, prompt" in told["detail"]
    example = json.loads(told["next_action"].removeprefix("A valid call: "))
    assert (await as_(still, "alice").post(route.path, json=example)).status_code == 200


@pytest.mark.parametrize(
    ("field", "values"),
    {
        "wallet": ["", "two words", "w" * 81, "кошелёк", None],
        "gpu_model": ["", "a|b", "x" * 61, 4090],
        "gpus": [0, 65, "8"],
        "vram_gb": [-1, 1025],
        "capabilities": [["flying"]],
        "region": ["XX"],
        "price_per_gpu_hour_hyper": ["0", "-0.1", "cheap", 0.5],
        "capacity": [-1, 65],
        "name": ["n" * 81],
        "fresh": ["yes", 1, None],
    }.items(),
)
async def test_a_wrong_node(still: Hae, field: str, values: list[Any]) -> None:
    async with nothing_changes(still):
        for value in values:
            route = Route("POST", "/v1/node/register", "miner")
            told = await refused(still, route, 422, json={**NODE, field: value})
            assert told["field"].startswith(field)


MATCH = {"jobId": "j", "jobType": "render"}


@pytest.mark.parametrize(
    ("path", "bodies"),
    [
        ("/v1/quotes", [{"duration_s": 0}, {"duration_s": 604_801}, {"duration_s": 1.5}]),
        ("/v1/match", [{"policy": "dearest"}, {"type": None}]),
        ("/v1/tools/match", [{"policy": "dearest"}]),
        ("/v1/tools/watch_job", [{"job_id": LOST, **wrong} for wrong in (
            {"wait_s": 46}, {"wait_s": -1}, {"until": "never"}, {"seen_version": 2**31})]),
        ("/v1/tools/get_job", [{"job_id": ""}, {"job_id": "a/../b"}, {"job_id": "x" * 41}, {}]),
        ("/v1/tools/cancel_job", [{"job_id": None}, {"job_id": ["a"]}]),
        ("/api/matchmaker/match", [{"jobType": "render"}, *({**MATCH, **wrong} for wrong in (
            {"jobType": "mining"}, {"price": 0}, {"price": -2}, {"requirements": {"vramMin": 5000}},
            {"requirements": {"vramMin": -1}}, {"requirements": {"capabilities": ["flying"]}}, {"jobId": ""}))]),
    ],
)  # fmt: skip
async def test_other_wrong_bodies_of_agents(still: Hae, path: str, bodies: list[dict[str, Any]]) -> None:
    async with nothing_changes(still):
        for body in bodies:
            await refused(still, Route("POST", path, "alice"), 422, json=body)


async def test_wrong_standings(still: Hae) -> None:
    one = {"node_id": NOBODY, "reputation": 1}
    async with nothing_changes(still):
        for nodes in ([], [{**one, "reputation": 1001}], [{**one, "stake_hyper": "-1"}], [one, one], [one] * 1001):
            await refused(still, Route("PUT", "/internal/nodes/standing", "ops"), 422, json={"nodes": nodes})


@pytest.mark.parametrize("path", ["/api/webhooks/trigger", "/internal/webhooks/trigger"])
async def test_wrong_triggers(still: Hae, path: str) -> None:
    bodies: list[dict[str, Any]] = [
        {}, {"event": "x"}, {"data": {}}, {"event": "", "data": {}}, {"event": "x" * 81, "data": {}},
        {"event": "x", "data": []}, {"event": 1, "data": {}}, {"event": None, "data": None},
    ]  # fmt: skip
    async with nothing_changes(still):
        for body in bodies:
            await refused(still, Route("POST", path, "ops"), 400, code="bad_event", json=body)


@pytest.mark.parametrize(
    ("path", "who", "queries"),
    [
        ("/v1/jobs", "alice", ["limit=0", "limit=201", "limit=ten", "limit=1e9", "limit=99999999999999999999",
         "limit=", "state=flying", "type=mining", "cursor=a%20b", "cursor=" + "x" * 41]),
        (f"/v1/jobs/{LOST}/wait", "alice", ["wait_s=46", "wait_s=-1", "wait_s=nan", "wait_s=inf", "wait_s=1e999",
         "wait_s=long", "until=never", "seen_version=-1", "seen_version=99999999999"]),
        (f"/v1/node/{NOBODY}/offers", "miner", ["wait=46", "wait=-1", "wait=nan", "wait=inf", "wait=long"]),
    ],
)  # fmt: skip
async def test_wrong_queries(still: Hae, path: str, who: str, queries: list[str]) -> None:
    for query in queries:
        told = await refused(still, Route("GET", f"{path}?{query}", who), 422)
        assert told["field"] == query.partition("=")[0], told


async def test_a_query_that_is_misspelt_is_told_what_there_is(still: Hae) -> None:
    for path, takes in (
        ("/v1/jobs?stat=pending", "state, type, cursor, limit"),
        ("/v1/events?kinds=job_completed", "after, "),
        ("/v1/availability?gpus=8", "none"),
        (f"/v1/jobs/{LOST}?wait_s=5", "none"),
        (f"/v1/jobs/{LOST}/wait?wait=5", "wait_s, "),
        ("/v1/tools?form=openai", "format"),
        ("/v1/plans?state=running", "cursor, limit"),
    ):
        told = await refused(still, Route("GET", path, "alice"), 422, code="invalid_input")
        assert told["field"] == path.partition("?")[2].partition("=")[0]
        assert f"this path takes {takes}" in told["detail"]
    told = await refused(still, Route("GET", "/v1/jobs?state=done", "alice"), 422)
    assert "one of " in told["detail"] and "completed" in told["detail"]
    # Nodes may be of any age, and plugins have queries of their own.
    assert (await as_(still, "miner").get(f"/v1/node/{NOBODY}/offers?wait=0&flavour=1")).status_code == 404
    assert (await as_(still, "alice").get("/v1/agents/eliza?flavour=1")).status_code == 200


async def test_a_last_event_id_that_no_stream_sent(still: Hae) -> None:
    for value in ("abc", "-1", "1.5", "١", "9" * 21, "0x1"):
        headers = [(b"last-event-id", value.encode())]
        told = await refused(still, Route("GET", f"/v1/jobs/{LOST}/events", "alice"), 422, headers=headers)
        assert told["field"].lower() == "last-event-id"


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/tools/submit_job"])
async def test_wrong_idempotency_keys(still: Hae, path: str) -> None:
    route = Route("POST", path, "alice")
    async with nothing_changes(still):
        told = await refused(still, route, 422, json=JOB, headers={"idempotency-key": "k" * 201})
        assert told["field"] == "Idempotency-Key"
        body = {**JOB, "idempotency_key": "one"}
        told = await refused(still, route, 422, json=body, headers={"idempotency-key": "two"})
        assert told["field"] == "idempotency_key"


@pytest.mark.parametrize("route", [route for route in KEYED if LOST in str(route) or NOBODY in str(route)], ids=str)
async def test_unknown_ids(still: Hae, route: Route) -> None:
    async with nothing_changes(still):
        for other in ("{}", "nonsense", "a%20b", "x" * 3000, "%F0%9F%9A%80", "..."):
            path = route.path.replace(LOST, other.format(LOST)).replace(NOBODY, other.format(NOBODY))
            told = await refused(still, Route(route.method, path, route.who), 404, json=route.body)
            assert told["code"].endswith("_not_found")


@pytest.mark.parametrize("name", ["get_job", "watch_job", "cancel_job", "rerun_job"])
async def test_unknown_jobs_of_tools(still: Hae, name: str) -> None:
    route = Route("POST", f"/v1/tools/{name}", "alice")
    told = await refused(still, route, 404, code="job_not_found", json={"job_id": LOST})
    assert told["field"] == "job_id"
    assert "list_jobs" in told["next_action"]


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("submit_job", "max_price_per_gpu_hour_hyper", "-1"),
        ("submit_job", "policy", "no-such-policy"),
        ("submit_plan", "raise_step_hyper", "-0.1"),
        ("quote", "region", "Atlantis"),
    ],
)
async def test_what_only_the_tool_finds_wrong_is_told_with_a_valid_call(
    still: Hae, name: str, field: str, value: str
) -> None:
    example = TOOLS[name].example
    async with nothing_changes(still):
        told = await refused(still, Route("POST", f"/v1/tools/{name}", "alice"), 422, json={**example, field: value})
    assert told["field"] == field
    assert json.loads(told["next_action"].removeprefix("A valid call: ")) == example


async def test_standings_of_unknown_nodes(still: Hae) -> None:
    body = {"nodes": [{"node_id": NOBODY, "reputation": 1}]}
    await refused(still, Route("PUT", "/internal/nodes/standing", "ops"), 404, code="node_not_found", json=body)


async def test_a_heartbeat_of_an_unknown_wallet(still: Hae) -> None:
    route = Route("POST", "/api/nodes/heartbeat", "miner")
    await refused(still, route, 404, code="node_not_found", json={"walletAddress": "nobody's"})


async def test_an_unknown_tool_answers_with_those_there_are(still: Hae) -> None:
    route = Route("POST", "/v1/tools/mine_bitcoin", "alice")
    told = await refused(still, route, 404, code="tool_not_found", json={})
    for name in ("submit_job", "match", "availability", "quote", "get_job", "watch_job", "cancel_job"):
        assert name in told["next_action"]
