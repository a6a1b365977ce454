"""Made-up networks and jobs. The distributions are the tables below and are told in docs/simulation.md."""

from __future__ import annotations

from typing import Final

import numpy as np

from app.core.money import UNIT
from app.core.requirements import Region, Requirements
from app.matchmaker.arrays import Ints
from app.matchmaker.batch import NodeBatch
from app.simulate.dice import Dice
from app.simulate.traced import KEY_SHARES, RESPONSE_MS
from app.simulate.workload import Workload, network_of, numbered

MODELS: Final = (
    ("rtx 3090", 24, 60, 18), ("rtx 4090", 24, 90, 22), ("t4", 16, 30, 12), ("l4", 24, 70, 8), ("a10", 24, 80, 6),
    ("a6000", 48, 120, 8), ("l40s", 48, 180, 6), ("a100 40gb", 40, 220, 8), ("a100 80gb", 80, 300, 7),
    ("h100", 80, 500, 5),
)  # fmt: skip
"""Name, GB a GPU, thousandths of HYPER that an hour of it usually costs, share of the nodes in percent."""
SLOTS: Final = ((1, 50), (2, 20), (4, 15), (8, 15))
"""GPUs of a node, and the share of such nodes in percent."""
ABILITIES: Final = ((255, 40), (63, 20), (57, 20), (33, 20))
"""Capability masks and their shares in percent."""
REPUTATION: Final = (100, 300, 420, 500, 570, 630, 690, 750, 810, 890, 1000)
STAKE_HYPER: Final = (50, 300, 800, 1_500, 2_500, 4_000, 6_500, 11_000, 20_000, 50_000, 500_000)
COMPLETED: Final = (0, 5, 15, 30, 50, 80, 130, 220, 400, 900, 5_000)
DURATION_S: Final = (10, 60, 100, 150, 260, 480, 800, 1_500, 2_800, 6_000, 40_000)
"""Deciles, straight lines between them."""
KINDS: Final = 512
"""Distinct wishes that the jobs share."""
_HOUR_MS = 3_600_000


def synthetic_network(count: int, seed: int) -> NodeBatch:
    """``count`` nodes: prices within a half of the model's usual one, one run in 100 to 10 lost by their history."""
    dice = Dice(seed, "nodes")
    model = dice.pick([share for *_, share in MODELS], count)
    slots = np.array([gpus for gpus, _ in SLOTS], np.int64)[dice.pick([share for _, share in SLOTS], count)]
    completed = dice.along(COMPLETED, count)
    usual = np.array([price for _, _, price, _ in MODELS], np.int64) * (UNIT // 1000)
    columns: dict[str, Ints] = {
        "gpu_model": model,
        "region": dice.below(len(Region), count),
        "gpus": slots,
        "vram_gb": np.array([vram for _, vram, _, _ in MODELS], np.int64)[model],
        "capabilities": np.array([mask for mask, _ in ABILITIES], np.int64)[
            dice.pick([share for _, share in ABILITIES], count)
        ],
        "reputation": dice.along(REPUTATION, count),
        "stake": dice.along(STAKE_HYPER, count) * UNIT,
        "price": usual[model] * dice.between(50, 150, count) // 100,
        "jobs_completed": completed,
        "jobs_failed": completed * dice.between(1, 10, count) // 100,
        "response_ms": dice.along(RESPONSE_MS, count),
        "capacity": slots,
    }
    return network_of(numbered("node", count), [name for name, *_ in MODELS], list(Region), columns)


def synthetic_jobs(count: int, hours: int, seed: int) -> Workload:
    """``count`` jobs that arrive evenly at random over ``hours``, each with one of KINDS wishes."""
    dice = Dice(seed, "jobs")
    return Workload(
        kinds=_kinds(Dice(seed, "kinds")),
        kind=dice.below(KINDS, count),
        submit_ms=np.sort(dice.below(min(hours * _HOUR_MS, 2**32), count)),
        duration_ms=dice.along(DURATION_S, count) * 1000,
        priority=dice.pick((80, 15, 5), count),
        key=dice.pick(KEY_SHARES, count),
        keys=len(KEY_SHARES),
    )


def _kinds(dice: Dice) -> list[Requirements]:
    """One GPU mostly; 7 in 10 name one to three models, 2 in 10 a region, 4 in 10 a ceiling on the price."""
    shares = [share for *_, share in MODELS]
    names = dice.pick(shares, 3 * KINDS).reshape(KINDS, 3).tolist()
    breadth = dice.pick((30, 40, 15, 15), KINDS).tolist()
    gpus = np.array((1, 2, 4))[dice.pick((85, 10, 5), KINDS)].tolist()
    vram = np.array((0, 16, 24))[dice.pick((50, 30, 20), KINDS)].tolist()
    abilities = np.array((1, 2, 8))[dice.pick((60, 30, 10), KINDS)].tolist()
    region = dice.pick((80, 4, 4, 4, 4, 2, 2), KINDS).tolist()
    reputation = np.array((0, 300, 600))[dice.pick((60, 25, 15), KINDS)].tolist()
    ceiling = dice.pick((60, 25, 15), KINDS).tolist()
    kinds = []
    for i in range(KINDS):
        chosen = tuple(dict.fromkeys(MODELS[at][0] for at in names[i][: breadth[i]]))
        # A ceiling below what the named models cost would fit nowhere.
        usual = max((price for name, _, price, _ in MODELS if name in chosen), default=90) * UNIT // 1000
        kinds.append(
            Requirements(
                gpu_models=chosen,
                gpus=gpus[i],
                min_vram_gb=min([vram[i], *(size for name, size, _, _ in MODELS if name in chosen)]),
                capabilities=abilities[i],
                region=list(Region)[region[i] - 1] if region[i] else "",
                min_reputation=reputation[i],
                max_price=(None, usual, usual * 3 // 2)[ceiling[i]],
            )
        )
    return kinds
