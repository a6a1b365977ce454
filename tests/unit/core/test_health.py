"""Penalties fall on time, whoever looks and how often; the circuit breaker counts only what is the node's doing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.health import MAX_COOLDOWN, Health, HealthRules, IncidentKind, cooldown, decayed, judged
from app.core.states import NodeState

NOW = datetime(2026, 1, 2, tzinfo=UTC)
RULES = HealthRules(decline_penalty=20, failure_penalty=100, breaker_failures=3, trial_jobs=2)
GOOD, DECLINED, MISSED, LOST, AWAY = IncidentKind
ONLINE = NodeState.ONLINE


def after(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def judge(
    *kinds: IncidentKind, health: Health | None = None, state: NodeState = ONLINE, rules: HealthRules = RULES
) -> tuple[Health, bool]:
    """The kinds one second after the other, the last of them now."""
    incidents = [(NOW - timedelta(seconds=len(kinds) - at), kind) for at, kind in enumerate(kinds, 1)]
    return judged(health or Health(), state, incidents, rules, NOW)


def test_a_penalty_halves_in_its_half_life_and_runs_out() -> None:
    of = Health(penalty=1000, penalised_at=NOW)
    falls = [decayed(of, RULES, after(minutes)).penalty for minutes in (0, 2.4, 2.5, 5, 10, 20, 30, 60)]
    assert falls == [1000, 1000, 841, 707, 500, 250, 125, 15]
    assert decayed(of, RULES, after(2_000)) == Health()


def test_small_penalties_do_not_stand_still() -> None:
    of = Health(penalty=40, penalised_at=NOW)
    falls = [decayed(of, RULES, NOW + step * RULES.step).penalty for step in range(20)]
    assert falls == [40, 34, 29, 24, 20, 17, 14, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]


@settings(max_examples=60)
@given(st.integers(0, 1000), st.lists(st.integers(0, 10**9), max_size=8), st.sampled_from((1, 7.5, 600, 86_400)))
def test_how_often_it_is_looked_at_makes_no_difference(penalty: int, looks: list[int], half_life_s: float) -> None:
    rules = replace(RULES, half_life=timedelta(seconds=half_life_s))
    start = Health(penalty=penalty, penalised_at=NOW if penalty else None, suspensions=1)
    end = NOW + timedelta(microseconds=10**9)
    often = start
    for look in sorted(looks):
        before, often = often, decayed(often, rules, NOW + timedelta(microseconds=look))
        assert often.penalty <= before.penalty
    assert decayed(often, rules, end) == decayed(start, rules, end)


def test_a_clock_that_is_behind_the_row_changes_nothing() -> None:
    of = Health(penalty=40, penalised_at=after(1))
    assert decayed(of, RULES, NOW) == of


def test_what_each_incident_costs() -> None:
    assert judge(DECLINED) == (Health(penalty=20, penalised_at=NOW), False)
    assert judge(MISSED) == (Health(penalty=20, penalised_at=NOW), False)
    assert judge(LOST) == (Health(penalty=100, penalised_at=NOW, failures_in_row=1), False)
    assert judge(GOOD) == (Health(), False)
    assert judge(*[DECLINED] * 60)[0].penalty == 1000


def test_a_new_incident_adds_to_what_is_left() -> None:
    of = Health(penalty=100, penalised_at=NOW - timedelta(minutes=11))
    found, _ = judge(DECLINED, health=of)
    # One minute into the fifth step, which ends when it would have ended.
    assert (found.penalty, found.penalised_at) == (70, NOW - timedelta(minutes=1))


def test_lost_runs_in_a_row_shut_out_and_good_ones_in_between_do_not() -> None:
    shut_out = Health(300, NOW, 0, 2, 1, NOW + timedelta(seconds=60))
    assert judge(LOST, LOST, LOST) == (shut_out, True)
    assert judge(LOST, LOST, GOOD, LOST, LOST)[1] is False
    assert judge(LOST, LOST, LOST, GOOD)[1] is True
    assert judge(LOST, health=Health(failures_in_row=2))[1] is True
    assert judge(DECLINED, MISSED, DECLINED, MISSED)[1] is False


def test_the_order_in_which_they_are_told_does_not_matter() -> None:
    told = [(after(1), LOST), (after(3), GOOD), (after(2), LOST), (after(4), LOST)]
    assert judged(Health(), ONLINE, told, RULES, after(5)) == judged(Health(), ONLINE, told[::-1], RULES, after(5))
    assert judged(Health(), ONLINE, told, RULES, after(5))[0].failures_in_row == 1


def test_whatever_is_lost_by_going_away_counts_once() -> None:
    assert judge(AWAY, AWAY, AWAY, AWAY) == (Health(100, NOW, 1), False)
    assert judge(LOST, LOST, AWAY)[1] is True


def test_zero_failures_never_shut_out() -> None:
    never = replace(RULES, breaker_failures=0)
    found, shut_out = judge(*[LOST] * 50, rules=never, health=Health(trial=1))
    assert (found.failures_in_row, found.suspended_until, shut_out) == (50, None, False)


@pytest.mark.parametrize("state", [NodeState.SUSPENDED, NodeState.DEREGISTERED])
def test_nothing_is_held_against_a_node_that_is_out_already(state: NodeState) -> None:
    of = Health(100, NOW, 0, 2, 1, after(1))
    assert judge(LOST, LOST, LOST, AWAY, MISSED, GOOD, health=of, state=state) == (of, False)


def test_good_jobs_end_the_trial_and_one_lost_run_the_chance() -> None:
    on_trial = Health(penalty=100, penalised_at=NOW, trial=2, suspensions=1)
    assert judge(GOOD, health=on_trial)[0].trial == 1
    assert judge(GOOD, GOOD, GOOD, health=on_trial)[0].trial == 0
    found, shut_out = judge(GOOD, LOST, health=on_trial)
    assert shut_out and (found.trial, found.suspensions) == (2, 2)
    assert found.suspended_until == NOW + timedelta(seconds=120)
    assert judge(GOOD, GOOD, LOST, health=on_trial)[1] is False


def test_suspensions_double_up_to_a_day_and_are_forgotten_with_the_penalty() -> None:
    assert [cooldown(n, RULES).total_seconds() for n in (0, 1, 2, 10, 11, 30_000)] == [
        60,
        120,
        240,
        61_440,
        86_400,
        86_400,
    ]
    assert cooldown(32_767, replace(RULES, cooldown=MAX_COOLDOWN)) == MAX_COOLDOWN
    of = Health(penalty=1, penalised_at=NOW, suspensions=3)
    assert decayed(of, RULES, after(1)).suspensions == 3
    assert decayed(of, RULES, after(3)).suspensions == 0
    assert decayed(replace(of, trial=1), RULES, after(3)).suspensions == 3
    assert decayed(replace(of, suspended_until=after(9)), RULES, after(3)).suspensions == 3
