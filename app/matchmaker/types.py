"""What goes into a match and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol

from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.matchmaker.terms import (
    completion_term,
    load_term,
    price_term,
    reputation_term,
    response_term,
    stake_term,
)

OFFLINE: Final = "offline"
EXCLUDED: Final = "excluded"
GPU_MODEL: Final = "gpu_model"
GPU_COUNT: Final = "gpu_count"
VRAM: Final = "vram"
CAPABILITIES: Final = "capabilities"
REGION: Final = "region"
REPUTATION: Final = "reputation"
PRICE: Final = "price"
BUSY: Final = "busy"

FILTERS: Final = (
    OFFLINE,
    EXCLUDED,
    GPU_MODEL,
    GPU_COUNT,
    VRAM,
    CAPABILITIES,
    REGION,
    REPUTATION,
    PRICE,
    BUSY,
)
"""Names of the filters in the order in which they apply. A node counts under the first one that it fails."""


class Verdict(StrEnum):
    """Why no node could be chosen, the most hopeful reason that holds."""

    BUSY = "busy"
    """A node fits and has the slots, but not enough of them are free now."""
    OFFLINE = "offline"
    """A node fits but is not online (it is registered, offline, draining or suspended)."""
    DECLINED = "declined"
    """Only nodes fit that the query excludes: they declined or failed this job, or have another run of its unit."""
    NEVER_FITS = "never_fits"
    """No node that the network knows fits; deregistered nodes do not count as known."""
    QUOTA = "quota"
    """Not for want of nodes: the jobs of its API key hold as many slots as they may. No match says so by itself."""


@dataclass(frozen=True, slots=True)
class Query:
    """One job's wish for a node. ``excluded``: ids of nodes not to offer it to; unknown ids are ignored.

    ``policy``: a name out of POLICIES. The network's floor on reputation is the matchmaker's, not the
    query's.
    """

    job_id: str
    requirements: Requirements
    excluded: frozenset[str] | tuple[str, ...] = ()
    policy: str = "reputation_weighted"


class Records(Protocol):
    """Nodes as they stood at one moment, by position."""

    def record(self, at: int, node_id: str) -> NodeRecord: ...

    def row(self, at: int, node_id: str) -> tuple[Any, ...]:
        """The fields of that record, in its order."""
        ...


class Candidate:
    """A feasible node and what its rank is made of.

    ``total``, ``score`` and all ``terms`` (reputation, stake, completion, load, response, price) are in
    0..terms.SCALE. ``price``: base units of HYPER per GPU-hour. ``record``: the node as it stood at the match. Terms
    and record are made when they are asked for: most candidates are never looked at.
    """

    __slots__ = ("_at", "_cheapest", "_record", "_still", "node_id", "price", "score", "total")

    def __init__(
        self, node_id: str, total: int, score: int, price: int, cheapest: int, still: Records, at: int
    ) -> None:
        self.node_id = node_id
        self.total = total
        self.score = score
        self.price = price
        self._cheapest = cheapest
        self._still = still
        self._at = at
        self._record: NodeRecord | None = None

    @property
    def record(self) -> NodeRecord:
        if self._record is None:
            self._record = self._still.record(self._at, self.node_id)
        return self._record

    @property
    def row(self) -> tuple[Any, ...]:
        """The fields of ``record``, in its order."""
        return self._still.row(self._at, self.node_id)

    @property
    def terms(self) -> dict[str, int]:
        node = self.record
        return {
            "reputation": reputation_term(max(0, node.reputation - node.penalty)),
            "stake": stake_term(node.stake),
            "completion": completion_term(node.jobs_completed, node.jobs_failed),
            "load": load_term(node.free, node.capacity),
            "response": response_term(node.response_ms),
            "price": price_term(self.price, self._cheapest),
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Candidate) and self.told() == other.told()

    def __hash__(self) -> int:
        return hash((self.node_id, self.total))

    def __repr__(self) -> str:
        return f"Candidate({self.node_id!r}, total={self.total}, score={self.score}, price={self.price})"

    def told(self) -> dict[str, object]:
        """All figures by name."""
        return {
            "node_id": self.node_id,
            "total": self.total,
            "score": self.score,
            "price": self.price,
            "terms": self.terms,
        }


class Ranking(Protocol):
    """The outcome of a search: ``len(ranking)`` candidates, best first, made when they are asked for."""

    def __len__(self) -> int: ...

    def candidate(self, at: int) -> Candidate: ...

    def cheapest(self) -> Candidate: ...


class Match:
    """The best candidates, best first. ``verdict`` is None exactly when there are candidates."""

    __slots__ = ("_candidates", "_ranking", "best", "verdict", "view_version")

    def __init__(self, ranking: Ranking | None, view_version: int, verdict: Verdict | None = None) -> None:
        self._ranking = ranking
        self._candidates: list[Candidate] | None = None
        self.best = None if ranking is None else ranking.candidate(0)
        self.view_version = view_version
        self.verdict = verdict

    @property
    def candidates(self) -> list[Candidate]:
        """A list of one's own."""
        if self._candidates is None:
            rest = range(1, 0 if self._ranking is None else len(self._ranking))
            following = [self._ranking.candidate(at) for at in rest] if self._ranking is not None else []
            self._candidates = [] if self.best is None else [self.best, *following]
        return list(self._candidates)

    @property
    def cheapest(self) -> Candidate | None:
        """The feasible node with the lowest price, which the price terms are measured by."""
        if self._ranking is None:
            return None
        least = self._ranking.cheapest()
        return next((one for one in self.candidates if one.node_id == least.node_id), least)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Match):
            return NotImplemented
        return (self.candidates, self.verdict) == (other.candidates, other.verdict)

    __hash__ = None  # type: ignore[assignment]  # compared by what can be told of it


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of all nodes at a match: ``feasible`` + the sum of ``rejects`` is the number of nodes in the view.

    ``rejects`` holds the filters that rejected some node, in the order of FILTERS.
    """

    feasible: int
    rejects: dict[str, int]
    view_version: int


@dataclass(frozen=True, slots=True)
class Availability:
    """What the network holds for some requirements now.

    ``total``: nodes known. ``online``: of those, online. ``matching``: online and suitable, busy or not.
    ``free_slots``: free slots of the matching. ``available_now``: matching with enough free slots for one
    such job. ``cheapest_price``, ``median_price`` (the lower one of two): of the matching, base units of
    HYPER per GPU-hour, None without any. ``by_gpu_model``: matching nodes per model, most first.
    ``rejects`` as in Tally.
    """

    total: int
    online: int
    matching: int
    free_slots: int
    available_now: int
    cheapest_price: int | None
    median_price: int | None
    by_gpu_model: dict[str, int] = field(default_factory=dict)
    rejects: dict[str, int] = field(default_factory=dict)
