"""What a run leaves behind: every hold of slots, every wait, how every job ended."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from enum import IntEnum


class JobEnd(IntEnum):
    """How far a job came by the end of the run."""

    UNSEEN = 0
    """Not submitted when the run was stopped."""
    WAITING = 1
    OFFERED = 2
    RUNNING = 3
    COMPLETED = 4
    FAILED = 5
    """Lost more runs than its retries allow."""
    EXPIRED = 6


class HoldEnd(IntEnum):
    """Why a job gave a node's slots back."""

    OPEN = 0
    """It held them when the run ended."""
    COMPLETED = 1
    FAILED = 2
    DECLINED = 3
    LAPSED = 4
    """The node was silent, and the offer ran out."""
    LOST = 5
    """The node was silent for too long, with the job on it."""


def _column() -> array[int]:
    return array("q")


@dataclass(slots=True)
class Trail:
    """Columns of virtual milliseconds and numbers of jobs and nodes.

    A hold is from offer to release: ``hold_job``, ``hold_node``, ``hold_from``, ``hold_to`` (-1 while OPEN) and
    ``hold_end``. A stay is a time in the backlog: ``stay_job``, ``stay_from``, ``stay_to`` (-1 = to the end). By job:
    ``ends``, ``waits`` (submission to first acceptance, -1 without). Sums over the first acceptances of the jobs that
    count: ``regret`` and ``overpaid`` (in millionths), ``response`` (ms), ``accepted``. ``outages``: (node, silent
    from, online again). ``match_ns``: wall-clock nanoseconds of each match.
    """

    ends: bytearray
    waits: array[int]
    hold_job: array[int] = field(default_factory=_column)
    hold_node: array[int] = field(default_factory=_column)
    hold_from: array[int] = field(default_factory=_column)
    hold_to: array[int] = field(default_factory=_column)
    hold_end: bytearray = field(default_factory=bytearray)
    stay_job: array[int] = field(default_factory=_column)
    stay_from: array[int] = field(default_factory=_column)
    stay_to: array[int] = field(default_factory=_column)
    outages: list[tuple[int, int, int]] = field(default_factory=list)
    match_ns: array[int] = field(default_factory=_column)
    accepted: int = 0
    regret: int = 0
    overpaid: int = 0
    response: int = 0
    end_ms: int = 0
    complete: bool = False
