"""Nodes as they stood at one moment, whose records can be made later: most are never asked for."""

from __future__ import annotations

from app.core.nodes import NodeRecord
from app.matchmaker import packing as p
from app.matchmaker.arrays import Positions
from app.matchmaker.columns import Columns
from app.matchmaker.policy import Policy
from app.matchmaker.terms import price_term
from app.matchmaker.types import Candidate


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
        if self._rows is None:
            self._rows = list(zip(*(column.tolist() for column in self._columns), strict=True))
        have, traits, stake, price, completed, failed, response, version = self._rows[at]
        return NodeRecord(
            id=node_id,
            gpu_model=self._models[at],
            gpus=p.GPUS.of(have),
            vram_gb=p.VRAM.of(have),
            capabilities=p.CAPABILITIES.of(traits),
            region=self._regions[p.REGION.of(traits)],
            reputation=p.REPUTATION.of(have),
            stake=stake,
            price=price,
            jobs_completed=completed,
            jobs_failed=failed,
            response_ms=response,
            state=p.STATES[p.STATE.of(have)],
            capacity=p.CAPACITY.of(have),
            active_jobs=p.ACTIVE.of(have),
            version=version,
            penalty=p.PENALTY.of(traits),
            trial=p.TRIAL.of(traits),
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
