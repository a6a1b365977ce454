"""The search over blocks: exact, and done when no block that was not scanned can win.

The total of a node depends on the cheapest feasible price, which is not known beforehand. So every round first scans
what may hold a cheaper node than the cheapest found, and what may beat the n-th best found at that price; it ends when
neither is left. A block that could only tie is scanned, too: ties go by a hash, and must not depend on the layout.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

import numpy as np

from app.matchmaker.arrays import Ints, Mask, Positions, Scores
from app.matchmaker.blocks import BlockTable
from app.matchmaker.bounds import NEVER, known_rows
from app.matchmaker.columns import BLOCK
from app.matchmaker.packing import CAPACITY, GUARD, Probe
from app.matchmaker.policy import Policy
from app.matchmaker.rank import hash_job, lowest, shortlist, tie_hashes
from app.matchmaker.scores import unpacked
from app.matchmaker.terms import Terms

AT_ONCE: Final = 24
"""Blocks that are scanned without a look at their bounds: up to there the look costs more than it saves."""

FEW: Final = 12
"""Blocks that are scanned without even asking which of them may hold a node that fits."""

FIRST: Final = 3
"""Most promising blocks of a first round: mostly there is no need for a second."""

_GUARD: Final = np.uint64(GUARD)
_SHIFT: Final = BLOCK.bit_length() - 1
_WITHIN: Final = BLOCK - 1
_NOTHING: Final = np.empty(0, np.int64)


class Found(NamedTuple):
    """Slots that hold the n best nodes, in no order, and perhaps some that equal the n-th; with their sort keys.

    ``cheapest``, ``cheapest_slot``, ``cheapest_score``: price, slot and score of the cheapest of all feasible nodes.
    """

    slots: Positions
    keys: tuple[Scores, ...]
    prices: Ints
    scores: Scores
    cheapest: int
    cheapest_slot: int
    cheapest_score: int


def scan(table: BlockTable, probe: Probe, blocks: Positions) -> Positions:
    """The slots of ``blocks``, which are some and in rising order, that fit the probe."""
    columns, first, count = table.columns, int(blocks[0]), len(blocks)
    # Blocks side by side, as a model's are after a layout, are looked at where they are.
    together = int(blocks[-1]) - first == count - 1
    span = slice(first, first + count)
    words = columns.have_blocks[span] if together else columns.have_blocks.take(blocks, axis=0)
    words = words - np.uint64(probe.needle)
    words &= _GUARD
    ok: Mask = words == _GUARD
    if probe.mask:
        traits = columns.traits_blocks[span] if together else columns.traits_blocks.take(blocks, axis=0)
        ok &= (traits & np.uint64(probe.mask)) == np.uint64(probe.value)
    at = ok.ravel().nonzero()[0]
    slots: Positions
    if together:
        at += first << _SHIFT
        slots = at
    else:
        slots = (blocks << _SHIFT)[at >> _SHIFT]
        slots += at & _WITHIN
    if probe.max_price is not None:
        slots = slots[columns.price[slots] <= probe.max_price]
    return slots


def without(slots: Positions, excluded: Collection[int]) -> Positions:
    """``slots`` but the excluded ones."""
    if len(excluded) > 8:
        return slots[~np.isin(slots, np.fromiter(excluded, np.intp, len(excluded)))]
    for slot in excluded:
        slots = slots[slots != slot]
    return slots


def exists(table: BlockTable, probe: Probe, models: tuple[int, ...] | None, excluded: Collection[int]) -> bool:
    """Whether some known node, busy or not, fits the probe and has the slots it asks for."""
    blocks = table.known.passing(probe, table.blocks_of(models))
    start, size = 0, AT_ONCE
    while start < len(blocks):
        slots = without(scan(table, probe, blocks[start : start + size]), excluded)
        words = table.columns.have[slots]
        if np.any(known_rows(words) & (unpacked(words, CAPACITY) >= probe.slots)):
            return True
        start, size = start + size, size * 2
    return False


class Search:
    """One search for the ``n`` best nodes of a job."""

    def __init__(
        self, table: BlockTable, probe: Probe, models: tuple[int, ...] | None, excluded: Collection[int], n: int
    ) -> None:
        self.table = table
        self.probe = probe
        self.excluded = excluded
        self.n = n
        blocks = table.blocks_of(models)
        self.blocks = blocks if len(blocks) <= FEW else table.open.passing(probe, blocks)

    def run(self, policy: Policy, job_id: str) -> Found | None:
        """The best nodes under ``policy``; None when no node is feasible. ``job_id`` breaks ties."""
        if not len(self.blocks):
            return None
        weights = policy.weights_with(self.table.weights)
        pool = _Pool(self.table, policy, weights.quality, weights.price, self.n)
        if len(self.blocks) <= AT_ONCE:
            pool.add(self._scan(self.blocks))
        else:
            self._rounds(pool)
        return pool.best(job_id)

    def _scan(self, blocks: Positions) -> Positions:
        slots = scan(self.table, self.probe, blocks)
        return without(slots, self.excluded) if self.excluded else slots

    def _rounds(self, pool: _Pool) -> None:
        table, blocks, policy = self.table, self.blocks, pool.policy
        lows = table.open.price[blocks]
        tops = table.score_bound(pool.quality)[blocks]
        left = np.ones(len(blocks), np.bool_)
        cheapest = int(lows.argmin())
        least = int(lows[cheapest])
        bound = policy.keys(tops, lows, least, pool.percent)
        take = np.array(sorted({*lowest(bound[0], FIRST), cheapest}))
        most = AT_ONCE
        while True:
            left[take] = False
            pool.add(self._scan(blocks[take]))
            need = left
            if len(pool.slots) >= self.n and left.any():
                limit = pool.limit()
                if pool.cheapest != least:
                    # Of what may be cheaper the key is not known yet; of the rest it is no better than this.
                    least = pool.cheapest
                    bound = policy.keys(tops, np.maximum(lows, least), least, pool.percent)
                cheaper = left & (lows < least)
                if cheaper.any():
                    need = cheaper | (left & _not_worse(bound, limit))
                else:
                    # The cheapest is known for good, and with it every figure: who is not among the best never will be.
                    pool.prune()
                    need = left & _not_worse(bound, limit)
            at = need.nonzero()[0]
            if not len(at):
                return
            take = at if len(at) <= most else np.sort(at[np.argpartition(bound[0][at], most - 1)[:most]])
            most *= 2


class _Pool:
    """The feasible slots found so far, and the best of them."""

    def __init__(self, table: BlockTable, policy: Policy, quality: Terms, percent: int, n: int) -> None:
        self.table = table
        self.policy = policy
        self.quality = quality
        self.percent = percent
        self.n = n
        self.slots: Positions = _NOTHING
        self.prices: Ints = _NOTHING
        self.scores: Scores = _NOTHING
        self.cheapest = NEVER
        self.cheapest_slot = -1
        self.cheapest_score = 0
        self._at: Positions | None = None
        self._keys: tuple[Scores, ...] = ()
        self._ranked = False

    def add(self, slots: Positions) -> None:
        if not len(slots):
            return
        prices, scores = self.table.columns.price[slots], self.table.scores(slots, self.quality)
        if len(self.slots):
            self.slots = np.concatenate([self.slots, slots])
            self.prices = np.concatenate([self.prices, prices])
            self.scores = np.concatenate([self.scores, scores])
        else:
            self.slots, self.prices, self.scores = slots, prices, scores
        at = int(prices.argmin())
        # The dearest price there is equals NEVER.
        if self.cheapest_slot < 0 or prices[at] < self.cheapest:
            self.cheapest, self.cheapest_slot, self.cheapest_score = int(prices[at]), int(slots[at]), int(scores[at])
        self._ranked = False

    def prune(self) -> None:
        """Forget all but the n best and what equals the n-th."""
        self._rank()
        if self._at is not None:
            self.slots, self.prices, self.scores = self.slots[self._at], self.prices[self._at], self.scores[self._at]
            self._at = None

    def limit(self) -> tuple[int, ...]:
        """The keys of the n-th best."""
        self._rank()
        return _nth(self._keys, self.n)

    def best(self, job_id: str) -> Found | None:
        """The best nodes with their ties; None without any."""
        if not len(self.slots):
            return None
        self._rank()
        slots, prices, scores = self.slots, self.prices, self.scores
        if self._at is not None:
            slots, prices, scores = slots[self._at], prices[self._at], scores[self._at]
        keys, ties = self._keys, self.table.columns.tie
        if len(slots) > self.n:
            picked = shortlist(keys, lambda at: tie_hashes(hash_job(job_id), ties[slots[at]]), self.n)
            slots, prices, scores = slots[picked], prices[picked], scores[picked]
            keys = tuple(key[picked] for key in keys)
        return Found(slots, keys, prices, scores, self.cheapest, self.cheapest_slot, self.cheapest_score)

    def _rank(self) -> None:
        if self._ranked:
            return
        scores, prices = self.scores, self.prices
        self._at = None
        if len(self.slots) > self.n:
            self._at = self.policy.contenders(scores, prices, self.cheapest, self.percent, self.n)
            if self._at is not None:
                scores, prices = scores[self._at], prices[self._at]
        self._keys = self.policy.keys(scores, prices, self.cheapest, self.percent)
        self._ranked = True


def _nth(keys: tuple[Scores, ...], n: int) -> tuple[int, ...]:
    """The keys of the n-th best row."""
    first = keys[0]
    limit = int(np.partition(first, n - 1)[n - 1])
    if len(keys) == 1:
        return (limit,)
    tied = first == limit
    rank = n - int(np.count_nonzero(first < limit))
    return limit, int(np.partition(keys[1][tied], rank - 1)[rank - 1])


def _not_worse(keys: tuple[Scores, ...], limit: tuple[int, ...]) -> Mask:
    """Which keys are at most ``limit``, compared as tuples."""
    if len(keys) == 1:
        return keys[0] <= limit[0]
    mask: Mask = (keys[0] < limit[0]) | ((keys[0] == limit[0]) & (keys[1] <= limit[1]))
    return mask
