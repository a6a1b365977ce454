"""Scores of slots, one or many, and the best score that a block's rows have under a policy's own weights."""

from __future__ import annotations

from typing import Final

import numpy as np

from app.matchmaker import packing as p
from app.matchmaker.arrays import Ints, Positions, Words
from app.matchmaker.bounds import NO_SCORE, open_rows
from app.matchmaker.columns import BLOCK, Columns
from app.matchmaker.terms import Terms, term_arrays, terms_of
from app.matchmaker.weights import weighted_score

STALE: Final = 32
"""Blocks whose bounds may be too generous before they are looked at anew: together, that costs little a block."""


def unpacked(words: Words, field: p.Field) -> Ints:
    """A packed field of each word, int64."""
    return (words >> np.uint64(field.shift) & np.uint64(field.most)).astype(np.int64)


def scores_of(columns: Columns, slots: Positions, quality: Terms) -> Ints:
    """weighted_score of these slots under the weights ``quality``, int64."""
    have, traits = columns.have[slots], columns.traits[slots]

    total: Ints = np.zeros(len(slots), np.int64)
    for weight, values in term_arrays(
        reputation=lambda: unpacked(have, p.REPUTATION),
        penalty=lambda: unpacked(traits, p.PENALTY),
        stake=lambda: columns.stake[slots],
        completed=lambda: columns.completed[slots].astype(np.int64),
        failed=lambda: columns.failed[slots].astype(np.int64),
        free=lambda: unpacked(have, p.FREE),
        capacity=lambda: unpacked(have, p.CAPACITY),
        response_ms=lambda: columns.response[slots].astype(np.int64),
        wanted=quality,
    ):
        total += weight * values
    total //= sum(quality)
    return total


def terms_at(columns: Columns, slot: int) -> Terms:
    """The five terms of one slot."""
    have, traits = int(columns.have[slot]), int(columns.traits[slot])
    return terms_of(
        reputation=p.REPUTATION.of(have),
        penalty=p.PENALTY.of(traits),
        stake=int(columns.stake[slot]),
        completed=int(columns.completed[slot]),
        failed=int(columns.failed[slot]),
        free=p.FREE.of(have),
        capacity=p.CAPACITY.of(have),
        response_ms=int(columns.response[slot]),
    )


class ScoreBound:
    """The highest score of each block's open rows under weights other than the network's."""

    __slots__ = ("best", "quality", "stale")

    def __init__(self, quality: Terms, blocks: int) -> None:
        self.quality = quality
        self.best: Ints = np.full(blocks, NO_SCORE, np.int64)
        self.stale: set[int] = set(range(blocks))

    def settle(self, columns: Columns, blocks: Positions) -> None:
        """Make the bounds of ``blocks`` exact."""
        slots = (blocks[:, None] * BLOCK + np.arange(BLOCK)).ravel()
        scores = scores_of(columns, slots, self.quality)
        scores[~open_rows(columns.have[slots])] = NO_SCORE
        self.best[blocks] = scores.reshape(-1, BLOCK).max(axis=1)
        self.stale.difference_update(blocks.tolist())

    def cover(self, block: int, terms: Terms) -> None:
        """Make sure that the bound of ``block`` covers an open row with these terms."""
        score = weighted_score(terms, self.quality)
        if score > self.best[block]:
            self.best[block] = score
