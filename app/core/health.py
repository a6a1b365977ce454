"""The health of a node: what declines, missed offers and lost runs cost it, and when it is shut out. Pure decisions.

A penalty (points off the reputation in the ranking) falls in whole steps of a quarter of its half-life, and each step
moves ``penalised_at`` on by exactly that quarter. So it is the same whether a node is looked at often or rarely, and
the same on every machine: integers only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

from app.core.states import NodeState

MAX_PENALTY: Final = 1000
MAX_COOLDOWN: Final = timedelta(days=1)
_MAX_DOUBLINGS: Final = 27
"""A millisecond doubled so often is more than a day; a day doubled so often still fits a timedelta."""
_MAX_IN_ROW: Final = 2**15 - 1
_QUARTER: Final = 55_109
"""2 ** (-1/4) in 1/65536."""


@dataclass(frozen=True, slots=True)
class HealthRules:
    """Points a declined or missed offer and a lost run cost, the time in which they halve, and the circuit breaker.

    ``breaker_failures``: runs lost in a row that suspend a node, 0 = never. ``cooldown``: of a first suspension.
    ``trial_jobs``: good jobs, one at a time, that a node let back in has to do.
    """

    decline_penalty: int = 20
    failure_penalty: int = 100
    half_life: timedelta = timedelta(seconds=600)
    breaker_failures: int = 5
    cooldown: timedelta = timedelta(seconds=60)
    trial_jobs: int = 2

    @property
    def step(self) -> timedelta:
        """The time between two steps of a falling penalty."""
        return max(self.half_life / 4, timedelta(microseconds=1))


@dataclass(frozen=True, slots=True)
class Health:
    """A node's health as its row says it.

    ``penalty``: 0..1000, as of ``penalised_at``, which is None without one. ``failures_in_row``: runs lost since the
    last good one. ``trial``: good jobs it has yet to do, one at a time. ``suspended_until``: set while the circuit
    breaker shuts it out, ``suspensions`` times so far.
    """

    penalty: int = 0
    penalised_at: datetime | None = None
    failures_in_row: int = 0
    trial: int = 0
    suspensions: int = 0
    suspended_until: datetime | None = None


class IncidentKind(IntEnum):
    """What a node did about a job."""

    GOOD = 0
    """Ran it to a good end."""
    DECLINED = 1
    MISSED = 2
    """Let the offer expire."""
    LOST = 3
    """Its run failed or timed out."""
    AWAY = 4
    """Fell silent or started afresh with it: whatever it held then is lost at one stroke, and counts once."""


Incident = tuple[datetime, IncidentKind]
"""When it happened, by the database clock, and what."""


def judged(
    health: Health, state: NodeState, incidents: Iterable[Incident], rules: HealthRules, now: datetime
) -> tuple[Health, bool]:
    """The health after these incidents, and whether they shut the node out.

    The order of ``incidents`` does not matter, their times do. What is still heard of a node that is shut out already
    changes nothing: it was given no chance to do better.
    """
    after = decayed(health, rules, now)
    if state in (NodeState.SUSPENDED, NodeState.DEREGISTERED):
        return after, False
    went_away = False
    for _, kind in sorted(incidents):
        if kind is IncidentKind.GOOD:
            if after.failures_in_row or after.trial:
                after = replace(after, failures_in_row=0, trial=max(0, after.trial - 1))
            continue
        if kind in (IncidentKind.DECLINED, IncidentKind.MISSED):
            after = _penalised(after, rules.decline_penalty, now)
            continue
        if kind is IncidentKind.AWAY:
            if went_away:
                continue
            went_away = True
        in_row = min(_MAX_IN_ROW, after.failures_in_row + 1)
        after = replace(_penalised(after, rules.failure_penalty, now), failures_in_row=in_row)
        if rules.breaker_failures and (after.trial or in_row >= rules.breaker_failures):
            return _shut_out(after, rules, now), True
    return after, False


def decayed(health: Health, rules: HealthRules, now: datetime) -> Health:
    """The health after the time that has passed: each step takes the penalty down by a fourth root of two, rounded to
    the nearest point, and by one point at least. Suspensions are forgotten with the last point."""
    penalty, at = health.penalty, health.penalised_at
    if not penalty and at is None and not health.suspensions:
        return health
    if penalty and at is not None:
        steps = max(0, (now - at) // rules.step)
        at += steps * rules.step
        while steps and penalty:
            penalty = min(penalty - 1, (penalty * _QUARTER + 32_768) >> 16)
            steps -= 1
    forgotten = not penalty and not health.trial and health.suspended_until is None
    suspensions = 0 if forgotten else health.suspensions
    return replace(health, penalty=penalty, penalised_at=at if penalty else None, suspensions=suspensions)


def cooldown(suspensions: int, rules: HealthRules) -> timedelta:
    """How long a node is shut out that was so ``suspensions`` times before: twice as long each time, at most a day."""
    doubled: timedelta = rules.cooldown * 2 ** min(suspensions, _MAX_DOUBLINGS)
    return min(MAX_COOLDOWN, doubled)


def _penalised(health: Health, points: int, now: datetime) -> Health:
    penalty = min(MAX_PENALTY, health.penalty + points)
    return replace(health, penalty=penalty, penalised_at=(health.penalised_at or now) if penalty else None)


def _shut_out(health: Health, rules: HealthRules, now: datetime) -> Health:
    return replace(
        health,
        failures_in_row=0,
        trial=rules.trial_jobs,
        suspensions=min(_MAX_IN_ROW, health.suspensions + 1),
        suspended_until=now + cooldown(health.suspensions, rules),
    )
