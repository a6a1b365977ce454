from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from app.chaos.checks import MOST, findings, shortened
from app.chaos.checks_jobs import PATIENCE_S
from app.chaos.checks_rows import DeliveryKept, EventKept, SignalKept
from app.chaos.history import FaultDone
from tests.unit.chaos.runs import Run, at


def found(run: Run) -> list[str]:
    return findings(run.history, run.kept)


def names(run: Run) -> set[str]:
    return {violation.partition(":")[0] for violation in found(run)}


def test_a_good_run_is_clean() -> None:
    assert found(Run()) == []


def lose_job(run: Run) -> None:
    run.op("submit", 40, job_id="elsewhere")


def double_key(run: Run) -> None:
    run.kept.jobs["again"] = replace(run.kept.jobs["idle"], id="again")
    run.kept.keys.append(("k2", "again"))


def second_answer(run: Run) -> None:
    run.op("submit", 40, key="k1", job_id="idle")


def take_refused(run: Run) -> None:
    run.kept.jobs["extra"] = replace(run.kept.jobs["idle"], id="extra")
    run.kept.keys.append(("k3", "extra"))


def make_up_a_job(run: Run) -> None:
    run.kept.jobs["extra"] = replace(run.kept.jobs["good"], id="extra")


def forget_cancel(run: Run) -> None:
    run.change_job("stopped", cancel_requested=False, state="completed")


def ignore_cancel(run: Run) -> None:
    run.change_job("stopped", state="expired")


def cancel_unasked(run: Run) -> None:
    run.drop_ops("cancel", "stopped")


def accept_expired(run: Run) -> None:
    run.op("accept", 8, job_id="good", offer_id="o1", node_id="n1", attempt=1)


def accept_of_a_stranger(run: Run) -> None:
    run.op("accept", 8, job_id="good", offer_id="o2", node_id="n1", attempt=2)


def accept_of_nothing(run: Run) -> None:
    run.op("accept", 8, job_id="good", offer_id="o99", node_id="n1")


def accept_though_refused(run: Run) -> None:
    run.change_ops("accept", "stopped", outcome="fail")


def decline_in_vain(run: Run) -> None:
    run.change_offer("o1", state="expired")


def report_without_row(run: Run) -> None:
    del run.kept.reports["o2"]


def report_late(run: Run) -> None:
    run.kept.reports["o2"] = replace(run.kept.reports["o2"], late=True)


def count_late_report(run: Run) -> None:
    run.kept.reports["o3"] = replace(run.kept.reports["o3"], late=False)
    run.change_ops("result", "stopped", outcome="ok")


def count_refused_report(run: Run) -> None:
    run.kept.reports["o3"] = replace(run.kept.reports["o3"], late=False)


def leave_job(run: Run) -> None:
    run.change_job("good", state="running", finished_at=None)


def leave_signal(run: Run) -> None:
    run.kept.signals.append(SignalKept(1, "good", "match_due", False))


def park_signal(run: Run) -> None:
    run.kept.signals.append(SignalKept(1, "good", "match_due", True))


def sleep_in_offer(run: Run) -> None:
    moves = run.kept.history["stopped"]
    moves[2] = replace(moves[2], at=at(46))
    moves[3:] = [replace(move, at=at(47)) for move in moves[3:]]


def wrong_clock(run: Run) -> None:
    moves = run.kept.history["good"]
    moves[3] = replace(moves[3], at=at(3604))


def wrong_expiry(run: Run) -> None:
    run.change_offer("o2", expires_at=at(3607))


def event_of(run: Run, job_id: str, kind: str) -> str:
    return next(event.id for event in run.kept.events.values() if (event.job_id, event.kind) == (job_id, kind))


def miss_delivery(run: Run) -> None:
    event_id = event_of(run, "idle", "job_cancelled")
    del run.kept.deliveries[event_id, "one"]
    run.history.ops = [op for op in run.history.ops if (op.key, op.endpoint) != (event_id, "one")]


def deliver_nothing(run: Run) -> None:
    event_id = event_of(run, "idle", "job_cancelled")
    run.history.ops = [op for op in run.history.ops if (op.key, op.endpoint) != (event_id, "one")]


def deliver_refused(run: Run) -> None:
    event_id = event_of(run, "idle", "job_cancelled")
    for op in run.history.ops:
        if (op.key, op.endpoint) == (event_id, "one"):
            op.outcome = "fail"


def leave_delivery(run: Run) -> None:
    run.kept.deliveries[event_of(run, "idle", "job_cancelled"), "one"] = DeliveryKept("pending", False)


def give_up_untried(run: Run) -> None:
    deliver_nothing(run)
    run.kept.deliveries[event_of(run, "idle", "job_cancelled"), "one"] = DeliveryKept("dead", False)


