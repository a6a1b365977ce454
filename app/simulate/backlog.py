"""Jobs that found no node and wait for slots: who is next when some become free on a node.

Identical waiters stand in one queue, so that a freed slot costs a handful of array operations, however many wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from app.core.requirements import Requirements
from app.matchmaker.arrays import Ints, Mask
from app.matchmaker.batch import NodeBatch

_NOBODY = np.iinfo(np.int64).max
_ANY = 2**62


class Wishes:
    """The kinds' requirements as columns, to ask which of them a node with some free slots meets."""

    def __init__(self, kinds: Sequence[Requirements], network: NodeBatch, floor: int) -> None:
        self._network = network
        self._slots = [kind.gpus for kind in kinds]
        self._gpus = np.array(self._slots, np.int64)
        self._vram = np.array([kind.min_vram_gb for kind in kinds], np.int64)
        self._capabilities = np.array([kind.capabilities for kind in kinds], np.int64)
        self._reputation = np.array([max(kind.min_reputation, floor) for kind in kinds], np.int64)
        self._price = np.array([_ANY if kind.max_price is None else kind.max_price for kind in kinds], np.int64)
        self._by_model = [
            np.array([not kind.gpu_models or name in kind.gpu_models for kind in kinds], np.bool_)
            for name in network.models
        ]
        self._by_region = [
            np.array([not kind.region or name == kind.region for kind in kinds], np.bool_) for name in network.regions
        ]

    def slots(self, kind: int) -> int:
        """Slots that a job of this kind takes."""
        return self._slots[kind]

    def met_by(self, node: int, free: int) -> Mask:
        """Which kinds the node can take now."""
        network = self._network
        met: Mask = self._by_model[network.gpu_model[node]] & self._by_region[network.region[node]]
        met &= self._gpus <= min(free, int(network.gpus[node]))
        met &= self._vram <= network.vram_gb[node]
        met &= (self._capabilities & ~network.capabilities[node]) == 0
        met &= self._reputation <= network.reputation[node]
        met &= self._price >= network.price[node]
        return met


class Backlog:
    """Queues of waiting jobs, one for each kind and key, and one for each job that has nodes ruled out.

    A queue is in order of rank, less is more urgent, and of job number among equals. Between queues the order is that
    of fairness.Line: by class of rank (``class_ms`` wide), then the key that holds the fewest slots, then rank.
    ``held``: slots held by each key, kept by the caller.
    """

    def __init__(self, wishes: Wishes, held: Sequence[int], class_ms: int) -> None:
        self._wishes = wishes
        self._held = held
        self._class_ms = class_ms
        self._queue_of: dict[int, int] = {}
        self._shared: dict[tuple[int, int], int] = {}
        self._queues: list[list[tuple[int, int]]] = []
        self._alone: set[int] = set()
        self._spare: list[int] = []
        self._heads: Ints = np.full(64, _NOBODY, np.int64)
        self._kinds: Ints = np.zeros(64, np.int64)
        self._keys: list[int] = []

    def __len__(self) -> int:
        return len(self._queue_of)

    def __contains__(self, job: object) -> bool:
        return job in self._queue_of

    def add(self, job: int, rank: int, kind: int, key: int, *, alone: bool) -> int:
        """The job waits; the number of its queue. ``alone``: it has nodes ruled out, its failure is its own."""
        at = None if alone else self._shared.get((kind, key))
        if at is None:
            at = self._new_queue(kind, key)
            if alone:
                self._alone.add(at)
            else:
                self._shared[kind, key] = at
        self._queue_of[job] = at
        heapq.heappush(self._queues[at], (rank, job))
        self._settle(at)
        return at

    def leave(self, job: int) -> bool:
        """The job waits no more; False when it did not."""
        at = self._queue_of.pop(job, None)
        if at is None:
            return False
        self._settle(at)
        return True

    def next_for(self, node: int, free: int, passed: set[int], most: int) -> list[int]:
        """Up to ``most`` of the most urgent jobs that together fit the node's free slots, taken out of the backlog.

        ``passed``: numbers of queues to leave out, whose first failed in this round.
        """
        if not self._queue_of or not free:
            return []
        count = len(self._queues)
        met = self._wishes.met_by(node, free)
        heads = np.where(met[self._kinds[:count]], self._heads[:count], _NOBODY)
        for at in passed:
            heads[at] = _NOBODY
        held = list(self._held)
        chosen: list[int] = []
        while free and len(chosen) < most:
            first = self._first(heads, held)
            if first is None:
                break
            slots = self._wishes.slots(int(self._kinds[first]))
            if slots > free:
                heads[first] = _NOBODY
                continue
            _, job = self._queues[first][0]
            self.leave(job)
            heads[first] = self._heads[first]
            free -= slots
            held[self._keys[first]] += slots
            chosen.append(job)
        return chosen

    def _first(self, heads: Ints, held: Sequence[int]) -> int | None:
        """The queue whose first is next; None when all are empty."""
        least = int(heads.min())
        if least == _NOBODY:
            return None
        beyond = (least // self._class_ms + 1) * self._class_ms
        near: list[int] = np.flatnonzero(heads < beyond).tolist()
        return min(near, key=lambda at: (held[self._keys[at]], self._queues[at][0]))

    def _settle(self, at: int) -> None:
        """Drop those that left from the queue's front, and note who is first now."""
        queue, queue_of = self._queues[at], self._queue_of
        while queue and queue_of.get(queue[0][1]) != at:
            heapq.heappop(queue)
        self._heads[at] = queue[0][0] if queue else _NOBODY
        if not queue and at in self._alone:
            self._alone.remove(at)
            self._spare.append(at)

    def _new_queue(self, kind: int, key: int) -> int:
        if self._spare:
            at = self._spare.pop()
            self._kinds[at], self._keys[at] = kind, key
            return at
        at = len(self._queues)
        self._queues.append([])
        self._keys.append(key)
        if at == len(self._heads):
            self._heads = np.concatenate((self._heads, np.full(at, _NOBODY, np.int64)))
            self._kinds = np.concatenate((self._kinds, np.zeros(at, np.int64)))
        self._kinds[at] = kind
        return at
