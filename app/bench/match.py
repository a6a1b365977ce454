"""Microseconds a match on an in-memory view, against exact SQL and the query of the engine before this one.

All three answer the same queries on the same made-up network, in turns. Every answer of the view is held against the
exact SQL's: the totals must be equal, down to the last millionth.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
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

QUERIES = 2_000
SQL_SECONDS = 2.0
"""How long each of the peers is measured a run; a slow one answers fewer of the queries."""


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
    asked = list(itertools.islice(jobs(), QUERIES))
    queries = [Query(f"job_{number}", one) for number, one in enumerate(asked)]
    db = Database(url, pool_size=1, application="hae bench")
    try:
        async with db.unit() as uow:
            await peers.prepare(uow, bases(records, weights), load_weight=weights.load, weights=sum(weights.quality))
        await settle(url)
        del records
        view_runs, exact_runs, legacy_runs = [], [], []
        mismatches = compared = 0
        # The first run warms all three up and is not counted.
        for number in range(runs + 1):
            mine = _matched(view, queries)
            async with db.unit() as uow:
                # Whichever of the two exact statements is faster here is the peer.
                plain, wrong, seen = await _asked(
                    asked, lambda one: peers.exact_match(uow, one, weights.price), mine[1]
                )
                pruned, also, more = await _asked(
                    asked, lambda one: peers.pruned_match(uow, one, weights.price), mine[1]
                )
                legacy, _, _ = await _asked(asked, lambda one: peers.legacy_match(uow, one), None)
            mismatches, compared = mismatches + wrong + also, compared + seen + more
            if number:
                view_runs.append(mine[0])
                exact_runs.append(min(statistics.median(plain), statistics.median(pruned)))
                legacy_runs.append(statistics.median(legacy))
                told(
                    f"run {number} of {runs}: match {_at(mine[0], 0.5):.1f} us, exact SQL {exact_runs[-1]:,.0f} us, "
                    f"legacy SQL {legacy_runs[-1]:,.0f} us, {mismatches} mismatches in {compared} comparisons"
                )
    finally:
        await db.close()
    return Matches(
        nodes=nodes,
        match_us_p50=statistics.median(_at(run, 0.5) for run in view_runs),
        match_us_p99=statistics.median(_at(run, 0.99) for run in view_runs),
        matches_per_s=statistics.median(len(run) / (sum(run) / 1e6) for run in view_runs),
        exact_sql_us_p50=statistics.median(exact_runs),
        legacy_sql_us_p50=statistics.median(legacy_runs),
        mismatches=mismatches,
        compared=compared,
    )


def _matched(view: NodeView, queries: Sequence[Query]) -> tuple[list[float], list[int | None]]:
    """Sorted microseconds of each query, and the best totals in the queries' order."""
    spent, totals = [], []
    # As in the engine, collections are rare; here none falls into a match of some microseconds.
    gc.collect()
    gc.disable()
    try:
        for query in queries:
            began = time.perf_counter_ns()
            best = view.match(query).best
            spent.append((time.perf_counter_ns() - began) / 1000)
            totals.append(None if best is None else best.total)
    finally:
        gc.enable()
    return sorted(spent), totals


async def _asked(
    asked: Sequence[Requirements], ask: Callable[[Requirements], Awaitable[Any]], totals: Sequence[int | None] | None
) -> tuple[list[float], int, int]:
    """Microseconds of each query until SQL_SECONDS are over, and how many answers were wrong, of how many."""
    spent: list[float] = []
    wrong = compared = 0
    stop = time.perf_counter() + SQL_SECONDS
    for number, one in enumerate(asked):
        began = time.perf_counter()
        answer = await ask(one)
        ended = time.perf_counter()
        spent.append((ended - began) * 1e6)
        if totals is not None:
            compared += 1
            wrong += (None if answer is None else answer[1]) != totals[number]
        if ended > stop:
            break
    return spent, wrong, compared


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
