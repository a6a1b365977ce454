"""Many jobs in a call, jobs that start later, jobs run again: over REST and as tools."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.core.access import Scope
from tests.http.catalogue import JOB, LOST
from tests.http.conftest import as_
from tests.support.live_engine import Hae, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def batch(still: Hae, jobs: list[Any], who: str = "alice", **headers: str) -> dict[str, Any]:
    answer = await as_(still, who).post("/v1/jobs:batch", json={"jobs": jobs}, headers=headers)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    assert [one["index"] for one in told["results"]] == list(range(len(jobs)))
    return told


async def test_each_job_of_a_batch_gets_an_answer_of_its_own(still: Hae) -> None:
    wrong: list[tuple[Any, str]] = [
        ({**JOB, "gpus": 0}, "gpus"),
        ({**JOB, "colour": "red"}, "colour"),
        ({"model": "qwen-7b"}, "type"),
        ({**JOB, "type": "dance"}, "type"),
        (7, ""),
        ({**JOB, "max_price_per_gpu_hour_hyper": "cheap"}, "max_price_per_gpu_hour_hyper"),
        ({**JOB, "policy": "nobodys"}, "policy"),
        ({**JOB, "delay_s": 60, "deadline_s": 30}, "deadline_s"),
        ({**JOB, "retry_backoff_s": 9, "retry_backoff_max_s": 8}, "retry_backoff_max_s"),
    ]
    jobs = [JOB, *(one for one, _ in wrong), {**JOB, "delay_s": 60}]
    told = await batch(still, jobs)
    assert (told["created"], told["repeated"], told["refused"]) == (2, 0, len(wrong))
    first, *middle, last = told["results"]
    for (asked, field), result in zip(wrong, middle, strict=True):
        assert "job_id" not in result or result["job_id"] == "", asked
        assert result["problem"]["field"] == field, result
        assert result["problem"]["detail"] and result["problem"]["code"] == "invalid_input"
    assert "problem" not in first and "problem" not in last
    assert (first["state"], last["state"], first["created"]) == ("pending", "scheduled", True)
    single = (await as_(still, "alice").post("/v1/jobs", json=JOB)).json()
    assert first["requirements_hash"] == single["requirements_hash"]
    assert "one of llm_inference" in middle[3]["problem"]["detail"]


async def test_a_batch_sent_again_makes_nothing_twice(still: Hae) -> None:
    keyed = [{**JOB, "idempotency_key": f"own-{number}"} for number in range(3)]
    first = await batch(still, [*keyed, JOB], **{"idempotency-key": "all"})
    again = await batch(still, [*keyed, JOB], **{"idempotency-key": "all"})
    assert (first["created"], again["created"], again["repeated"]) == (4, 0, 4)
    assert [one["job_id"] for one in first["results"]] == [one["job_id"] for one in again["results"]]
    twice = await batch(still, [{**JOB, "idempotency_key": "twin"}] * 2)
    assert (twice["created"], twice["repeated"]) == (1, 1)
    other = await batch(still, [{**JOB, "prompt": "another", "idempotency_key": "own-0"}, keyed[1]])
    assert other["results"][0]["problem"]["code"] == "idempotency_key_reused"
    assert other["results"][1]["job_id"] == first["results"][1]["job_id"]


async def test_a_thousand_jobs_in_one_call_and_no_more(still: Hae) -> None:
    before = (await still.counts())["jobs"]
    told = await batch(still, [{**JOB, "prompt": "x" * 2_000}] * 1000, "bob")
    assert told["created"] == 1000
    assert len({one["job_id"] for one in told["results"]}) == 1000
    assert (await still.counts())["jobs"] == before + 1000
    for jobs in ([], [JOB] * 1001):
        answer = await as_(still, "bob").post("/v1/jobs:batch", json={"jobs": jobs})
        assert problem_of(answer, 422)["field"] == "jobs"
    done = await as_(still, "bob").post("/v1/jobs:cancel", json={"filter": {"state": ["pending"]}})
    assert (done.json()["requested"], done.json()["more"]) == (1000, False)


async def test_the_tool_takes_many_jobs_too(still: Hae) -> None:
    tool = await as_(still, "alice").post("/v1/tools/submit_jobs", json={"jobs": [JOB, {**JOB, "policy": "nobodys"}]})
    assert tool.status_code == 200
    assert (tool.json()["created"], tool.json()["refused"]) == (1, 1)
    for created in (2, 0):
        keyed = await as_(still, "alice").post(
            "/v1/tools/submit_jobs", json={"jobs": [JOB, JOB]}, headers={"idempotency-key": "all-of-them"}
        )
        assert keyed.json()["created"] == created
    wrong = await as_(still, "alice").post("/v1/tools/submit_jobs", json={"jobs": [JOB, {**JOB, "gpus": 0}]})
    assert problem_of(wrong, 422)["field"] == "jobs[1].gpus"


async def test_cancelling_many_by_name_and_by_what_they_are(still: Hae) -> None:
    http = still.client(await still.key("canceller", Scope.AGENT))
    ids = [(await http.post("/v1/jobs", json={**JOB, "type": "render"})).json()["job_id"] for _ in range(3)]
    other = (await http.post("/v1/jobs", json=JOB)).json()["job_id"]
    named = (await http.post("/v1/jobs:cancel", json={"job_ids": [ids[0], LOST]})).json()
    assert named == {"requested": 1, "job_ids": [ids[0]], "unchanged": [], "unknown": [LOST], "more": False}
    found = (await http.post("/v1/tools/cancel_jobs", json={"filter": {"type": ["render"]}})).json()
    assert (found["requested"], found["job_ids"]) == (2, ids[1:])
    await still.settle()
    states = {job["job_id"]: job["state"] for job in (await http.get("/v1/jobs")).json()["jobs"]}
    assert [states[one] for one in (*ids, other)] == ["cancelled"] * 3 + ["pending"]
    for body, field in (
        ({}, "filter"),
        ({"filter": {}}, "filter"),
        ({"job_ids": [other], "filter": {"state": ["pending"]}}, "filter"),
        ({"filter": {"submitted_before": "2026-01-01T00:00:00"}}, "filter.submitted_before"),
        ({"filter": {"submitted_before": "2026-13-01T00:00:00Z"}}, "filter.submitted_before"),
        ({"filter": {"submitted_before": "0001-01-01T00:00:00+14:00"}}, "filter.submitted_before"),
        ({"filter": {"state": ["asleep"]}}, "filter.state[0]"),
    ):
        assert problem_of(await http.post("/v1/jobs:cancel", json=body), 422)["field"] == field


async def test_a_job_shows_when_it_starts_and_how_it_is_retried(still: Hae) -> None:
    alice = as_(still, "alice")
    start = (datetime.now(UTC) + timedelta(days=2)).replace(microsecond=0)
    asked = {
        **JOB, "start_at": start.isoformat(), "max_attempts": 7, "retry_backoff_s": 3, "exclude_nodes": "last",
        "max_retries": 2, "priority": 4, "timeout_s": 99,
    }  # fmt: skip
    made = (await alice.post("/v1/jobs", json=asked)).json()
    assert made["state"] == "scheduled"
    job = (await alice.get(f"/v1/jobs/{made['job_id']}")).json()
    assert job["start_at"] == start.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    policy = {"max_attempts": 7, "retry_backoff_s": 3, "retry_backoff_max_s": 30, "exclude_nodes": "last"}
    assert {name: job[name] for name in policy} == policy
    assert (job["max_retries"], job["priority"], job["timeout_s"], job["failures"]) == (2, 4, 99, 0)
    history = (await alice.get(f"/v1/jobs/{made['job_id']}/history")).json()["transitions"]
    assert [(one["from_state"], one["to_state"], one["reason"]) for one in history] == [("", "scheduled", "scheduled")]
    await alice.post("/v1/jobs:cancel", json={"job_ids": [made["job_id"]]})
    await still.settle()
    cancelled = (await alice.get(f"/v1/jobs/{made['job_id']}")).json()
    assert (cancelled["state"], cancelled["cancel_requested"]) == ("cancelled", True)
    for wrong, field in (
        ({"start_at": "tomorrow"}, "start_at"),
        ({"start_at": "2030-01-01T00:00:00"}, "start_at"),
        ({"start_at": "2030-02-30T00:00:00Z"}, "start_at"),
        ({"start_at": "2300-01-01T00:00:00Z"}, "start_at"),
        ({"start_at": start.isoformat(), "delay_s": 1}, "delay_s"),
        ({"start_at": start.isoformat(), "deadline_s": 60}, "deadline_s"),
    ):
        assert problem_of(await alice.post("/v1/jobs", json={**JOB, **wrong}), 422)["field"] == field


async def test_a_job_is_run_again_when_it_is_over(still: Hae) -> None:
    alice = as_(still, "alice")
    job_id = (await alice.post("/v1/jobs", json=JOB)).json()["job_id"]
    path = f"/v1/jobs/{job_id}/rerun"
    problem_of(await alice.post(path, json={}), 409, code="job_not_over")
    problem_of(await as_(still, "bob").post(path, json={}), 404, code="job_not_found")
    await alice.post("/v1/jobs:cancel", json={"job_ids": [job_id]})
    await still.settle()
    key = {"idempotency-key": "once-more"}
    answers = [await alice.post(path, json={"priority": 3}, headers=key) for _ in range(2)]
    assert [one.status_code for one in answers] == [201, 200]
    again = (await alice.get(answers[0].headers["location"])).json()
    assert (again["rerun_of"], again["priority"], again["prompt"]) == (job_id, 3, JOB["prompt"])
    problem_of(await alice.post(path, json={}, headers=key), 409, code="idempotency_key_reused")
    tool = await alice.post("/v1/tools/rerun_job", json={"job_id": job_id, "priority": 3}, headers=key)
    assert tool.json()["job_id"] == again["job_id"]
    by_operator = (await as_(still, "ops").post(path, json={})).json()["job_id"]
    assert (await alice.get(f"/v1/jobs/{by_operator}")).json()["rerun_of"] == job_id
