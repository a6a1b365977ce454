"""What a scarce batch loses against the best assignment there is: greedily, and by the engine's own (assign.place).

``python -m app.bench.assign`` prints both, and the milliseconds they take.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

from app.core.money import UNIT
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.core.states import NodeState
from app.matchmaker.assign import place
from app.matchmaker.fairness import Line, Waiter
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.terms import SCALE
from app.matchmaker.types import Query

MODELS = ("a100", "h100", "l40s", "rtx 4090", "t4")
REGIONS = ("EU", "NA", "AS")


@dataclass(frozen=True, slots=True)
class Loss:
    """Of the highest sum of totals that the placed jobs could have, the share that is missing. Times in ms."""

    jobs: int
    placed: int
    greedy: float
    assigned: float
    greedy_ms: float
    assigned_ms: float


def measure(jobs: int = 256, nodes: int = 160, seed: int = 1) -> Loss:
    """A batch of one-slot jobs on ``nodes`` of one or two free slots: about as many slots as jobs, not all of use."""
    dice = random.Random(seed)
    records = [_node(number, dice) for number in range(nodes)]
    queries = {f"job_{number:04}": Query(f"job_{number:04}", _wants(dice)) for number in range(jobs)}
    worth = _worth(records, queries)
    greedy, greedy_ms = _greedy(records, queries)
    assigned, assigned_ms = _assigned(records, queries)
    best = _optimum(records, worth, assigned)
    # Greedy may place fewer; it is held against the best for those whom it places.
    best_of_greedy = _optimum(records, worth, greedy)
    return Loss(
        jobs,
        len(assigned),
        1 - _sum(worth, greedy) / best_of_greedy,
        1 - _sum(worth, assigned) / best,
        greedy_ms,
        assigned_ms,
    )


def _node(number: int, dice: random.Random) -> NodeRecord:
    capacity = dice.choice((1, 1, 2))
    return NodeRecord(
        id=f"node_{number:04}", gpu_model=dice.choice(MODELS), gpus=4, vram_gb=dice.choice((16, 24, 40, 80)),
        capabilities=7, region=dice.choice(REGIONS), reputation=dice.randrange(100, 1001),
        stake=dice.randrange(0, 50_000) * UNIT, price=dice.randrange(UNIT // 20, UNIT),
        jobs_completed=dice.randrange(200), jobs_failed=dice.randrange(20), response_ms=dice.randrange(20, 800),
        state=NodeState.ONLINE, capacity=capacity, active_jobs=0, version=1,
    )  # fmt: skip


def _wants(dice: random.Random) -> Requirements:
    return Requirements(
        gpu_models=tuple(sorted(dice.sample(MODELS, dice.choice((1, 2, 3))))),
        min_vram_gb=dice.choice((0, 0, 24, 40)),
        region=dice.choice(("", "", *REGIONS)),
        min_reputation=dice.choice((0, 0, 300, 600)),
    )


def _matchmaker(records: list[NodeRecord]) -> Matchmaker:
    matchmaker = Matchmaker()
    matchmaker.view.upsert(records)
    return matchmaker


def _worth(records: list[NodeRecord], queries: dict[str, Query]) -> dict[str, dict[str, int]]:
    matchmaker = _matchmaker(records)
    found = {job_id: matchmaker.match(query, top_n=len(records)) for job_id, query in queries.items()}
    return {job_id: {one.node_id: one.total for one in match.candidates} for job_id, match in found.items()}


def _greedy(records: list[NodeRecord], queries: dict[str, Query]) -> tuple[dict[str, str], float]:
    matchmaker = _matchmaker(records)
    began = time.perf_counter()
    placed = {}
    for job_id, query in queries.items():
        best = matchmaker.match(query).best
        if best is not None:
            matchmaker.view.adjust(best.node_id, 1)
            placed[job_id] = best.node_id
    return placed, (time.perf_counter() - began) * 1000


def _assigned(records: list[NodeRecord], queries: dict[str, Query]) -> tuple[dict[str, str], float]:
    matchmaker = _matchmaker(records)
    line = Line([Waiter(job_id, "key", 1, rank) for rank, job_id in enumerate(queries)], {}, 1)
    began = time.perf_counter()
    outcome = place(matchmaker, line, queries)
    spent = (time.perf_counter() - began) * 1000
    return {one.waiter.job_id: one.match.best.node_id for one in outcome.choices if one.match.best is not None}, spent


def _sum(worth: dict[str, dict[str, int]], placed: dict[str, str]) -> int:
    return sum(worth[job_id][node_id] for job_id, node_id in placed.items())


def _optimum(records: list[NodeRecord], worth: dict[str, dict[str, int]], placed: dict[str, str]) -> int:
    """The highest sum of totals at which these jobs can be placed, over all nodes."""
    flow = SimpleMinCostFlow()
    sink = len(placed) + len(records)
    place_of = {record.id: len(placed) + number for number, record in enumerate(records)}
    for number, job_id in enumerate(placed):
        flow.set_node_supply(number, 1)
        for node_id, total in worth[job_id].items():
            flow.add_arc_with_capacity_and_unit_cost(number, place_of[node_id], 1, SCALE - total)
    for record in records:
        flow.add_arc_with_capacity_and_unit_cost(place_of[record.id], sink, record.capacity, 0)
    flow.set_node_supply(sink, -len(placed))
    status = flow.solve()
    assert status == flow.OPTIMAL, status
    return len(placed) * SCALE - int(flow.optimal_cost())


if __name__ == "__main__":
    for size in (64, 128, 256):
        found = measure(size, size * 5 // 8)
        print(
            f"{found.jobs} jobs, {found.placed} placed: greedy loses {found.greedy:.2%} in {found.greedy_ms:.0f} ms, "
            f"the assignment {found.assigned:.2%} in {found.assigned_ms:.0f} ms"
        )
