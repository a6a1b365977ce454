"""What goes into a match and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from app.core.requirements import Requirements

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
    """Only nodes fit that the query excludes: they declined or failed this job before."""
    NEVER_FITS = "never_fits"
    """No node that the network knows fits; deregistered nodes do not count as known."""


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


@dataclass(frozen=True, slots=True)
class Candidate:
    """A feasible node and what its rank is made of.

    ``total``, ``score`` and all ``terms`` (reputation, stake, completion, load, response, price) are in
    0..terms.SCALE. ``price``: base units of HYPER per GPU-hour.
    """

    node_id: str
    total: int
    score: int
    price: int
    terms: dict[str, int]


@dataclass(frozen=True, slots=True)
class Match:
    """The best candidates, best first, and what became of all the other nodes.

    ``feasible`` + the sum of ``rejects`` is the number of nodes in the view; ``rejects`` holds the filters
    that rejected some node, in the order of FILTERS. ``verdict`` is None exactly when there are candidates.
    """

    candidates: list[Candidate]
    feasible: int
    rejects: dict[str, int]
    view_version: int
    verdict: Verdict | None = None

    @property
    def best(self) -> Candidate | None:
        return self.candidates[0] if self.candidates else None


@dataclass(frozen=True, slots=True)
class Availability:
    """What the network holds for some requirements now.

    ``total``: nodes known. ``online``: of those, online. ``matching``: online and suitable, busy or not.
    ``free_slots``: free slots of the matching. ``available_now``: matching with enough free slots for one
    such job. ``cheapest_price``, ``median_price`` (the lower one of two): of the matching, base units of
    HYPER per GPU-hour, None without any. ``by_gpu_model``: matching nodes per model, most first.
    ``rejects`` as in Match.
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
