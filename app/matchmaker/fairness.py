"""Who is next: the order of jobs that want nodes, by waiting time and priority, deadlines, shares and quotas.

Ranks are whole microseconds, less is more urgent: ``created - priority * age``. Ageing is linear, so the order of two
jobs never changes while they wait: an index can hold it, and with priorities of 0..9 a job is only ever overtaken by
jobs that were submitted less than ``10 * age`` after it. Nothing starves.

Jobs whose ranks fall into the same class, a span of one step of priority, count as equally urgent. Among those the keys
take turns: the next slot is for the key that holds the fewest slots for its weight. That is weighted max-min fairness
by progressive filling, which is Dominant Resource Fairness (Ghodsi et al., NSDI 2011, algorithm 1) with the slot as the
only resource. Within a key, the earliest deadline goes first (Liu and Layland 1973), then the lower rank, then the id.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final

NEVER: Final = 2**62
"""The deadline, in microseconds, of a job that has none."""

_FRACTION: Final = 32
"""Bits behind the point of slots per weight: unequal shares of up to 2**20 slots and weights to 1000 stay unequal."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one API key may have. ``weight``: 1..1000. ``max_active``: slots it may hold at once, 0 = any number.

    ``held``: slots that its jobs hold now.
    """

    weight: int = 1
    max_active: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class Waiter:
    """A job that wants ``slots`` of one node. ``rank`` and ``deadline`` in microseconds, NEVER where there is none."""

    job_id: str
    key_id: str
    slots: int
    rank: int
    deadline: int = NEVER


def rank_us(created_us: int, priority: int, age_us: int) -> int:
    """When the job was submitted, put back by ``age_us`` for each step of priority: less is more urgent."""
    return created_us - priority * age_us


class Line:
    """The waiters in the order of right, given out one at a time; say ``grant`` for each that got its slots.

    What a key is granted counts for its share at once, so who comes next depends on it: a waiter for whom there was no
    node costs its key nothing. ``over_quota``: waiters passed over as their key may hold no more slots. They hold back
    the key's later jobs, so that a job of many slots is not overtaken for ever, unless it asks for more than the key
    may ever hold.
    """

    def __init__(self, waiters: Iterable[Waiter], shares: Mapping[str, Share], class_us: int) -> None:
        """``shares`` by key id, Share() for those missing. ``class_us``: width of a class of ranks, above 0."""
        self.over_quota: list[Waiter] = []
        self._class_us = class_us
        self._waiters = sorted(waiters, key=lambda one: (one.rank // class_us, one.deadline, one.rank, one.job_id))
        self._shares = {waiter.key_id: shares.get(waiter.key_id, _PLAIN) for waiter in self._waiters}
        self._held = {key_id: share.held for key_id, share in self._shares.items()}
        self._blocked: set[str] = set()

    def __iter__(self) -> Iterator[Waiter]:
        for _, alike in groupby(self._waiters, key=lambda one: one.rank // self._class_us):
            yield from self._class(list(alike))

    def grant(self, waiter: Waiter) -> None:
        """The waiter got its slots."""
        self._held[waiter.key_id] += waiter.slots

    def revoke(self, waiter: Waiter) -> None:
        """The waiter lost the slots it was granted."""
        self._held[waiter.key_id] -= waiter.slots

    def room(self, key_id: str) -> int:
        """Slots that the key may still be granted."""
        limit = self._shares[key_id].max_active
        return limit - self._held[key_id] if limit else NEVER

    def _class(self, alike: list[Waiter]) -> Iterator[Waiter]:
        queues: dict[str, list[Waiter]] = {}
        for waiter in reversed(alike):
            queues.setdefault(waiter.key_id, []).append(waiter)
        turns = [(*self._turn(queue[-1]), key_id) for key_id, queue in queues.items()]
        heapq.heapify(turns)
        while turns:
            key_id = turns[0][-1]
            waiter = queues[key_id].pop()
            if self._may(waiter):
                yield waiter
            else:
                self.over_quota.append(waiter)
            if queues[key_id]:
                heapq.heapreplace(turns, (*self._turn(queues[key_id][-1]), key_id))
            else:
                heapq.heappop(turns)

    def _turn(self, head: Waiter) -> tuple[int, int, int, str]:
        per_weight = (self._held[head.key_id] << _FRACTION) // self._shares[head.key_id].weight
        return per_weight, head.deadline, head.rank, head.job_id

    def _may(self, waiter: Waiter) -> bool:
        key_id = waiter.key_id
        if key_id in self._blocked:
            return False
        if waiter.slots <= self.room(key_id):
            return True
        if waiter.slots <= self._shares[key_id].max_active:
            self._blocked.add(key_id)
        return False


_PLAIN: Final = Share()
