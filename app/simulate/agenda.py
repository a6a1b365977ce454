"""What is to happen when, in virtual time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

NEVER: Final = 2**62
_KIND_SHIFT, _TIME_SHIFT = 40, 44
_WHO, _ATTEMPT = 0xFFFFFFFF, 0xFF


class Kind(IntEnum):
    """Events in the order in which they happen at one instant: what gives slots back comes before who takes them."""

    DONE = 0
    FAILED = 1
    DECLINED = 2
    LAPSED = 3
    SILENT = 4
    DETECTED = 5
    BACK = 6
    EXPIRE = 7
    ROUND = 8


class Agenda:
    """Events by time, kind, number of job or node, and attempt.

    An event is one integer, time first: they sort faster than tuples and take a quarter of the memory. Of an attempt
    the lowest eight bits are kept, see ``same_attempt``.
    """

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        self._heap: list[int] = []

    def push(self, at: int, kind: int, who: int, attempt: int = 0) -> None:
        """Note an event for virtual millisecond ``at``."""
        heapq.heappush(self._heap, at << _TIME_SHIFT | kind << _KIND_SHIFT | who << 8 | attempt & _ATTEMPT)

    def next_at(self) -> int:
        """When the next event is; NEVER without one."""
        return self._heap[0] >> _TIME_SHIFT if self._heap else NEVER

    def take(self, now: int) -> Iterator[tuple[int, int, int]]:
        """``(kind, who, attempt)`` of all events up to ``now``, those included that are noted meanwhile."""
        heap, limit = self._heap, (now + 1) << _TIME_SHIFT
        while heap and heap[0] < limit:
            event = heapq.heappop(heap)
            yield event >> _KIND_SHIFT & 0xF, event >> 8 & _WHO, event & _ATTEMPT


def same_attempt(kept: int, attempt: int) -> bool:
    """Whether an event of the attempt ``kept`` is of this one: 256 attempts of a job are never under way at once."""
    return kept == attempt & _ATTEMPT
