"""The feasible nodes of one question, kept while only loads change: the jobs of a wave are often alike.

Between two of them the view has changed in the slots that the jobs between took, and in nothing else: the question is
answered from what is kept, with those few slots looked at anew.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from app.matchmaker.arrays import Ints, Positions, Scores
from app.matchmaker.blocks import BlockTable
from app.matchmaker.packing import FREE, Probe
from app.matchmaker.policy import Policy
from app.matchmaker.rank import hash_job, shortlist, tie_hashes
from app.matchmaker.search import AT_ONCE, Found, scan

MOST_BLOCKS: Final = AT_ONCE
"""Larger networks are searched by their bounds: most of their nodes are never looked at."""


class Standing:
    """All nodes that fit a probe, with their sort keys under a policy. ``left``: how many there are.

    ``seen``: entries of the table's ``lowered_slots`` that have been taken in. Void with the next row that is written.
    """

    __slots__ = (
        "_at",
        "_cheapest",
        "_cheapest_score",
        "_cheapest_slot",
        "_keys",
        "_percent",
        "_policy",
        "_prices",
        "_quality",
        "_scores",
        "_slots",
        "_table",
        "left",
        "probe",
        "seen",
    )

    def __init__(self, table: BlockTable, probe: Probe, blocks: Positions, policy: Policy) -> None:
        weights = policy.weights_with(table.weights)
        self.probe = probe
        self._table, self._policy = table, policy
        self._quality, self._percent = weights.quality, weights.price
        slots = scan(table, probe, blocks)
        self._slots: Positions = slots
        self.left = len(slots)
        self._prices: Ints = table.columns.price[slots]
        self._scores: Scores = table.scores(slots, self._quality)
        self._at = dict(zip(slots.tolist(), range(self.left), strict=True))
        self._keys: list[Scores] = []
        self.seen = len(table.lowered_slots)
        if self.left:
            self._measure()

    def _measure(self) -> None:
        """Find the cheapest, and with it the keys."""
        prices = self._prices[: self.left]
        # Of several the one that a search finds: the first in the order of slots.
        least = np.flatnonzero(prices == prices.min())
        at = int(least[self._slots[least].argmin()])
        self._cheapest, self._cheapest_slot = int(prices[at]), int(self._slots[at])
        self._cheapest_score = int(self._scores[at])
        keys = self._policy.keys(self._scores[: self.left], prices, self._cheapest, self._percent)
        self._keys = [np.array(key) for key in keys]

    def follow(self) -> None:
        """Take in what has become of the slots since: they only became fuller."""
        lowered = self._table.lowered_slots
        gone = False
        for slot in lowered[self.seen :]:
            at = self._at.get(slot)
            if at is None:
                continue
            if FREE.of(int(self._table.columns.have[slot])) < self.probe.slots:
                self._remove(slot, at)
                gone |= slot == self._cheapest_slot
            else:
                self._rescore(slot, at)
        self.seen = len(lowered)
        if gone and self.left:
            self._measure()

    def _remove(self, slot: int, at: int) -> None:
        """The last row takes the place of this one."""
        del self._at[slot]
        self.left = last = self.left - 1
        if at != last:
            for column in (self._slots, self._prices, self._scores, *self._keys):
                column[at] = column[last]
            self._at[int(self._slots[at])] = at

    def _rescore(self, slot: int, at: int) -> None:
        score = self._table.scores(self._slots[at : at + 1], self._quality)
        self._scores[at : at + 1] = score
        if slot == self._cheapest_slot:
            self._cheapest_score = int(score[0])
        keys = self._policy.keys(score, self._prices[at : at + 1], self._cheapest, self._percent)
        for column, key in zip(self._keys, keys, strict=True):
            column[at] = key[0]

    def best(self, job_id: str, n: int) -> Found:
        """As a search for the ``n`` best nodes would find them. Only while there are any."""
        slots, ties = self._slots[: self.left], self._table.columns.tie
        prices, scores = self._prices[: self.left], self._scores[: self.left]
        keys = tuple(key[: self.left] for key in self._keys)
        if self.left > n:
            picked = shortlist(keys, lambda at: tie_hashes(hash_job(job_id), ties[slots[at]]), n)
            slots, prices, scores = slots[picked], prices[picked], scores[picked]
            keys = tuple(key[picked] for key in keys)
        return Found(slots, keys, prices, scores, self._cheapest, self._cheapest_slot, self._cheapest_score)


class Standings:
    """What is kept of questions that were asked more than once since the last row was written.

    By the question's requirements and policy; questions with exclusions are not among them.
    """

    def __init__(self) -> None:
        self._kept: dict[object, Standing | None] = {}
        self._void_at = -1

    def of(self, table: BlockTable, key: object) -> Standing | None:
        """The standing kept for a question, up to date."""
        if self._void_at != table.standings_void:
            return None
        kept = self._kept.get(key)
        if kept is not None:
            kept.follow()
        return kept

    def note(self, table: BlockTable, key: object, probe: Probe, blocks: Positions, policy: Policy) -> None:
        """Note that a question is about to be searched for; the second time, what answers its like is gathered."""
        if self._void_at != table.standings_void or len(self._kept) >= KEPT:
            self._kept.clear()
            self._void_at = table.standings_void
        again = key in self._kept and 0 < len(blocks) <= MOST_BLOCKS
        self._kept[key] = Standing(table, probe, blocks, policy) if again else None


KEPT: Final = 64
"""Questions at a time."""