def change_body(run: Run) -> None:
    run.op(
        "webhook", 40, key=event_of(run, "idle", "job_cancelled"), job_id="idle", event="job_cancelled", endpoint="one",
        digest="another body",
    )  # fmt: skip


def second_id(run: Run) -> None:
    event_id = event_of(run, "idle", "job_cancelled")
    run.kept.events["again"] = replace(run.kept.events[event_id], id="again")
    run.op("webhook", 40, key="again", job_id="idle", event="job_cancelled", endpoint="one")


def id_of_no_event(run: Run) -> None:
    run.op("webhook", 40, key="msg_1", job_id="idle", event="job_submitted", endpoint="one")


def id_of_another_event(run: Run) -> None:
    run.op(
        "webhook", 40, key=event_of(run, "good", "job_submitted"), job_id="idle", event="job_submitted", endpoint="one"
    )


def no_position(run: Run) -> None:
    run.kept.events["extra"] = EventKept("extra", "node_online", None, None)


def tell_nobody(run: Run) -> None:
    run.history.ops = [op for op in run.history.ops if op.kind != "webhook"]
    run.kept.deliveries = {}


def tell_unasked(run: Run) -> None:
    run.history.endpoints["one"] -= {"job_cancelled"}


def read_nothing(run: Run) -> None:
    run.history.ops = [op for op in run.history.ops if op.kind != "feed"]


def read_the_beginning_only(run: Run) -> None:
    run.history.ops = [op for op in run.history.ops if op.kind != "feed" or op.position < 4]


def read_the_end_only(run: Run) -> None:
    run.history.ops = [op for op in run.history.ops if op.kind != "feed" or op.position > 4]


def read_of_others(run: Run) -> None:
    run.history.readers["reader"] = frozenset({"somebody"})


def read_again(run: Run) -> None:
    run.op("feed", 41, actor="reader", position=3, key=dict(run.kept.feed)[3])


def read_something_else(run: Run) -> None:
    run.op("feed", 41, actor="reader", position=3, key=dict(run.kept.feed)[4])


def read_past(run: Run) -> None:
    run.history.ops = [op for op in run.history.ops if not (op.kind == "feed" and op.position == 4)]


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (lose_job, "lost_submit"),
        (double_key, "doubled_submit"),
        (second_answer, "doubled_submit"),
        (take_refused, "refused_submit"),
        (make_up_a_job, "unasked_job"),
        (forget_cancel, "forgotten_cancel"),
        (ignore_cancel, "ignored_cancel"),
        (cancel_unasked, "unasked_cancel"),
        (accept_expired, "empty_accept"),
        (accept_of_a_stranger, "wrong_node"),
        (accept_of_nothing, "unknown_offer"),
        (accept_though_refused, "refused_accept"),
        (decline_in_vain, "empty_decline"),
        (report_without_row, "lost_report"),
        (report_late, "lost_report"),
        (count_late_report, "late_report"),
        (count_refused_report, "refused_report"),
        (leave_job, "unfinished_job"),
        (leave_job, "stranded_job"),
        (leave_signal, "left_signal"),
        (park_signal, "parked_signal"),
        (sleep_in_offer, "idle_job"),
        (wrong_clock, "wrong_clock"),
        (wrong_expiry, "wrong_clock"),
        (miss_delivery, "missing_webhook"),
        (deliver_nothing, "missing_webhook"),
        (deliver_refused, "missing_webhook"),
        (leave_delivery, "missing_webhook"),
        (give_up_untried, "missing_webhook"),
        (tell_nobody, "missing_webhook"),
        (tell_unasked, "unwanted_webhook"),
        (read_nothing, "feed_skipped"),
        (read_the_beginning_only, "feed_skipped"),
        (read_the_end_only, "feed_skipped"),
        (read_of_others, "feed_leak"),
        (change_body, "changed_webhook"),
        (second_id, "doubled_webhook"),
        (id_of_no_event, "strange_webhook"),
        (id_of_another_event, "strange_webhook"),
        (no_position, "feed_missing"),
        (read_again, "feed_order"),
        (read_something_else, "feed_changed"),
        (read_past, "feed_skipped"),
    ],
)
def test_every_damage_is_named(damage: Callable[[Run], None], name: str) -> None:
    run = Run()
    damage(run)
    assert name in names(run)


def test_an_unknown_outcome_may_have_happened_or_not() -> None:
    run = Run()
    run.op("submit", 40, "unknown", key="k9")
    run.op("submit", 40, "unknown")
    run.kept.jobs["extra"] = replace(run.kept.jobs["good"], id="extra")
    run.change_ops("accept", "stopped", outcome="unknown")
    run.op("result", 21, "unknown", job_id="stopped", offer_id="o3", node_id="n1", attempt=1)
    run.op("accept", 41, "unknown", job_id="good", offer_id="o1", node_id="n1", attempt=1)
    assert found(run) == []


