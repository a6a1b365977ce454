"""Jobs and what their clients and nodes were told: pure checks of the clients' record against the rows.

Every check yields ``name: detail`` strings, one a violation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

from app.chaos.checks_rows import JobKept, Kept, MoveKept, OfferKept
from app.chaos.history import History, Op
from app.core.states import JOB_FINAL, JOB_ON_NODE, JobState

_FINAL = frozenset(state.value for state in JOB_FINAL)
_ON_NODE = frozenset(state.value for state in JOB_ON_NODE)
_CLOCK_SLACK = timedelta(seconds=30)
"""Far more than transactions and clocks of one machine differ by, far less than clocks are put wrong by."""
_SAME_MOMENT = timedelta(seconds=2)
"""How far the record's clock and the database's may have come apart on one machine."""
PATIENCE_S = 30.0
"""How much longer than its deadline a job may stand still while nothing is wrong: pick-up, waves and locks."""


def submits(history: History, kept: Kept) -> Iterator[str]:
    """An acknowledged submit is one job for ever, a key is one job at most, and every job was asked for."""
    ops = [op for op in history.ops if op.kind == "submit"]
    made: dict[str, set[str]] = defaultdict(set)
    outcomes: dict[str, set[str]] = defaultdict(set)
    for op in ops:
        if op.outcome == "ok" and op.job_id not in kept.jobs:
            yield f"lost_submit: job {op.job_id} was acknowledged to {op.actor} and is not there"
        if op.key:
            outcomes[op.key].add(op.outcome)
            if op.outcome == "ok":
                made[op.key].add(op.job_id)
    for key, job_id in kept.keys:
        if key in outcomes:
            made[key].add(job_id)
    for key, job_ids in made.items():
        if len(job_ids) > 1:
            yield f"doubled_submit: key {key} made {len(job_ids)} jobs: {', '.join(sorted(job_ids))}"
        if outcomes[key] == {"fail"}:
            yield f"refused_submit: key {key} was only ever refused, and made {', '.join(sorted(job_ids))}"
    asked = {op.job_id for op in ops if op.outcome == "ok"}.union(*made.values())
    unasked = [job.id for job in kept.jobs.values() if not job.derived and job.id not in asked]
    unsure = sum(op.outcome == "unknown" and not op.key for op in ops)
    if len(unasked) > unsure:
        yield f"unasked_job: {len(unasked)} jobs that nobody submitted, {unsure} of them maybe: {unasked[:5]}"


def cancels(history: History, kept: Kept) -> Iterator[str]:
    """An acknowledged cancel stays known and ends its job, and nobody's job is cancelled unasked."""
    tried: set[str] = set()
    for op in history.ops:
        if op.kind != "cancel":
            continue
        if op.outcome != "fail":
            tried.add(op.job_id)
        job = kept.jobs.get(op.job_id)
        if op.outcome != "ok" or job is None or job.cancel_requested:
            continue
        over = job.finished_at is not None and job.finished_at <= kept.when(op.ended) + _SAME_MOMENT
        if not over:
            yield f"forgotten_cancel: of job {job.id}, acknowledged to {op.actor}; it is {job.state}"
    for job in kept.jobs.values():
        if job.cancel_requested and job.state in _FINAL and job.state not in ("cancelled", "completed"):
            yield f"ignored_cancel: job {job.id} is {job.state}"
        if job.state == "cancelled" and not job.derived and job.id not in tried:
            yield f"unasked_cancel: job {job.id} is cancelled, and nobody asked for it"


def node_calls(history: History, kept: Kept) -> Iterator[str]:
    """What a node was told about an offer is what became of the offer, and a refused call changed nothing."""
    ended = _ends(kept)
    taken: dict[tuple[str, str], set[str]] = defaultdict(set)
    for op in history.ops:
        # The operators' protocol knows no offers: those of its calls that cannot be told are left out.
        if op.kind not in ("accept", "decline", "progress", "result", "failure") or not op.offer_id:
            continue
        offer = kept.offers.get(op.offer_id)
        taken[op.kind, op.offer_id].add(op.outcome)
        if op.outcome != "ok":
            continue
        if offer is None:
            yield f"unknown_offer: {op.kind} of offer {op.offer_id} was taken, and it is not there"
        elif op.node_id != offer.node_id:
            yield f"wrong_node: {op.kind} of offer {offer.id} was taken from node {op.node_id}"
        else:
            yield from _told(op, offer, kept, ended)
    for offer in kept.offers.values():
        if taken.get(("accept", offer.id)) == {"fail"} and _assigned(offer, kept):
            yield f"refused_accept: offer {offer.id} was refused to its node, and job {offer.job_id} was assigned by it"
        report = kept.reports.get(offer.id)
        # Failures may be the engine's own words: a node that starts again gives up what it held.
        counts = report is not None and report.ok and not report.late
        if counts and taken.get(("result", offer.id)) == {"fail"}:
            yield f"refused_report: offer {offer.id} has a result that counts, and every one was refused"


