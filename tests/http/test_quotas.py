"""A key that has as many jobs waiting as it may is told so, over every face in the same words."""

from __future__ import annotations

import pytest

from app.core.access import Scope
from app.services import keys
from app.services.keys import Limits
from tests.http.catalogue import JOB
from tests.support.live_engine import Hae, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_full_queue_is_a_429_that_says_when_to_come_again(still: Hae) -> None:
    _, secret = await keys.create(still.engine.db, "full", ["agent"], limits=Limits(max_queued=2))
    client = still.client(secret)
    for n in range(2):
        assert (await client.post("/v1/jobs", json=JOB, headers={"idempotency-key": f"k{n}"})).status_code == 201
    told = []
    for path in ("/v1/jobs", "/v1/tools/submit_job"):
        answer = await client.post(path, json={**JOB, "prompt": path})
        told.append(problem_of(answer, 429, code="quota_exceeded"))
        assert answer.headers["retry-after"] == "5"
    for one in told:
        assert one["retryable"] is True and one["retry_after"] == 5.0 and one["next_action"]
    assert {key: value for key, value in told[0].items() if key != "instance"} == {
        key: value for key, value in told[1].items() if key != "instance"
    }
    # A repeated request is no new one.
    again = await client.post("/v1/jobs", json=JOB, headers={"idempotency-key": "k0"})
    assert again.status_code in (200, 201) and again.json()["created"] is False


async def test_a_deadline_is_kept_and_shown_in_the_jobs_wait(still: Hae) -> None:
    secret = await still.key("hurried", Scope.AGENT)
    made = (await still.client(secret).post("/v1/jobs", json={**JOB, "deadline_s": 30})).json()
    told = (await still.client(secret).get(f"/v1/jobs/{made['job_id']}")).json()
    assert told["deadline_at"] == told["expires_at"] > told["created_at"]
    (row,) = await still.sql.fetch(
        "SELECT deadline_at - created_at AS span, expires_at = deadline_at AS cut FROM jobs WHERE id = $1",
        told["job_id"],
    )
    assert row["span"].total_seconds() == 30 and row["cut"]
