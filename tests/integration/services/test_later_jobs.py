"""Jobs with a start ahead, jobs run once more, and the end of many at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.core.errors import Conflict, IdempotencyClash, InvalidInput, NotFound
from app.core.requirements import Requirements
from app.core.states import ExcludeNodes
from app.services import cancelling, jobs, offers, repeating
from app.services.cancelling import Wanted
from app.services.jobs import Submitted
from app.services.repeating import Changes
from app.services.submissions import Submission
from app.store.db import Database
from tests import factories
from tests.factories import OWNER, STRANGER, sql

PAST = datetime(2020, 1, 1, tzinfo=UTC)


async def one(db: Database, wish: Submission) -> Submitted:
    (answer,) = await jobs.submit(db, [wish])
    assert isinstance(answer, Submitted)
    return answer


async def test_a_start_ahead_makes_a_scheduled_job_whose_queue_time_counts_from_then(db: Database) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=3)
    made = await one(db, factories.submission(start_at=ahead, queue_ttl_s=60, deadline_s=86_400))
    assert (made.state, made.created) == ("scheduled", True)
    ((state, reason, start, ends, deadline, created),) = await sql(
        db, "SELECT state, reason, start_at, expires_at, deadline_at, created_at FROM jobs"
    )
    assert (state, reason, start, ends) == ("scheduled", "scheduled", ahead, ahead + timedelta(seconds=60))
    assert deadline == created + timedelta(days=1)
    assert await sql(db, "SELECT from_state, to_state, reason FROM job_history") == [(None, "scheduled", "scheduled")]
    assert await sql(db, "SELECT kind, due_at FROM signals") == [("start_due", ahead)]


async def test_a_delay_counts_from_submission_and_is_the_same_request_when_it_comes_again(db: Database) -> None:
    wish = factories.submission(delay_s=600, idempotency_key="k")
    first = await one(db, wish)
    again = await one(db, wish)
    assert (first.created, again.created, again.job_id, again.state) == (True, False, first.job_id, "scheduled")
    ((waits,),) = await sql(db, "SELECT start_at - created_at FROM jobs")
    assert waits == timedelta(minutes=10)


async def test_a_start_that_has_passed_is_now(db: Database) -> None:
    made = await one(db, factories.submission(start_at=PAST))
    assert made.state == "pending"
    assert await sql(db, "SELECT state, start_at FROM jobs") == [("pending", None)]


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"delay_s": 60, "deadline_s": 60}, "deadline_s"), ({"start_at": datetime(2300, 1, 1, tzinfo=UTC)}, "start_at")],
)
async def test_a_start_that_is_too_late_keeps_nothing_and_nobody_out(
    db: Database, changes: dict[str, Any], field: str
) -> None:
    wrong = factories.submission(idempotency_key="k", **changes)
    refused, taken = await jobs.submit(db, [wrong, factories.submission()])
    assert isinstance(refused, InvalidInput) and refused.field == field
    assert isinstance(taken, Submitted) and taken.created
    assert await sql(db, "SELECT count(*) FROM idempotency_keys") == [(0,)]
    assert (await one(db, factories.submission(idempotency_key="k"))).created


async def test_cancelling_those_named_says_what_became_of_each(db: Database) -> None:
    mine = await factories.submit(db, 3)
    (theirs,) = await factories.submit(db, principal=STRANGER)
    await jobs.cancel(db, OWNER, mine[0])
    done = await cancelling.cancel_named(db, OWNER, [*mine, theirs, "job_none", mine[1]])
    assert (done.asked, done.unchanged, done.unknown) == (mine[1:], [mine[0]], [theirs, "job_none"])
    await factories.run_waves(factories.runner(db))
    states = dict(await sql(db, "SELECT id, state FROM jobs"))
    assert [states[job_id] for job_id in (*mine, theirs)] == ["cancelled"] * 3 + ["pending"]
    again = await cancelling.cancel_named(db, OWNER, mine)
    assert (again.asked, again.unchanged) == ([], mine)
    with pytest.raises(InvalidInput):
        await cancelling.cancel_named(db, OWNER, [f"job_{number}" for number in range(1001)])


async def test_a_filter_takes_the_oldest_first_and_says_whether_there_are_more(db: Database) -> None:
    renders = await factories.submit(db, 3, type="render")
    later = await factories.submit(db, delay_s=600, type="render")
    others = await factories.submit(db, 2)
    await factories.submit(db, type="render", principal=STRANGER)
    found = await cancelling.cancel_matching(db, OWNER, Wanted(types=["render"], states=["pending"]), limit=2)
    assert (found.asked, found.more) == (renders[:2], True)
    found = await cancelling.cancel_matching(db, OWNER, Wanted(types=["render"], states=["pending"]), limit=2)
    assert (found.asked, found.more) == (renders[2:], False)
    found = await cancelling.cancel_matching(db, OWNER, Wanted(states=["scheduled"]))
    assert found.asked == later
    assert (await cancelling.cancel_matching(db, OWNER, Wanted(submitted_before=PAST))).asked == []
    assert (await cancelling.cancel_matching(db, OWNER, Wanted(schedule_id="sched_1"))).asked == []
    soon = datetime.now(UTC) + timedelta(hours=1)
    assert (await cancelling.cancel_matching(db, OWNER, Wanted(submitted_before=soon))).asked == others
    with pytest.raises(InvalidInput):
        await cancelling.cancel_matching(db, OWNER, Wanted())


async def test_of_many_that_cancel_at_once_each_job_is_asked_once_by_one_of_them(db: Database) -> None:
    ids = await factories.submit(db, 40)
    wanted = Wanted(states=["pending"])
    done = await asyncio.gather(
        *(cancelling.cancel_matching(db, OWNER, wanted) for _ in range(3)),
        *(cancelling.cancel_named(db, OWNER, ids[::-1]) for _ in range(3)),
        *(jobs.cancel(db, OWNER, job_id) for job_id in ids[:5]),
    )
    asked = [job_id for each in done if isinstance(each, cancelling.Cancelled) for job_id in each.asked]
    assert len(asked) == len(set(asked))
    assert set(ids[5:]) <= set(asked)
    assert await sql(db, "SELECT count(*) FROM signals WHERE kind = 'cancel_requested'") == [(40,)]


async def finished(db: Database, **changes: Any) -> str:
    """A job that is completed; its id."""
    waves = factories.runner(db)
    await factories.node(db)
    (offer,) = await factories.accepted(db, waves, **changes)
    assert await offers.report(db, [offers.new_report(offer.id, offer.node_id, ok=True)]) == [None]
    await factories.run_waves(waves)
    assert await factories.state_of(db, offer.job_id) == "completed"
    return offer.job_id


async def test_a_rerun_asks_for_the_same_under_a_new_id(db: Database) -> None:
    job_id = await finished(
        db, requirements=Requirements(gpus=2), deadline_s=900, max_attempts=9, retry_backoff_s=2,
        retry_backoff_max_s=8, exclude_nodes=ExcludeNodes.LAST, requirements_hash="a" * 64,
    )  # fmt: skip
    made = await repeating.rerun(db, OWNER, job_id, Changes())
    assert made.created and made.job_id != job_id
    first, again = await jobs.get(db, OWNER, job_id), await jobs.get(db, OWNER, made.job_id)
    kept = (
        "account", "type", "requirements", "policy", "priority", "timeout_s", "max_retries", "queue_ttl_s",
        "max_attempts", "retry_backoff_s", "retry_backoff_max_s", "exclude_nodes", "requirements_hash",
    )  # fmt: skip
    assert {name: getattr(again.job, name) for name in kept} == {name: getattr(first.job, name) for name in kept}
    assert (again.payload, again.job.rerun_of, again.job.state) == (first.payload, job_id, "pending")
    assert again.job.deadline_at is not None
    assert (again.job.deadline_at - again.job.created_at).total_seconds() == 900


async def test_a_rerun_with_changes_is_another_request(db: Database) -> None:
    job_id = await finished(db, requirements_hash="a" * 64, deadline_s=900)
    changes = Changes(priority=7, timeout_s=5, queue_ttl_s=6, deadline_s=0, max_retries=2)
    made = await repeating.rerun(db, OWNER, job_id, changes)
    job = (await jobs.get(db, OWNER, made.job_id)).job
    assert (job.priority, job.timeout_s, job.queue_ttl_s, job.deadline_at, job.max_retries) == (7, 5, 6, None, 2)
    assert job.requirements_hash == ""


async def test_reruns_at_once_under_one_key_make_one_job(db: Database) -> None:
    job_id = await finished(db)
    made = await asyncio.gather(*(repeating.rerun(db, OWNER, job_id, Changes(), idempotency_key="k") for _ in range(5)))
    assert len({one.job_id for one in made}) == 1
    assert [one.created for one in made].count(True) == 1
    with pytest.raises(IdempotencyClash):
        await repeating.rerun(db, OWNER, job_id, Changes(priority=3), idempotency_key="k")


async def test_what_may_not_be_run_again(db: Database) -> None:
    (job_id,) = await factories.submit(db)
    with pytest.raises(Conflict) as refused:
        await repeating.rerun(db, OWNER, job_id, Changes())
    assert refused.value.code == "job_not_over"
    with pytest.raises(NotFound):
        await repeating.rerun(db, STRANGER, job_id, Changes())
    assert await sql(db, "SELECT count(*) FROM jobs") == [(1,)]
