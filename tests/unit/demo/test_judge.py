from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.demo.judge import judge, oversubscribed, percentile
from app.services.audit import Record
from app.store.audit import JobRow, NodeRow, OfferRow
from tests.unit.demo.test_trace import JOB, NODE, changed

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONE_GPU = changed(gpus=1)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def offer(job_id: str, start: float, end: float | None, **fields: object) -> OfferRow:
    """Written down in the order of its times."""
    until = (None, None) if end is None else (at(end), round(end * 10))
    row = OfferRow(
        job_id, "n", 1, 1, True, end is None, at(start), until[0], "result", True, round(start * 10), until[1]
    )
    return replace(row, **fields)  # type: ignore[arg-type]


def row(held: int = 0, active: int = 0) -> NodeRow:
    return NodeRow("node_1", "n", 2, active, held)


def record(jobs: list[JobRow], offers: list[OfferRow]) -> Record:
    return Record(jobs, offers, [row()], {})


def test_a_good_run_is_clean() -> None:
    jobs = [JobRow("a", "completed", 20.0, at(5)), JobRow("b", "completed", 10.0, at(4))]
    found = judge(record(jobs, [offer("a", 0, 5), offer("b", 0, 4)]), {"a": ONE_GPU, "b": ONE_GPU}, {"n": NODE})
    assert found.clean
    assert found.states == {"completed": 2}
    assert found.assigned_ms == [10.0, 20.0]
    assert found.first_completed == at(4).timestamp()


@pytest.mark.parametrize(
    ("offers", "faulty"),
    [
        ([offer("a", 0, 5), offer("b", 1, 4)], False),
        ([offer("a", 0, 5), offer("b", 1, 4), offer("c", 3, 9)], True),
        ([offer("a", 0, 5), offer("b", 1, 4), offer("c", 4, 9)], False),
        ([offer("a", 0, 5, slots=3)], True),
        ([offer("a", 0, None, holds_slots=False)], True),
    ],
)
def test_slots_are_replayed(offers: list[OfferRow], faulty: bool) -> None:
    assert oversubscribed(offers, [row()], {"n": NODE}) == ({"n"} if faulty else set())


def test_of_transactions_side_by_side_the_one_that_came_first_counts() -> None:
    """One began earlier, and waited for the other's rows."""
    full = [offer("a", 0, 5, slots=2), offer("b", 4, 9)]
    assert oversubscribed(full, [row()], {"n": NODE}) == {"n"}
    assert oversubscribed([full[0], replace(full[1], taken=51)], [row()], {"n": NODE}) == set()


def test_a_counter_that_is_off_is_found() -> None:
    assert oversubscribed([], [row(held=1, active=1)], {"n": NODE}) == set()
    assert oversubscribed([], [row(held=0, active=1)], {"n": NODE}) == {"n"}
    assert oversubscribed([], [row(held=3, active=3)], {"n": NODE}) == {"n"}


def test_lost_and_doubled_jobs_are_found() -> None:
    jobs = [JobRow("a", "running", None, None), JobRow("x", "completed", 1.0, at(1))]
    found = judge(record(jobs, []), {"a": JOB, "gone": JOB}, {"n": NODE})
    assert (found.lost, found.duplicates, found.clean) == (2, 1, False)
    assert judge(record(jobs[1:], []), {"x": JOB}, {"n": NODE}, missing=3).lost == 3


def test_violations_are_found() -> None:
    jobs = [JobRow("a", "completed", 1.0, at(1))]
    for wrong in (changed(gpus=1, region="NA"), changed(gpus=2)):
        assert judge(record(jobs, [offer("a", 0, 1)]), {"a": wrong}, {"n": NODE}).violations == 1
    assert judge(record(jobs, [offer("a", 0, 1, wallet="stranger")]), {"a": ONE_GPU}, {"n": NODE}).violations == 1


def test_reputation_earned_before_the_offer_counts() -> None:
    jobs = [JobRow("a", "completed", 1.0, at(1)), JobRow("b", "completed", 1.0, at(9))]
    acknowledged = {"a": ONE_GPU, "b": changed(gpus=1, min_reputation=501)}
    assert judge(record(jobs, [offer("a", 0, 1), offer("b", 2, 9)]), acknowledged, {"n": NODE}).violations == 0
    assert judge(record(jobs, [offer("a", 0, 3), offer("b", 2, 9)]), acknowledged, {"n": NODE}).violations == 1


def test_fallbacks_and_reruns_are_told_apart() -> None:
    gone = {"accepted": False, "completed": False}
    offers = [
        offer("a", 0, 1, ended="offer_declined", **gone),
        offer("a", 1, 2, attempt=2, ended="node_offline", completed=False),
        offer("a", 2, 3, attempt=3, ended="run_failed", completed=False),
        offer("a", 3, 4, attempt=4),
        offer("b", 0, 1, ended="offer_expired", **gone),
    ]
    jobs = [JobRow("a", "completed", 1.0, at(4)), JobRow("b", "expired", None, at(9))]
    found = judge(record(jobs, offers), {"a": ONE_GPU, "b": ONE_GPU}, {"n": NODE})
    assert (found.fallbacks, found.reruns) == (2, 1)


def test_percentiles_are_nearest_rank() -> None:
    values = [float(n) for n in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (50.0, 99.0, 100.0)
    assert percentile([7.0], 0.5) == 7.0
    assert percentile([], 0.5) == 0.0
