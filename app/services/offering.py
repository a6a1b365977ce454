"""Offers of a wave: granted claims become leases, and every decision is explained."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

from app.core.events import Reason
from app.core.ids import new_id
from app.core.jobs import Offer, Visit
from app.core.lifecycle import by_deadline, next_match_look
from app.core.nodes import NodeRecord
from app.core.states import JobState, NodeState, OfferState
from app.matchmaker import replay
from app.matchmaker.explain import Choice, noted
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.relax import Outlook
from app.matchmaker.types import Candidate, Verdict
from app.services.phases import ENGINE
from app.services.waves import Wave


def offer(wave: Wave, matchmaker: Matchmaker, ttl_s: float, view_age_s: float) -> None:
    """Turn granted claims into open offers, and note for the others why there is none and when to look again.

    ``view_age_s``: of the view that the wave was matched on; infinite = never confirmed.
    """
    for job_id in wave.to_offer:
        visit = wave.visits[job_id]
        job = visit.job
        chosen: Candidate = wave.chosen.get(job_id) or wave.matches[job_id].best
        price = wave.nodes[chosen.node_id].price
        visit.new_offer = Offer(
            new_id("offer"), job.id, chosen.node_id, job.attempt, OfferState.OPEN, True, job.requirements.gpus, price,
            None, wave.now, by_deadline(job, wave.now + timedelta(seconds=ttl_s)), None, None,
        )  # fmt: skip
        job.node_id, job.offer_id, job.price = chosen.node_id, visit.new_offer.id, price
        _explain(wave, visit, matchmaker, view_age_s, chosen)
        visit.move(JobState.OFFERED, Reason.MATCHED, ENGINE, wave.now)
    for job_id in wave.unplaced:
        visit = wave.visits[job_id]
        _explain(wave, visit, matchmaker, view_age_s, None)
        visit.next_look = next_match_look(visit, wave.now, bool(wave.contended))
        visit.job.match_tries += 1


def _explain(
    wave: Wave, visit: Visit, matchmaker: Matchmaker, view_age_s: float, chosen: Candidate | None
) -> Verdict | None:
    """Store the match's explanation and inputs with the visit; the verdict on a job that got no node."""
    job = visit.job
    note = wave.decisions.of[job.id]
    match = note.match
    verdict, found = None, None
    # The nodes of other runs of its unit are as good as excluded: what is made again is made without them.
    away = wave.apart.noted.get(job.id, frozenset()) - set(job.excluded)
    excluded = [*job.excluded, *sorted(away)]
    if chosen is None:
        verdict = match.verdict or Verdict.BUSY
        if wave.contended:
            # Nodes that other waves hold were left out: that says nothing about them.
            verdict = Verdict.BUSY
        if job.id in wave.over_quota:
            verdict = Verdict.QUOTA
        asked = replace(note.query, excluded=tuple(excluded))
        found = wave.decisions.outlook(matchmaker, asked, wave.contended)
    ids = [candidate.node_id for candidate in match.candidates]
    # A choice from further down is told, too, with all that are better.
    rank = ids.index(chosen.node_id) + 1 if chosen is not None and chosen.node_id in ids else 0
    aside = set(note.query.excluded).difference(excluded, wave.contended)
    choice = Choice(chosen, max(matchmaker.top_n, rank), verdict, wave.refused.get(job.id, ()), len(aside), len(away))
    visit.explanation = noted(
        match,
        choice,
        tally=note.counted,
        view_age_s=view_age_s if math.isfinite(view_age_s) else None,
        outlook=found,
    )
    made = visit.new_offer
    claimed = None if made is None else (made.node_id, made.price, made.slots)
    visit.inputs = replay.inputs(
        note.query,
        match,
        matchmaker,
        kept=choice.kept,
        excluded=excluded,
        claimed=claimed,
        shown=_shown(visit, matchmaker, found, verdict, excluded) if found and verdict else None,
    )
    return verdict


def _shown(
    visit: Visit, matchmaker: Matchmaker, found: Outlook, verdict: Verdict, excluded: Collection[str]
) -> NodeRecord | None:
    """The node that shows why the job waits, as the view takes it; None where no node's record does.

    Not to be seen from a record are a key's quota, and that another wave holds the node.
    """
    record = matchmaker.view.get(found.witness)
    if record is None:
        return None
    if verdict is Verdict.OFFLINE and record.state is NodeState.ONLINE:
        # It is silent, which is known before its row says so.
        record = replace(record, state=NodeState.OFFLINE)
    if verdict is Verdict.DECLINED:
        shows = record.id in excluded
    else:
        shows = matchmaker.first_failure(visit.job.requirements, record) == verdict
    return record if shows else None
