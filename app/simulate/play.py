"""A scene played from beginning to end under one policy."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.matchmaker.arrays import Ints
from app.matchmaker.batch import NodeBatch
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.policy import DEFAULT_WEIGHTS, Weights, get_policy
from app.simulate.dice import Dice
from app.simulate.loop import Run
from app.simulate.results import Outcome, outcome
from app.simulate.workload import Scene, network_of


@dataclass(frozen=True, slots=True)
class Rules:
    """How the engine under test is configured: weights of the default policy, floor on reputation, breadth."""

    weights: Weights = DEFAULT_WEIGHTS
    min_reputation: int = 0
    top_n: int = 5


def prepare(scene: Scene, policy: str, rules: Rules) -> Run:
    """A run on a fresh view of the network. Raises InvalidInput for an unknown policy."""
    get_policy(policy)
    matchmaker = Matchmaker(rules.weights, rules.min_reputation, rules.top_n)
    matchmaker.view.load(scene.network)
    return Run(scene, policy, matchmaker)


def play(scene: Scene, policy: str, rules: Rules, stopped: Callable[[int, int], bool]) -> Outcome:
    """The figures of the whole run, or of the part until ``stopped``, see Run.run."""
    began = time.perf_counter()
    run = prepare(scene, policy, rules)
    run.run(stopped)
    return outcome(run, policy, time.perf_counter() - began, _peak_memory_mb())


def thinned(network: NodeBatch, count: int, seed: int) -> NodeBatch:
    """``count`` of the nodes, drawn by ``seed``; all of them when they are no more."""
    if count >= len(network):
        return network
    kept = Dice(seed, "thinned").sample(len(network), count)
    columns: dict[str, Ints] = {name: getattr(network, name)[kept].astype(np.int64) for name in _COLUMNS}
    return network_of([network.ids[at] for at in kept.tolist()], network.models, network.regions, columns)


_COLUMNS = (
    "gpu_model", "region", "gpus", "vram_gb", "capabilities", "reputation", "stake", "price", "jobs_completed",
    "jobs_failed", "response_ms", "capacity",
)  # fmt: skip


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes on Linux, bytes on macOS.
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
