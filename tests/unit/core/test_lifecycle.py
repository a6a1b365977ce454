"""What a job's rows call for next, case by case."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.chain import ChainView, PaymentState
from app.core.errors import IllegalTransition
from app.core.events import NOTIFIED, Reason
from app.core.jobs import Job, Offer, Report, Visit
from app.core.lifecycle import (
    SETTLEMENT_EVENT,
    Phase,
    counts_against_node,
    counts_as_failure,
    next_match_look,
    next_settlement,
    operator_mismatch,
    phase_of,
    rank_at,
    run_deadline,
    setback,
)
from app.core.requirements import Requirements
from app.core.states import JOB_FINAL, SETTLEMENT_MOVES, JobState, OfferState, Settlement

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def job(state: JobState = JobState.OFFERED, **changes: Any) -> Job:
    made = Job(
        id="job_1", account="acme", type="render", state=state, settlement=Settlement.NONE, reason="", attempt=1,
        failures=0, version=1, requirements=Requirements(), policy="cheapest", priority=0, timeout_s=60, max_retries=1,
        queue_ttl_s=600, excluded=[], match_tries=0, cancel_requested=False, node_id="node_1", offer_id="offer_1",
        price=1, cost=None, error=None, created_at=NOW, expires_at=NOW + 600 * SECOND, assigned_at=None,
        started_at=None, finished_at=None,
    )  # fmt: skip
    return replace(made, **changes)


def offer(state: OfferState = OfferState.OPEN, **changes: Any) -> Offer:
    decided = None if state is OfferState.OPEN else NOW
    made = Offer(
        "offer_1", "job_1", "node_1", 1, state, True, 1, 1, None, NOW - SECOND, NOW + SECOND, decided, None
    )  # fmt: skip
    return replace(made, **changes)


def report(ok: bool) -> Report:
    return Report("offer_1", ok, None if ok else "broke", NOW)


def visit(the_job: Job, the_offer: Offer | None = None, the_report: Report | None = None, **changes: Any) -> Visit:
    return Visit(the_job, the_offer, the_report, set(), **changes)


OPEN, ACCEPTED, DECLINED = offer(), offer(OfferState.ACCEPTED), offer(OfferState.DECLINED)
EXPIRED_OFFER = offer(expires_at=NOW)
OVERDUE = offer(OfferState.ACCEPTED, decided_at=NOW - 60 * SECOND)
STARTED = offer(OfferState.ACCEPTED, started_at=NOW)
S, P, R = JobState, Phase, Reason

CASES: list[tuple[str, Visit, Phase, Reason | None]] = [
    ("pending", visit(job(S.PENDING)), P.ADMIT, None),
    ("pending, cancelled", visit(job(S.PENDING, cancel_requested=True)), P.FINISH, None),
    ("pending, time over", visit(job(S.PENDING, expires_at=NOW)), P.FINISH, None),
    ("blocked", visit(job(S.BLOCKED)), P.REST, None),
    ("blocked, cancelled", visit(job(S.BLOCKED, cancel_requested=True)), P.FINISH, None),
    ("scheduled, cancelled", visit(job(S.SCHEDULED, cancel_requested=True)), P.FINISH, None),
    ("offer open", visit(job(), OPEN), P.REST, None),
    ("offer open, queue time over", visit(job(expires_at=NOW), OPEN), P.REST, None),
    ("offer open, cancelled", visit(job(cancel_requested=True), OPEN), P.FINISH, None),
    ("offer run out this instant", visit(job(), EXPIRED_OFFER), P.ADMIT, R.OFFER_EXPIRED),
    ("offer open, node silent", visit(job(), OPEN, node_online=False), P.ADMIT, R.NODE_OFFLINE),
    ("offer open, node drains", visit(job(), OPEN, node_draining=True), P.ADMIT, R.DRAINED),
    ("offer declined", visit(job(), DECLINED), P.ADMIT, R.OFFER_DECLINED),
    ("offer declined, cancelled", visit(job(cancel_requested=True), DECLINED), P.FINISH, R.OFFER_DECLINED),
    ("offer withdrawn", visit(job(), offer(OfferState.WITHDRAWN)), P.ADMIT, R.OFFER_EXPIRED),
    ("accepted", visit(job(), ACCEPTED), P.START, None),
    ("accepted, then silent", visit(job(), ACCEPTED, node_online=False), P.ADMIT, R.NODE_OFFLINE),
    ("accepted, node drains", visit(job(), ACCEPTED, node_draining=True), P.START, None),
    ("accepted and done", visit(job(), ACCEPTED, report(True)), P.START, None),
    ("accepted and failed", visit(job(), ACCEPTED, report(False)), P.ADMIT, R.RUN_FAILED),
    ("assigned", visit(job(S.ASSIGNED), ACCEPTED), P.REST, None),
    ("assigned, first progress", visit(job(S.ASSIGNED), STARTED), P.START, None),
    ("assigned, done", visit(job(S.ASSIGNED), ACCEPTED, report(True)), P.FINISH, None),
    ("assigned, overdue", visit(job(S.ASSIGNED), OVERDUE), P.ADMIT, R.RUN_TIMED_OUT),
    ("assigned, overdue and done", visit(job(S.ASSIGNED), OVERDUE, report(True)), P.FINISH, None),
    ("assigned, silent and done", visit(job(S.ASSIGNED), ACCEPTED, report(True), node_online=False), P.FINISH, None),
    ("assigned, cancelled", visit(job(S.ASSIGNED, cancel_requested=True), ACCEPTED), P.FINISH, None),
    ("cancelled, yet done", visit(job(S.ASSIGNED, cancel_requested=True), ACCEPTED, report(True)), P.FINISH, None),
    ("running", visit(job(S.RUNNING), STARTED), P.REST, None),
    ("running, silent", visit(job(S.RUNNING), STARTED, node_online=False), P.ADMIT, R.NODE_OFFLINE),
    ("running, failed", visit(job(S.RUNNING), STARTED, report(False)), P.ADMIT, R.RUN_FAILED),
    ("cancelled, failed", visit(job(S.RUNNING, cancel_requested=True), STARTED, report(False)), P.FINISH, R.RUN_FAILED),
    ("running, done", visit(job(S.RUNNING), STARTED, report(True)), P.FINISH, None),
    ("offer open, too late", visit(job(deadline_at=NOW), OPEN), P.ADMIT, R.DEADLINE_PASSED),
    ("offer run out with the deadline", visit(job(deadline_at=NOW), EXPIRED_OFFER), P.ADMIT, R.DEADLINE_PASSED),
    ("offer declined, too late", visit(job(deadline_at=NOW), DECLINED), P.ADMIT, R.OFFER_DECLINED),
    ("running, too late", visit(job(S.RUNNING, deadline_at=NOW), STARTED), P.ADMIT, R.DEADLINE_PASSED),
    ("running, in time", visit(job(S.RUNNING, deadline_at=NOW + SECOND), STARTED), P.REST, None),
    ("overdue, too late", visit(job(S.ASSIGNED, deadline_at=NOW), OVERDUE), P.ADMIT, R.RUN_TIMED_OUT),
    ("done, too late", visit(job(S.RUNNING, deadline_at=NOW), STARTED, report(True)), P.FINISH, None),
]  # fmt: skip


@pytest.mark.parametrize(("at", "phase", "reason"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_phase_and_setback(at: Visit, phase: Phase, reason: Reason | None) -> None:
    assert phase_of(at, NOW) is phase
    assert setback(at, NOW) is reason


@pytest.mark.parametrize("state", sorted(JOB_FINAL))
@pytest.mark.parametrize("asked", [False, True])
def test_what_is_over_rests_whatever_comes(state: JobState, asked: bool) -> None:
    for the_offer in (None, OPEN, ACCEPTED, DECLINED, OVERDUE):
        for the_report in (None, report(True), report(False)):
            late = visit(job(state, cancel_requested=asked), the_offer, the_report, node_online=False)
            assert phase_of(late, NOW) is Phase.REST
            assert setback(late, NOW) is None


def said(payment: PaymentState, mismatch: str | None = None) -> ChainView:
    return ChainView("address", payment, "fake_mint" if payment is PaymentState.INVALID else None, mismatch)


PAID = [said(payment, mismatch) for payment in PaymentState for mismatch in (None, "completed_operator")]


@pytest.mark.parametrize("chain", PAID, ids=lambda chain: f"{chain.payment}, {chain.mismatch}")
@pytest.mark.parametrize("settlement", Settlement)
def test_what_the_chain_says_moves_a_settlement_within_the_table_and_to_rest(
    settlement: Settlement, chain: ChainView
) -> None:
    at = visit(job(S.COMPLETED, settlement=settlement, version=7), chain=chain)
    due = next_settlement(settlement, chain) is not None
    assert phase_of(at, NOW) is (P.SETTLE if due else P.REST)
    while (move := next_settlement(at.job.settlement, chain)) is not None:
        assert len(at.settlements) < 3
        at.settle(*move, "chain")
    assert at.job.version == 7 + len(at.settlements)
    assert all(move.target in SETTLEMENT_MOVES[move.source] for move in at.settlements)
    # Only what is final decides, and only a payment without fault settles.
    decided = [move.target for move in at.settlements if move.target in (Settlement.SETTLED, Settlement.DISPUTED)]
    final, good = chain.payment in ("valid", "invalid"), chain.payment == "valid" and chain.mismatch is None
    assert not decided or final
    assert (Settlement.SETTLED in decided) <= good
    assert (at.moves, at.job.state) == ([], S.COMPLETED)
    if settlement is Settlement.AWAITING and final:
        assert at.job.settlement is (Settlement.SETTLED if good else Settlement.DISPUTED)


@pytest.mark.parametrize("settlement", Settlement)
def test_without_an_account_on_chain_nothing_settles(settlement: Settlement) -> None:
    assert next_settlement(settlement, None) is None


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        (said(PaymentState.INVALID), "fake_mint"),
        (said(PaymentState.INVALID, "completed_operator"), "fake_mint"),
        (said(PaymentState.VALID, "completed_operator"), "completed_operator"),
        (ChainView("address", PaymentState.INVALID, None, None), Reason.PAYMENT_FINAL),
    ],
)
def test_a_dispute_says_why(chain: ChainView, reason: str) -> None:
    assert next_settlement(Settlement.OBSERVED, chain) == (Settlement.DISPUTED, reason)


def test_a_payment_of_a_job_that_goes_on_changes_nothing() -> None:
    for state in (S.PENDING, S.ASSIGNED, S.RUNNING):
        at = visit(job(state), ACCEPTED)
        paid = visit(job(state), ACCEPTED, chain=said(PaymentState.VALID))
        assert phase_of(paid, NOW) is phase_of(at, NOW)
    for state in (S.FAILED, S.CANCELLED, S.EXPIRED):
        assert phase_of(visit(job(state), chain=said(PaymentState.VALID)), NOW) is P.REST


def test_a_settlement_moves_within_the_table_only() -> None:
    at = visit(job(S.COMPLETED, settlement=Settlement.SETTLED))
    with pytest.raises(IllegalTransition):
        at.settle(Settlement.DISPUTED, "fake_mint", "chain")
    assert (at.job.settlement, at.job.version, at.settlements) == (Settlement.SETTLED, 1, [])
    # Every move has its event, and those that decide are told by webhook.
    reached = {target for targets in SETTLEMENT_MOVES.values() for target in targets}
    assert SETTLEMENT_EVENT.keys() == reached
    assert {SETTLEMENT_EVENT[Settlement.SETTLED], SETTLEMENT_EVENT[Settlement.DISPUTED]} <= NOTIFIED


@pytest.mark.parametrize(
    ("assigned", "completed", "expected"),
    [
        (None, None, None),
        ("wallet", None, None),
        ("wallet", "owner", None),
        ("other", None, "assigned_operator"),
        ("other", "wallet", "assigned_operator"),
        ("wallet", "other", "completed_operator"),
        ("other", "other", "completed_operator"),
    ],
)
def test_operators_on_chain_are_held_against_ours(
    assigned: str | None, completed: str | None, expected: str | None
) -> None:
    assert operator_mismatch({"wallet", "owner"}, assigned, completed) == expected


def test_only_runs_that_were_lost_count_as_failures() -> None:
    counted = {reason for reason in Reason if counts_as_failure(reason)}
    lost = {Reason.RUN_FAILED, Reason.RUN_TIMED_OUT, Reason.NODE_RESTARTED, Reason.NODE_OFFLINE, Reason.LEASE_LOST}
    assert counted == lost


def test_the_time_out_counts_from_the_acceptance() -> None:
    assert run_deadline(visit(job(S.ASSIGNED)), ACCEPTED) == NOW + 60 * SECOND


@pytest.mark.parametrize("seconds", [1, 59, 60, 61])
def test_a_jobs_own_deadline_cuts_its_time_out(seconds: int) -> None:
    late = visit(job(S.ASSIGNED, deadline_at=NOW + seconds * SECOND))
    assert run_deadline(late, ACCEPTED) == NOW + min(seconds, 60) * SECOND


def test_a_deadline_that_passes_is_not_the_nodes_fault() -> None:
    assert not counts_as_failure(Reason.DEADLINE_PASSED)
    assert not counts_against_node(Reason.DEADLINE_PASSED)


def test_a_step_of_priority_is_worth_its_age_of_waiting() -> None:
    young = job(S.PENDING, priority=2, created_at=NOW)
    assert (
        rank_at(young, 60 * SECOND)
        == NOW - 120 * SECOND
        == rank_at(job(S.PENDING, created_at=NOW - 120 * SECOND), 60 * SECOND)
    )


@given(st.integers(0, 10_000), st.booleans())
def test_the_next_look_comes_later_and_later_and_never_after_the_end(tries: int, contended: bool) -> None:
    at = next_match_look(visit(job(S.PENDING, match_tries=tries)), NOW, contended)
    later = next_match_look(visit(job(S.PENDING, match_tries=tries + 1)), NOW, contended)
    assert NOW < at <= later <= NOW + timedelta(seconds=2 if contended else 30)
    hurried = next_match_look(visit(job(S.PENDING, match_tries=tries, expires_at=NOW + SECOND / 100)), NOW, contended)
    assert hurried == NOW + SECOND / 100


def test_a_move_keeps_its_history_and_a_wrong_one_changes_nothing() -> None:
    at = visit(job(S.ASSIGNED))
    with pytest.raises(IllegalTransition):
        at.move(S.OFFERED, Reason.MATCHED, "engine", NOW)
    assert (at.job.state, at.job.version, at.moves) == (S.ASSIGNED, 1, [])
    at.move(S.COMPLETED, Reason.RESULT, "node_1", NOW)
    assert (at.job.state, at.job.version, at.job.finished_at, at.job.final) == (S.COMPLETED, 2, NOW, True)
    assert at.origin == (S.ASSIGNED, 1, 1)
    (move,) = at.moves
    assert (move.source, move.target, move.attempt, move.node_id) == (S.ASSIGNED, S.COMPLETED, 1, "node_1")


@pytest.mark.parametrize(
    ("assigned", "finished", "expected"),
    [(None, NOW, None), (NOW, None, None), (NOW, NOW + 1.5 * SECOND, 1500), (NOW, NOW - SECOND, 0)],
)
def test_duration(assigned: datetime | None, finished: datetime | None, expected: int | None) -> None:
    assert job(assigned_at=assigned, finished_at=finished).duration_ms == expected
