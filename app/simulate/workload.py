"""What is simulated: a network of nodes and the jobs that come to it, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from app.core.requirements import Requirements
from app.matchmaker.arrays import Ints
from app.matchmaker.batch import NodeBatch
from app.matchmaker.packing import ONLINE


@dataclass(slots=True)
class Workload:
    """Jobs in the order of their submission, one entry a job.

    ``kinds``: the distinct requirements; ``kind``: each job's position there. ``submit_ms`` (ascending) and
    ``duration_ms`` (at least 1): virtual milliseconds. ``key``: number of the API key, below ``keys``. The first
    ``warm`` jobs are under way already when it begins: they take slots and do not count in the figures.
    """

    kinds: list[Requirements]
    kind: Ints
    submit_ms: Ints
    duration_ms: Ints
    priority: Ints
    key: Ints
    keys: int
    warm: int = 0

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How nodes and engine behave. Chances in millionths.

    ``decline_ppm``: of each offer. ``outages_ppm``: outages per node and day. ``offer_ttl_ms``, ``queue_ttl_ms``,
    ``offline_after_ms``, ``max_retries``, ``age_per_priority_ms``: as the engine's settings. ``batch_ms``: how long
    arriving jobs are gathered to be placed together, 0 = not at all. ``batch``: most jobs placed together.
    """

    decline_ppm: int = 20_000
    outages_ppm: int = 100_000
    offer_ttl_ms: int = 15_000
    queue_ttl_ms: int = 600_000
    offline_after_ms: int = 300_000
    max_retries: int = 3
    age_per_priority_ms: int = 60_000
    batch_ms: int = 0
    batch: int = 256


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that a run needs but the policy: the same scene under several policies compares them.

    ``source``: where the nodes and jobs come from, for the results.
    """

    network: NodeBatch
    workload: Workload
    seed: int
    behaviour: Behaviour = field(default_factory=Behaviour)
    source: str = "synthetic"


def network_of(ids: list[str], models: Sequence[str], regions: Sequence[str], columns: dict[str, Ints]) -> NodeBatch:
    """Online and idle nodes. ``columns``: NodeBatch's, without state, active_jobs, version, penalty and trial."""
    count = len(ids)
    zeros = np.zeros(count, np.int64)
    return NodeBatch(
        ids=ids,
        models=models,
        regions=regions,
        state=np.full(count, ONLINE, np.int64),
        active_jobs=zeros,
        version=np.ones(count, np.int64),
        penalty=zeros,
        trial=zeros,
        **columns,
    )


def numbered(prefix: str, count: int) -> list[str]:
    """Ids in order: ``node_00000000`` and on."""
    return [f"{prefix}_{number:08d}" for number in range(count)]
