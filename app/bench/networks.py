"""Made-up networks and jobs for benchmarks: the same for the same seed, on every machine."""

from __future__ import annotations

import random
from collections.abc import Iterator

from app.core.money import UNIT
from app.core.nodes import NodeRecord
from app.core.requirements import Region, Requirements
from app.core.states import NodeState

MODELS = (
    ("rtx 3090", 24, 60), ("rtx 4090", 24, 90), ("t4", 16, 30), ("l4", 24, 70), ("a10", 24, 80), ("a6000", 48, 120),
    ("l40s", 48, 180), ("a100 40gb", 40, 220), ("a100 80gb", 80, 300), ("h100", 80, 500),
)  # fmt: skip
"""Name, GB per GPU, and thousandths of HYPER that a GPU-hour of it costs about."""
SHARES = (18, 22, 12, 8, 6, 8, 6, 8, 7, 5)
CAPACITIES = (1, 2, 4, 8)
REGIONS = tuple(Region)


def network(count: int, seed: int = 1) -> list[NodeRecord]:
    """``count`` nodes of 1 to 8 slots, some busy, one in fifty away, prices within a half of usual; ids in order."""
    rng = random.Random(seed)
    return [_node(rng, number) for number in range(count)]


def _node(rng: random.Random, number: int) -> NodeRecord:
    name, vram, price = rng.choices(MODELS, SHARES)[0]
    capacity = rng.choices(CAPACITIES, (50, 20, 15, 15))[0]
    return NodeRecord(
        id=f"node_{number:08d}",
        gpu_model=name,
        gpus=capacity,
        vram_gb=vram,
        capabilities=rng.choice((255, 255, 63, 57, 33)),
        region=rng.choice(REGIONS),
        reputation=min(1000, int(rng.expovariate(1 / 250)) + 100),
        stake=int(rng.expovariate(1 / 5_000)) * UNIT,
        price=price * UNIT // 1000 * rng.randrange(50, 151) // 100,
        jobs_completed=int(rng.expovariate(1 / 200)),
        jobs_failed=int(rng.expovariate(1 / 10)),
        response_ms=rng.choice((0, rng.randrange(20, 2_000))),
        state=NodeState.ONLINE if rng.random() < 0.98 else NodeState.OFFLINE,
        capacity=capacity,
        active_jobs=rng.randrange(capacity + 1) if rng.random() < 0.3 else 0,
        version=1,
    )


def jobs(seed: int = 1) -> Iterator[Requirements]:
    """What jobs ask for, without end: mostly one GPU of a few models, some with little memory, region or ceiling."""
    rng = random.Random(seed)
    while True:
        names = [name for name, _, _ in rng.choices(MODELS, SHARES, k=rng.choice((1, 1, 2, 3)))]
        yield Requirements(
            gpu_models=tuple(dict.fromkeys(names)) if rng.random() < 0.7 else (),
            gpus=rng.choices((1, 2, 4), (85, 10, 5))[0],
            min_vram_gb=rng.choice((0, 0, 16, 24, 40)),
            capabilities=rng.choice((1, 1, 2, 8)),
            region=rng.choice(REGIONS) if rng.random() < 0.2 else "",
            min_reputation=rng.choice((0, 0, 100, 200)),
            max_price=rng.choice((None, None, 200 * UNIT // 1000, 600 * UNIT // 1000)),
        )
