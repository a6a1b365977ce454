"""Holds a run's trail against the rules, without the simulator's or the matchmaker's own code."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

from app.simulate.trail import HoldEnd, JobEnd, Trail
from app.simulate.workload import Scene

_GAVE_UP = (HoldEnd.FAILED, HoldEnd.DECLINED, HoldEnd.LAPSED)
_NOTICED_MS = 10_000


@dataclass(frozen=True)
class Hold:
    job: int
    node: int
    begin: int
    end: int
    why: HoldEnd


def holds_of(trail: Trail) -> list[Hold]:
    columns = zip(trail.hold_job, trail.hold_node, trail.hold_from, trail.hold_to, trail.hold_end, strict=True)
    return [Hold(job, node, at, trail.end_ms if to < 0 else to, HoldEnd(why)) for job, node, at, to, why in columns]


def suits(scene: Scene, job: int, node: int) -> bool:
    """Whether the node has what the job asks, busy or not."""
    asked, network = scene.workload.kinds[scene.workload.kind[job]], scene.network
    return (
        (not asked.gpu_models or network.models[network.gpu_model[node]] in asked.gpu_models)
        and asked.gpus <= network.gpus[node]
        and asked.gpus <= network.capacity[node]
        and asked.min_vram_gb <= network.vram_gb[node]
        and int(asked.capabilities) & ~int(network.capabilities[node]) == 0
        and asked.region in ("", network.regions[network.region[node]])
        and asked.min_reputation <= network.reputation[node]
        and (asked.max_price is None or network.price[node] <= asked.max_price)
    )


def away_of(scene: Scene, trail: Trail) -> dict[int, list[tuple[int, int]]]:
    """When the engine took which node for offline."""
    away = defaultdict(list)
    for node, silent, until in trail.outages:
        noticed = -(-(silent + scene.behaviour.offline_after_ms) // _NOTICED_MS) * _NOTICED_MS
        away[node].append((noticed, until))
    return away


def faults(scene: Scene, trail: Trail) -> list[str]:
    """Everything that must not have happened, a line each."""
    found = []
    gpus = [scene.workload.kinds[kind].gpus for kind in scene.workload.kind]
    away = away_of(scene, trail)
    changes: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    by_job: dict[int, list[Hold]] = defaultdict(list)
    for hold in holds_of(trail):
        by_job[hold.job].append(hold)
        changes[hold.node] += [(hold.begin, 1, gpus[hold.job]), (hold.end, 0, -gpus[hold.job])]
        if not suits(scene, hold.job, hold.node):
            found.append(f"job {hold.job} got node {hold.node}, which does not suit it")
        if any(begin <= hold.begin < until for begin, until in away[hold.node]):
            found.append(f"job {hold.job} was offered to node {hold.node}, which was offline")
    for node, moves in changes.items():
        taken = 0
        for at, _, slots in sorted(moves):
            taken += slots
            if taken > scene.network.capacity[node]:
                found.append(f"node {node} holds {taken} slots at {at}")
    for job, held in by_job.items():
        found += _faults_of(scene, trail, job, held)
    return found


def _faults_of(scene: Scene, trail: Trail, job: int, held: list[Hold]) -> list[str]:
    found = []
    ruled_out: set[int] = set()
    for before, after in pairwise(held):
        if after.begin < before.end:
            found.append(f"job {job} holds two nodes at {after.begin}")
    for hold in held:
        if hold.node in ruled_out:
            found.append(f"job {job} came back to node {hold.node}, which it had ruled out")
        if hold.why in _GAVE_UP:
            ruled_out.add(hold.node)
    if held[0].begin < scene.workload.submit_ms[job]:
        found.append(f"job {job} was placed before it was submitted")
    lost = sum(hold.why is HoldEnd.FAILED for hold in held)
    if lost > scene.behaviour.max_retries + 1:
        found.append(f"job {job} failed {lost} times")
    if (trail.ends[job] == JobEnd.COMPLETED) != (held[-1].why is HoldEnd.COMPLETED):
        found.append(f"job {job} ended as {JobEnd(trail.ends[job]).name} on {held[-1].why.name}")
    if trail.ends[job] == JobEnd.UNSEEN:
        found.append(f"job {job} was placed unseen")
    return found


def left_waiting(scene: Scene, trail: Trail, at: int) -> list[tuple[int, int]]:
    """``(job, node)`` for each job in the backlog from before ``at`` to after it while that node could take it."""
    free = scene.network.capacity.tolist()
    gpus = [scene.workload.kinds[kind].gpus for kind in scene.workload.kind]
    ruled_out = defaultdict(set)
    for hold in holds_of(trail):
        if hold.begin <= at < hold.end:
            free[hold.node] -= gpus[hold.job]
        if hold.why in _GAVE_UP and hold.end <= at:
            ruled_out[hold.job].add(hold.node)
    away = away_of(scene, trail)
    here = [node for node in range(len(free)) if not any(begin <= at < until for begin, until in away[node])]
    stays = zip(trail.stay_job, trail.stay_from, trail.stay_to, strict=True)
    return [
        (job, node)
        for job, begin, end in stays
        if begin <= at and (end < 0 or at < end)
        for node in here
        if free[node] >= gpus[job] and node not in ruled_out[job] and suits(scene, job, node)
    ]