def test_what_was_answered_after_the_rows_were_read_is_unknown() -> None:
    run = Run()
    run.op("result", 61, job_id="stopped", offer_id="o3", node_id="n1", attempt=1)
    run.op("submit", 61, job_id="later")
    assert found(run) == []


def test_a_second_unexplained_job_is_one_too_many() -> None:
    run = Run()
    run.op("submit", 40, "unknown")
    for name in ("extra", "more"):
        run.kept.jobs[name] = replace(run.kept.jobs["good"], id=name)
    assert names(run) == {"unasked_job"}


def test_jobs_that_the_engine_makes_itself_need_no_client() -> None:
    run = Run()
    run.kept.jobs["derived"] = replace(run.kept.jobs["good"], id="derived", derived=True)
    assert found(run) == []


def test_a_job_that_waited_for_its_start_is_no_lost_run() -> None:
    run = Run()
    moves = run.kept.history["stopped"]
    moves[0] = replace(moves[0], target="scheduled")
    moves.insert(1, replace(moves[0], source="scheduled", target="pending", reason="start_due"))
    run.kept.history["stopped"][-1] = replace(moves[-1], target="completed", reason="result")
    run.kept.reports["o3"] = replace(run.kept.reports["o3"], late=False)
    run.change_job("stopped", state="completed")
    run.change_ops("result", "stopped", outcome="ok")
    assert found(run) == []


def test_a_cancel_that_came_after_the_end_may_change_nothing() -> None:
    run = Run()
    run.op("cancel", 12, job_id="good")
    assert found(run) == []


def test_a_job_that_waits_for_its_timer_is_not_stranded() -> None:
    run = Run()
    leave_job(run)
    leave_signal(run)
    assert names(run) == {"unfinished_job"}


def test_time_that_faults_took_is_not_idle() -> None:
    run = Run()
    sleep_in_offer(run)
    run.history.faults.append(FaultDone(kind="postgres", target="postgres", began=112, healed=120))
    assert found(run) == []


def test_a_retry_that_is_due_later_is_not_missing() -> None:
    run = Run()
    run.kept.deliveries[event_of(run, "good", "job_completed"), "one"] = DeliveryKept("pending", True)
    assert found(run) == []


def test_an_answer_that_never_ended_may_count_as_delivered() -> None:
    run = Run()
    event_id = event_of(run, "good", "job_completed")
    for op in run.history.ops:
        if (op.key, op.endpoint) == (event_id, "one"):
            op.outcome = "unknown"
    assert found(run) == []


def test_readers_miss_nothing_of_accounts_that_they_cannot_see() -> None:
    run = Run()
    hidden = run.kept.feed[4][1]
    account = run.kept.events[run.kept.feed[0][1]].account
    assert account is not None
    run.history.readers["reader"] = frozenset({account})
    run.kept.events[hidden] = replace(run.kept.events[hidden], account="other")
    run.history.ops = [op for op in run.history.ops if not (op.kind == "feed" and op.key == hidden)]
    assert found(run) == []


def test_long_lists_are_shortened_by_name() -> None:
    listed = shortened([*(f"a: {number}" for number in range(MOST + 3)), "b: 1"])
    assert len(listed) == MOST + 2
    assert "b: 1" in listed
    assert listed[-1] == "a: and 3 more"


def test_a_job_may_not_stand_still_past_its_deadline_whatever_its_state_allows() -> None:
    run = Run()
    job = run.kept.jobs["idle"]
    run.change_job("idle", queue_ttl_s=3600)
    moves = run.kept.history["idle"]
    run.kept.history["idle"] = [*moves[:-1], replace(moves[-1], at=moves[0].at + timedelta(seconds=PATIENCE_S + 20))]
    assert "idle_job" not in {one.partition(":")[0] for one in found(run)}
    run.change_job("idle", deadline_at=job.created_at + timedelta(seconds=10))
    assert "idle_job" in {one.partition(":")[0] for one in found(run)}


def test_faults_that_keep_nobody_waiting_excuse_nobody() -> None:
    run = Run()
    moves = run.kept.history["idle"]
    late = moves[0].at + timedelta(seconds=run.kept.jobs["idle"].queue_ttl_s + PATIENCE_S + 20)
    run.kept.history["idle"] = [*moves[:-1], replace(moves[-1], at=late)]
    for kind, excused in (("receivers_drip", False), ("postgres_hang", True)):
        run.history.faults = [FaultDone(kind=kind, target="", began=0.0, healed=100_000.0)] * 2
        assert ("idle_job" not in {one.partition(":")[0] for one in found(run)}) is excused