def _told(op: Op, offer: OfferKept, kept: Kept, ended: dict[tuple[str, int], MoveKept]) -> Iterator[str]:
    name = f"of offer {offer.id} (job {offer.job_id}, attempt {offer.attempt}) was acknowledged to {op.actor}"
    if op.kind == "accept" and not _assigned(offer, kept):
        yield f"empty_accept: an acceptance {name}, and the job was not assigned by it"
    if op.kind == "decline" and (offer.state != "declined" or _assigned(offer, kept)):
        yield f"empty_decline: a decline {name}, and the offer is {offer.state}"
    if op.kind not in ("result", "failure"):
        return
    report = kept.reports.get(offer.id)
    if report is None or report.late or report.node_id != offer.node_id:
        yield f"lost_report: a {op.kind} {name}, and none is there that counts"
        return
    end = ended.get((offer.job_id, offer.attempt))
    if report.ok and (end is None or end.target != "completed"):
        came = "nothing came of it" if end is None else f"the attempt ended with {end.reason}"
        yield f"late_report: a result {name} as one that counts, and {came}"


def _assigned(offer: OfferKept, kept: Kept) -> bool:
    return any(
        move.target == "assigned" and move.attempt == offer.attempt and move.node_id == offer.node_id
        for move in kept.history.get(offer.job_id, ())
    )


def _ends(kept: Kept) -> dict[tuple[str, int], MoveKept]:
    """By job and attempt, the move that took it from its node."""
    ended: dict[tuple[str, int], MoveKept] = {}
    for job_id, moves in kept.history.items():
        for move in moves:
            if move.source in _ON_NODE and (move.target == "pending" or move.target in _FINAL):
                ended.setdefault((job_id, move.attempt), move)
    return ended


def ends(kept: Kept) -> Iterator[str]:
    """After healing every job is over, and nothing is left to be done about it."""
    looked_at = {signal.job_id for signal in kept.signals if not signal.parked}
    for job in kept.jobs.values():
        if job.state not in _FINAL:
            yield f"unfinished_job: job {job.id} is {job.state} since {_since(job, kept)}"
            if job.id not in looked_at and job.state != JobState.BLOCKED:
                yield f"stranded_job: job {job.id} is {job.state}, and nothing will have it looked at again"
    for signal in kept.signals:
        if signal.parked:
            yield f"parked_signal: {signal.kind} of job {signal.job_id}"
        elif signal.job_id in kept.jobs and kept.jobs[signal.job_id].state in _FINAL:
            yield f"left_signal: {signal.kind} of job {signal.job_id}, which is over"


def _since(job: JobKept, kept: Kept) -> datetime:
    moves = kept.history.get(job.id)
    return moves[-1].at if moves else job.created_at


def idle(history: History, kept: Kept) -> Iterator[str]:
    """No job stood still past what bounds its state, but for what the faults meanwhile took of the time."""
    offered = {(offer.job_id, offer.attempt): offer for offer in kept.offers.values()}
    faults = _joined(
        [
            (kept.when(fault.began), kept.when(fault.healed))
            for fault in history.faults
            if not fault.kind.startswith(_BESIDE)
        ]
    )
    for job in kept.jobs.values():
        moves = kept.history.get(job.id, [])
        for number, move in enumerate(moves):
            left = moves[number + 1].at if number + 1 < len(moves) else kept.now
            bound = _bound(job, move, offered.get((job.id, move.attempt)))
            if bound is None or left <= move.at + bound + timedelta(seconds=PATIENCE_S):
                continue
            troubled = sum((max(_NO_TIME, min(left, to) - max(move.at, since)) for since, to in faults), _NO_TIME)
            if left - move.at > bound + troubled + timedelta(seconds=PATIENCE_S):
                stood = (left - move.at).total_seconds()
                yield f"idle_job: job {job.id} was {move.target} for {stood:.1f} s of {bound.total_seconds():g} s"


_NO_TIME = timedelta(0)
_BESIDE = ("receivers_", "fork", "rpc", "websocket", "chain_link", "valkey", "clock_jump")
"""Faults that keep no job from going on."""


def _joined(spans: list[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """The same times, none of them twice."""
    joined: list[tuple[datetime, datetime]] = []
    for since, to in sorted(spans):
        if joined and since <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], to))
        else:
            joined.append((since, to))
    return joined


def _bound(job: JobKept, move: MoveKept, offer: OfferKept | None) -> timedelta | None:
    """The longest that a job may stay in the state that ``move`` brought it to, None for as long as it likes."""
    if move.target == "scheduled" and job.start_at is not None:
        return job.start_at - move.at
    if move.target == "cancelling":
        return _NO_TIME
    longest: timedelta | None = None
    if move.target == "pending":
        longest = timedelta(seconds=job.queue_ttl_s + job.backoff_s)
    elif move.target == "offered" and offer is not None:
        longest = offer.expires_at - offer.created_at
    elif move.target in ("assigned", "running"):
        longest = timedelta(seconds=job.timeout_s)
    if longest is None or job.deadline_at is None:
        return longest
    return max(_NO_TIME, min(longest, job.deadline_at - move.at))


def times(history: History, kept: Kept) -> Iterator[str]:
    """Everything kept of the jobs happened during the run, by the database's clock."""
    if not history.ops:
        return
    first = kept.when(min(op.began for op in history.ops)) - _CLOCK_SLACK
    last = kept.now + _CLOCK_SLACK
    for job in kept.jobs.values():
        told = [job.created_at, job.finished_at, *(move.at for move in kept.history.get(job.id, ()))]
        wrong = next((at for at in told if at is not None and not first <= at <= last), None)
        if wrong is not None:
            yield f"wrong_clock: job {job.id} has a time of {wrong}, outside the run"
    for offer in kept.offers.values():
        if not first <= offer.expires_at <= last:
            yield f"wrong_clock: offer {offer.id} (job {offer.job_id}) expires at {offer.expires_at}, outside the run"
