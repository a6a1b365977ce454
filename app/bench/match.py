"""Microseconds a match on an in-memory view, against exact SQL and the query of the engine before this one.

All three answer the same queries on the same made-up network, in turns. Between turns, off the clock, the load of some
nodes changes for all of them alike, as jobs come and go. Every answer of the view is held against the exact SQL's: the
totals of the best five must be equal, down to the last millionth.
"""

from __future__ import annotations

import gc
import itertools
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.bench.networks import jobs, network
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.matchmaker.batch import batch_of
from app.matchmaker.terms import terms_of
from app.matchmaker.types import Query
from app.matchmaker.view import NodeView
from app.matchmaker.weights import DEFAULT_WEIGHTS, Weights
from app.store import peers
from app.store.db import Database
from app.store.scratch import settle

TURNS = 4
TURN = 1_024
"""Queries of a turn, and nodes whose load changes before it: a job changes the load of one node."""
SQL_TURN = 64
"""Those of a turn's queries that the peers are asked: they take longer."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Medians over the runs of each run's figures, microseconds a match; ``mismatches`` in all runs together."""

    nodes: int
    match_us_p50: float
    match_us_p99: float
    matches_per_s: float
    exact_sql_us_p50: float
    legacy_sql_us_p50: float
    mismatches: int
    compared: int

    def told(self) -> dict[str, Any]:
        """The figures by name, with the ratios."""
        return {
            "nodes": self.nodes,
            "match_us_p50": round(self.match_us_p50, 1),
            "match_us_p99": round(self.match_us_p99, 1),
            "matches_per_s": round(self.matches_per_s, 1),
            "exact_sql_us_p50": round(self.exact_sql_us_p50, 1),
            "ratio_exact_sql": round(self.exact_sql_us_p50 / self.match_us_p50, 2),
            "legacy_sql_us_p50": round(self.legacy_sql_us_p50, 1),
            "ratio_legacy_sql": round(self.legacy_sql_us_p50 / self.match_us_p50, 2),
            "mismatches": self.mismatches,
        }


def bases(records: Sequence[NodeRecord], weights: Weights) -> Iterator[tuple[NodeRecord, int]]:
    """Each node with the weighted sum of its terms but the load."""
    without_load = weights.quality._replace(load=0)
    for node in records:
        terms = terms_of(
            reputation=node.reputation,
            penalty=node.penalty,
            stake=node.stake,
            completed=node.jobs_completed,
            failed=node.jobs_failed,
            free=node.free,
            capacity=node.capacity,
            response_ms=node.response_ms,
        )
        yield node, sum(weight * term for weight, term in zip(without_load, terms, strict=True))


async def measure(url: str, *, nodes: int, runs: int, told: Callable[[str], None]) -> Matches:
    """Measure on the empty database ``url``. ``told`` hears of each run."""
    weights = DEFAULT_WEIGHTS
    records = network(nodes)
    view = NodeView(weights)
    view.load(batch_of(records))
    wishes = jobs()
    db = Database(url, pool_size=1, application="hae bench")
    mine, exact, legacy = [], [], []
    mismatches = compared = 0
    try:
        async with db.unit() as uow:
            await peers.prepare(uow, bases(records, weights), load_weight=weights.load, weights=sum(weights.quality))
        await settle(url)
        world = _World(view, records)
        # The first run warms all of them up and is not counted.
        for number in range(runs + 1):
            spent = _Spent()
            for _ in range(TURNS):
                async with db.unit() as uow:
                    await peers.change_load(uow, *world.turn())
                asked = list(itertools.islice(wishes, TURN))
                totals = _matched(view, asked, spent.view)
                part = random.Random(number).sample(range(TURN), SQL_TURN)
                async with db.unit() as uow:
                    for at in part:
                        answers = (
                            await _timed(peers.exact_match(uow, asked[at], weights.price), spent.plain),
                            await _timed(peers.pruned_match(uow, asked[at], weights.price), spent.pruned),
                        )
                        await _timed(peers.legacy_match(uow, asked[at]), spent.legacy)
                        compared += len(answers)
                        mismatches += sum([total for _, total in one] != totals[at] for one in answers)
            if number:
                mine.append(sorted(spent.view))
                # Whichever of the two exact statements is faster here is the peer.
                exact.append(min(statistics.median(spent.plain), statistics.median(spent.pruned)))
                legacy.append(statistics.median(spent.legacy))
                told(
                    f"run {number} of {runs}: match {_at(mine[-1], 0.5):.1f} us, exact SQL {exact[-1]:,.0f} us (plain "
                    f"{statistics.median(spent.plain):,.0f}), legacy SQL {legacy[-1]:,.0f} us, {mismatches} mismatches "
                    f"in {compared} comparisons"
                )
    finally:
        await db.close()
    return Matches(
        nodes=nodes,
        match_us_p50=statistics.median(_at(run, 0.5) for run in mine),
        match_us_p99=statistics.median(_at(run, 0.99) for run in mine),
        matches_per_s=statistics.median(len(run) / (sum(run) / 1e6) for run in mine),
        exact_sql_us_p50=statistics.median(exact),
        legacy_sql_us_p50=statistics.median(legacy),
        mismatches=mismatches,
        compared=compared,
    )


@dataclass(slots=True)
class _Spent:
    """Microseconds of each query of a run."""

    view: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    pruned: list[float] = field(default_factory=list)
    legacy: list[float] = field(default_factory=list)


class _World:
    """The nodes whose load changes."""

    def __init__(self, view: NodeView, records: Sequence[NodeRecord]) -> None:
        self._view = view
        self._rng = random.Random(7)
        self._nodes = [(node.id, node.capacity) for node in records]

    def turn(self) -> tuple[list[str], list[int]]:
        """Change the load of TURN nodes in the view; their ids and free slots."""
        ids, free = [], []
        for node_id, capacity in self._rng.sample(self._nodes, min(TURN, len(self._nodes))):
            held = self._view.get(node_id)
            left = self._rng.choice((capacity, self._rng.randint(0, capacity)))
            if held is not None:
                self._view.adjust(node_id, capacity - left - held.active_jobs)
            ids.append(node_id)
            free.append(left)
        return ids, free


def _matched(view: NodeView, asked: Sequence[Requirements], spent: list[float]) -> list[list[int]]:
    """The totals of each query's best; its microseconds go into ``spent``."""
    queries = [Query(f"job_{number}", one) for number, one in enumerate(asked)]
    found = []
    # As in the engine, collections are rare; here none falls into a match of some microseconds.
    gc.disable()
    try:
        for query in queries:
            began = time.perf_counter_ns()
            match = view.match(query)
            spent.append((time.perf_counter_ns() - began) / 1000)
            found.append(match)
    finally:
        gc.enable()
    return [[candidate.total for candidate in match.candidates] for match in found]


async def _timed(answer: Awaitable[Any], spent: list[float]) -> Any:
    began = time.perf_counter()
    found = await answer
    spent.append((time.perf_counter() - began) * 1e6)
    return found


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
