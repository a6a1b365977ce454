"""Figures, against their definitions."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.requirements import MAX_REPUTATION
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.types import Query
from app.simulate.play import Rules, play, prepare
from app.simulate.reference import Reference
from app.simulate.results import BUCKETS, areas, gini, jain, percentile, rounded
from app.simulate.synthetic import synthetic_jobs, synthetic_network
from app.simulate.traced import traced_jobs, traced_network
from app.simulate.workload import Scene
from tests.unit.simulate.referee import holds_of, suits


@settings(max_examples=50)
@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=30))
def test_gini_is_half_the_relative_mean_difference(values: list[int]) -> None:
    total = sum(values)
    apart = sum(abs(one - other) for one, other in product(values, values))
    expected = Fraction(apart, 2 * len(values) * total) if total else Fraction(0)
    assert gini(np.array(values, np.int64)) == pytest.approx(float(expected), abs=1e-6)


def test_gini_does_not_overflow_for_a_large_busy_network() -> None:
    busy = np.full(1_000_000, 86_400_000 * 40, np.int64)
    assert gini(busy) == 0.0
    busy[: len(busy) // 2] = 0
    assert gini(busy) == 0.5


def test_jain() -> None:
    assert jain([5, 5, 5]) == 1.0
    assert jain([9, 0, 0]) == rounded(1, 3, 6)
    assert jain([]) == 1.0


def test_percentiles_are_nearest_rank() -> None:
    values = np.arange(1, 201, dtype=np.int64)
    assert [percentile(values, each) for each in (50, 99, 100)] == [100, 198, 200]
    assert percentile(values[:0], 50) == 0


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(1, 4)), max_size=20))
def test_areas_add_up_every_moment(intervals: list[tuple[int, int, int]]) -> None:
    begin = np.array([min(a, b) for a, b, _ in intervals], np.int64)
    end = np.array([max(a, b) for a, b, _ in intervals], np.int64)
    weight = np.array([slots for *_, slots in intervals], np.int64)
    edges = np.arange(0, 101, 10, dtype=np.int64)
    expected = [
        sum(slots for moment in range(low, low + 10) for a, b, slots in intervals if min(a, b) <= moment < max(a, b))
        for low in range(0, 100, 10)
    ]
    assert areas(begin, end, weight, edges).tolist() == expected


def test_figures_agree_with_the_trail() -> None:
    scene = Scene(traced_network(60, 1), traced_jobs(500, 3, 1), 1)
    run = prepare(scene, "spread", Rules())
    trail = run.run(lambda now_ms, seen: False)
    figures = play(scene, "spread", Rules(), lambda now_ms, seen: False).figures
    gpus = [scene.workload.kinds[kind].gpus for kind in scene.workload.kind]
    used = sum(gpus[hold.job] * (hold.end - hold.begin) for hold in holds_of(trail))
    slots = int(scene.network.capacity.sum())
    assert figures["utilisation_pct"] == pytest.approx(100 * used / (slots * trail.end_ms), abs=1e-3)
    curve = figures["over_time"]["utilisation_pct"]
    assert len(curve) == BUCKETS
    assert sum(curve) / BUCKETS == pytest.approx(figures["utilisation_pct"], abs=1e-2)
    jobs = figures["jobs"]
    assert sum(jobs[name] for name in ("waiting", "offered", "running", "completed", "failed", "expired")) == 500
    assert jobs["counted"] == 500
    assert figures["placed_pct"] == sum(wait >= 0 for wait in trail.waits) / 5
    offers = dict(figures["offers"])
    assert offers.pop("made") == sum(offers.values()) == len(trail.hold_job)


def test_the_reference_is_the_best_of_all_nodes_one_by_one() -> None:
    network, kinds = synthetic_network(60, 4), synthetic_jobs(1, 1, 4).kinds[:60]
    matchmaker = Matchmaker()
    matchmaker.view.load(network)
    reference = Reference(matchmaker, network, kinds)
    workload = synthetic_jobs(300, 1, 4)
    scene = Scene(network, workload, 4)
    for job, kind in enumerate(workload.kind.tolist()):
        if kind >= len(kinds):
            continue
        fitting = [node for node in range(len(network)) if suits(scene, job, node)]
        assert reference.never_fits[kind] == (not fitting)
        if not fitting:
            continue
        cheapest = min(int(network.price[node]) for node in fitting)
        totals = [reference.total(node, int(network.capacity[node]), cheapest) for node in fitting]
        assert reference.best[kind] == max(totals)
        assert reference.cheapest[kind] == cheapest
        top = matchmaker.match(Query("", kinds[kind])).candidates[0]
        assert top.total == max(totals), "the measure is the policy's own"
        assert reference.regret(kind, fitting[0], 0) >= 0
        assert reference.overpaid(kind, fitting[0]) >= 10**6
    assert network.reputation.max() <= MAX_REPUTATION
