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
from app.matchmaker.bounds import known_rows
from app.matchmaker.columns import BLOCK
from app.matchmaker.packing import CAPACITY, GUARD, Probe
from app.matchmaker.policy import Policy
from app.matchmaker.rank import shortlist, tie_hashes
from app.matchmaker.scores import unpacked
from app.matchmaker.terms import Terms

AT_ONCE: Final = 12
"""Blocks that are scanned without a look at their bounds: up to there the look costs more than it saves."""

FEW: Final = 6
"""Blocks that are scanned without even asking which of them may hold a node that fits."""

_GUARD: Final = np.uint64(GUARD)
_SHIFT: Final = BLOCK.bit_length() - 1
_WITHIN: Final = BLOCK - 1


class Found(NamedTuple):
    """Slots that hold the n best nodes, in no order, and perhaps some that equal the n-th; with their sort keys.

    ``cheapest``, ``cheapest_slot``: of all feasible nodes.
    """

    slots: Positions
    keys: tuple[Scores, ...]
    prices: Ints
    scores: Scores
    cheapest: int
    cheapest_slot: int


def scan(table: BlockTable, probe: Probe, blocks: Positions) -> Positions:
    """The slots of ``blocks`` that fit the probe."""
    columns = table.columns
    words = columns.have_blocks.take(blocks, axis=0)
    words -= np.uint64(probe.needle)
    words &= _GUARD
    ok: Mask = words == _GUARD
    if probe.mask:
        traits = columns.traits_blocks.take(blocks, axis=0)
        traits &= np.uint64(probe.mask)
        ok &= traits == np.uint64(probe.value)
    at = ok.ravel().nonzero()[0]
    slots: Positions
    if len(blocks) == 1:
        slots = at + (int(blocks[0]) << _SHIFT)
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

    def run(self, policy: Policy, job: int) -> Found | None:
        """The best nodes under ``policy``; None when no node is feasible. ``job``: the hash of the job's id."""
        weights = policy.weights_with(self.table.weights)
        quality, percent = weights.quality, weights.price
        if len(self.blocks) <= AT_ONCE:
            slots = self._scan(self.blocks)
            if not len(slots):
                return None
            prices, scores = self.table.columns.price[slots], self.table.scores(slots, quality)
            return self._best(policy, percent, job, slots, prices, scores)
        return self._bounded(policy, quality, percent, job)

    def _scan(self, blocks: Positions) -> Positions:
        slots = scan(self.table, self.probe, blocks)
        return without(slots, self.excluded) if self.excluded else slots

    def _bounded(self, policy: Policy, quality: Terms, percent: int, job: int) -> Found | None:
        table, blocks, n = self.table, self.blocks, self.n
        lows = table.open.price[blocks]
        tops = table.score_bound(quality)[blocks]
        left = np.ones(len(blocks), np.bool_)
        lowest = int(lows.argmin())
        least = int(lows[lowest])
        bound = policy.keys(tops, lows, least, percent)
        first = bound[0]
        take = np.array(sorted({int(first.argmin()), lowest}))
        slots: Positions = np.empty(0, np.intp)
        scores: Scores
        most = AT_ONCE
        keys: tuple[Scores, ...] = ()
        while True:
            left[take] = False
            more = self._scan(blocks[take])
            if not len(slots):
                slots, prices, scores = more, table.columns.price[more], table.scores(more, quality)
            elif len(more):
                slots = np.concatenate([slots, more])
                prices = np.concatenate([prices, table.columns.price[more]])
                scores = np.concatenate([scores, table.scores(more, quality)])
            need = left
            if len(slots) >= n:
                cheapest = int(prices[prices.argmin()])
                keys = policy.keys(scores, prices, cheapest, percent)
                if not left.any():
                    break
                limit = _nth(keys, n)
                # Of what may be cheaper the key is not known yet; of the rest it is no better than this.
                if cheapest != least:
                    least, bound = cheapest, policy.keys(tops, np.maximum(lows, cheapest), cheapest, percent)
                    first = bound[0]
                need = left & ((lows < cheapest) | _not_worse(bound, limit))
            at = need.nonzero()[0]
            if not len(at):
                break
            take = at if len(at) <= most else at[np.argpartition(first[at], most - 1)[:most]]
            most *= 2
        if not len(slots):
            return None
        return self._best(policy, percent, job, slots, prices, scores, keys if len(slots) >= n else None)

    def _best(
        self,
        policy: Policy,
        percent: int,
        job: int,
        slots: Positions,
        prices: Ints,
        scores: Scores,
        keys: tuple[Scores, ...] | None = None,
    ) -> Found:
        at_cheapest = int(prices.argmin())
        cheapest = int(prices[at_cheapest])
        if keys is None:
            keys = policy.keys(scores, prices, cheapest, percent)
        ties = self.table.columns.tie
        picked = shortlist(keys, lambda at: tie_hashes(job, ties[slots[at]]), self.n)
        return Found(
            slots[picked],
            tuple(key[picked] for key in keys),
            prices[picked],
            scores[picked],
            cheapest,
            int(slots[at_cheapest]),
        )


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
