"""The histories of generated jobs."""

from __future__ import annotations

import pytest

from app.bench.growth_rows import SHORTEST, life, parameters
from app.core.states import JOB_FINAL, JOB_MOVES, JobState


@pytest.mark.parametrize("length", range(SHORTEST, 16))
@pytest.mark.parametrize("ran", [True, False])
def test_every_move_of_a_generated_history_is_legal(length: int, ran: bool) -> None:
    made = life(length, ran=ran)
    assert len(made.rows) == length
    at = None
    for was, to, _, reason in made.rows[:-1]:
        assert was == at
        assert to is not None and reason
        assert at is None or JobState(to) in JOB_MOVES[JobState(at)]
        at = to
    was, to, _, reason = made.rows[-1]
    assert (was, to, reason) == (at, None, None)
    ends = {JobState.COMPLETED, JobState.FAILED} if ran else {JobState.CANCELLED, JobState.EXPIRED}
    assert at is not None and ends <= set(JOB_MOVES[JobState(at)]) & JOB_FINAL


@pytest.mark.parametrize("ran", [True, False])
def test_attempts_rise_by_one_after_each_declined_offer(ran: bool) -> None:
    made = life(11, ran=ran)
    attempt = 1
    for _, _, of_row, reason in made.rows:
        assert of_row == attempt
        attempt += reason == "offer_declined"
    assert made.attempts == attempt > 1


def test_both_lives_are_given_row_by_row() -> None:
    ran, waited, length, *columns = parameters(10)
    assert length == 10
    assert (ran, waited) == (life(10, ran=True).attempts, life(10, ran=False).attempts)
    rows = list(zip(*columns, strict=True))
    assert [row[:4] for row in rows] == [*life(10, ran=True).rows, *life(10, ran=False).rows]
    assert [row[4:] for row in rows] == [(step, kind) for kind in (True, False) for step in range(1, 11)]
