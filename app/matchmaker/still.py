"""Nodes as they stood at one moment, whose records can be made later: most are never asked for."""

from __future__ import annotations

from typing import Any

from app.core.nodes import NodeRecord
from app.matchmaker import packing as p
from app.matchmaker.arrays import Positions
from app.matchmaker.columns import Columns
from app.matchmaker.policy import Policy
from app.matchmaker.terms import price_term
from app.matchmaker.types import Candidate

_GPUS, _VRAM, _REPUTATION, _STATE, _CAPACITY, _ACTIVE, _CAPABILITIES, _REGION, _PENALTY, _TRIAL = (
    (field.shift, field.most)
    for field in (
        p.GPUS, p.VRAM, p.REPUTATION, p.STATE, p.CAPACITY, p.ACTIVE, p.CAPABILITIES, p.REGION, p.PENALTY, p.TRIAL
    )
)  # fmt: skip


class Still:
    """Some slots as they stood at one moment. ``models``: of each of them; ``regions``: all, by code."""

    __slots__ = ("_columns", "_models", "_regions", "_rows")

    def __init__(self, columns: Columns, at: Positions, models: list[str], regions: list[str]) -> None:
        self._models = models
        self._regions = regions
        self._rows: list[tuple[int, ...]] | None = None
        self._columns = (
            columns.have[at],
            columns.traits[at],
            columns.stake[at],
            columns.price[at],
            columns.completed[at],
            columns.failed[at],
            columns.response[at],
            columns.version[at],
        )

    def record(self, at: int, node_id: str) -> NodeRecord:
        """The node in the slot at position ``at``."""
        return NodeRecord(*self.row(at, node_id))

    def row(self, at: int, node_id: str) -> tuple[Any, ...]:
        """The fields of that node, in the order of NodeRecord's."""
        if self._rows is None:
            self._rows = list(zip(*(column.tolist() for column in self._columns), strict=True))
        have, traits, stake, price, completed, failed, response, version = self._rows[at]
        # By position and without Field.of: half a dozen of these are made for every match.
        return (
            node_id,
            self._models[at],
            have >> _GPUS[0] & _GPUS[1],
            have >> _VRAM[0] & _VRAM[1],
            traits >> _CAPABILITIES[0] & _CAPABILITIES[1],
            self._regions[traits >> _REGION[0] & _REGION[1]],
            have >> _REPUTATION[0] & _REPUTATION[1],
            stake,
            price,
            completed,
            failed,
            response,
            p.STATES[have >> _STATE[0] & _STATE[1]],
            have >> _CAPACITY[0] & _CAPACITY[1],
            have >> _ACTIVE[0] & _ACTIVE[1],
            version,
            traits >> _PENALTY[0] & _PENALTY[1],
            traits >> _TRIAL[0] & _TRIAL[1],
        )


class StillRanking:
    """The best nodes of one search and the cheapest, as they stood then.

    ``figures``: (id, score, price) of the best, best first; ``still``: their slots in that order, then the cheapest's.
    """

    __slots__ = ("_cheapest", "_figures", "_percent", "_policy", "_still")

    def __init__(
        self,
        figures: list[tuple[str, int, int]],
        cheapest: tuple[str, int, int],
        still: Still,
        policy: Policy,
        percent: int,
    ) -> None:
        self._figures = figures
        self._cheapest = cheapest
        self._still = still
        self._policy = policy
        self._percent = percent

    def __len__(self) -> int:
        return len(self._figures)

    def candidate(self, at: int) -> Candidate:
        return self._made(at, *self._figures[at])

    def cheapest(self) -> Candidate:
        return self._made(len(self._figures), *self._cheapest)

    def _made(self, at: int, node_id: str, score: int, price: int) -> Candidate:
        cheapest = self._cheapest[2]
        total = self._policy.total(score, price_term(price, cheapest), self._percent)
        return Candidate(node_id, total, score, price, cheapest, self._still, at)
