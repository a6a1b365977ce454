"""Recurring jobs and dead letters over REST."""

from __future__ import annotations

import pytest

from tests.http.catalogue import JOB, RECURRING
from tests.http.conftest import as_
from tests.support.live_engine import Hae, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_schedule_from_its_making_to_its_end(still: Hae) -> None:
    alice, bob = as_(still, "alice"), as_(still, "bob")
    asked = {**RECURRING, "cron": "30 2 * * *", "timezone": "Europe/Berlin", "overlap": "skip", "name": "nightly"}
    answers = [await alice.post("/v1/schedules", json=asked, headers={"idempotency-key": "s"}) for _ in range(2)]
    assert [one.status_code for one in answers] == [201, 200]
    made = answers[0].json()
    path = answers[0].headers["location"]
    assert path == f"/v1/schedules/{made['schedule_id']}"
    assert answers[1].json() == made == (await alice.get(path)).json()
    assert {name: made[name] for name in asked} == asked
    assert (made["runs"], made["skipped"], made["error"], made["last_job_id"], made["paused"]) == (0, 0, "", "", False)
    assert len(made["next_runs"]) == 5 and made["next_runs"][0] == made["next_at"] > made["created_at"]
    assert made["next_runs"] == sorted(set(made["next_runs"]))
    problem_of(await bob.get(path), 404, code="schedule_not_found")
    problem_of(await bob.patch(path, json={"paused": True}), 404, code="schedule_not_found")
    problem_of(await bob.delete(path), 404, code="schedule_not_found")
    paused = (await alice.patch(path, json={"paused": True})).json()
    assert (paused["paused"], paused["next_at"], paused["next_runs"]) == (True, "", [])
    changed = (await alice.patch(path, json={"paused": False, "cron": "*/5 * * * *", "job": {"type": "render"}})).json()
    assert (changed["paused"], changed["cron"], changed["job"], changed["name"]) == (
        False, "*/5 * * * *", {"type": "render"}, "nightly",
    )  # fmt: skip
    listed = (await alice.get("/v1/schedules")).json()["schedules"]
    assert [one["schedule_id"] for one in listed] == [made["schedule_id"]]
    assert (await bob.get("/v1/schedules")).json() == {"schedules": [], "next_cursor": ""}
    assert (await alice.delete(path)).json() == {"schedule_id": made["schedule_id"], "deleted": True}
    problem_of(await alice.get(path), 404)


async def test_tools_make_list_pause_and_end_schedules(still: Hae) -> None:
    alice = as_(still, "alice")
    made = (await alice.post("/v1/tools/create_schedule", json=RECURRING)).json()
    listed = (await alice.post("/v1/tools/list_schedules", json={"limit": 1})).json()
    assert (listed["schedules"], listed["next_cursor"]) == ([made], made["schedule_id"])
    name = {"schedule_id": made["schedule_id"]}
    assert (await alice.post("/v1/tools/change_schedule", json={**name, "paused": True})).json()["paused"]
    assert (await alice.post("/v1/tools/delete_schedule", json=name)).json()["deleted"]
    problem_of(await alice.post("/v1/tools/delete_schedule", json=name), 404, code="schedule_not_found")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cron": "* * * * * *"}, "cron"),
        ({"cron": "0 0 30 2 *"}, "cron"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"overlap": "maybe"}, "overlap"),
        ({"job": {**JOB, "gpus": 0}}, "job.gpus"),
        ({"job": {**JOB, "policy": "nobodys"}}, "policy"),
        ({"job": {**JOB, "start_at": "2030-01-01T00:00:00Z"}}, "job.start_at"),
    ],
)
async def test_what_is_no_schedule(still: Hae, changes: dict[str, object], field: str) -> None:
    answer = await as_(still, "alice").post("/v1/schedules", json={**RECURRING, **changes})
    assert problem_of(answer, 422)["field"] == field


async def test_operators_find_dead_jobs_and_have_them_looked_at_again(still: Hae) -> None:
    alice, ops = as_(still, "alice"), as_(still, "ops")
    ids = [(await alice.post("/v1/jobs", json=JOB)).json()["job_id"] for _ in range(2)]
    # What the job graph does after its last try.
    await still.sql.execute(
        "UPDATE signals SET parked_at = now(), tries = 5, error = 'broke' WHERE job_id = ANY($1::text[])", ids
    )
    await still.sql.execute("UPDATE jobs SET error = 'broke' WHERE id = ANY($1::text[])", ids)
    page = (await ops.get("/internal/jobs/dead", params={"limit": 1})).json()
    (listed,) = page["jobs"]
    assert (listed["job_id"], listed["account"], listed["state"], listed["tries"], listed["error"]) == (
        ids[1], "alice", "pending", 5, "broke",
    )  # fmt: skip
    rest = (await ops.get("/internal/jobs/dead", params={"cursor": page["next_cursor"]})).json()
    assert [one["job_id"] for one in rest["jobs"]] == ids[:1]
    told = (await ops.get(f"/internal/jobs/dead/{ids[0]}")).json()
    assert (told["job"]["error"], told["account"]) == ("broke", "alice")
    assert [(one["kind"], one["tries"], one["error"]) for one in told["signals"]] == [("submitted", 5, "broke")]
    assert [one["to_state"] for one in told["transitions"]] == ["pending"]
    done = (await ops.post("/internal/jobs/dead/requeue", json={"job_ids": [ids[0]]})).json()
    assert done == {"requeued": 1, "job_ids": [ids[0]], "untouched": [], "more": False}
    assert (await alice.get(f"/v1/jobs/{ids[0]}")).json()["error"] == ""
    problem_of(await ops.get(f"/internal/jobs/dead/{ids[0]}"), 404, code="dead_job_not_found")
    assert (await ops.post("/internal/jobs/dead/requeue", json={"all": True})).json()["job_ids"] == ids[1:]
    for body in ({}, {"job_ids": ids, "all": True}):
        problem_of(await ops.post("/internal/jobs/dead/requeue", json=body), 422)
