"""Batches: held against brute force where they are scarce, and against single matches where they are not."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bench import assign as bench
from app.core.errors import InvalidInput
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.matchmaker.assign import Assignment, place
from app.matchmaker.fairness import Line, Share, Waiter
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.types import Match, Query, Verdict
from tests.unit.matchmaker.cases import MODELS, node

small_fleets = st.lists(
    st.builds(
        lambda model, reputation, price, capacity: node(
            gpu_model=model, reputation=reputation, price=price, capacity=capacity
        ),
        st.sampled_from(MODELS),
        st.integers(0, 1000),
        st.integers(1, 10),
        st.integers(1, 2),
    ),
    min_size=1,
    max_size=4,
).map(lambda records: [replace(record, id=f"node_{at}") for at, record in enumerate(records)])
wishes = st.lists(
    st.tuples(
        st.frozensets(st.sampled_from(MODELS), max_size=3).map(lambda names: tuple(sorted(names))),
        st.sampled_from([0, 0, 500]),
    ),
    min_size=1,
    max_size=5,
)


def matchmaker(records: list[NodeRecord]) -> Matchmaker:
    made = Matchmaker()
    made.view.upsert(records)
    return made


def batch(asked: list[Requirements], key_id: str = "key") -> tuple[list[Waiter], dict[str, Query]]:
    waiters = [Waiter(f"job_{at}", key_id, one.gpus, at) for at, one in enumerate(asked)]
    return waiters, {f"job_{at}": Query(f"job_{at}", one) for at, one in enumerate(asked)}


def nodes_of(outcome: Assignment) -> dict[str, str]:
    return {one.waiter.job_id: one.match.best.node_id for one in outcome.placed if one.match.best is not None}


def totals(records: list[NodeRecord], queries: dict[str, Query]) -> dict[str, dict[str, int]]:
    """What each job is worth where, on the view before the batch."""
    view = matchmaker(records)
    found = {job_id: view.match(query, top_n=100).candidates for job_id, query in queries.items()}
    return {job_id: {one.node_id: one.total for one in candidates} for job_id, candidates in found.items()}


def best_by_force(records: list[NodeRecord], worth: dict[str, dict[str, int]]) -> tuple[list[bool], int]:
    """The lexicographically best set of jobs that can be placed, and the highest sum of totals that it can have."""
    capacity = {record.id: record.free for record in records}
    best: tuple[list[bool], int] = ([], -1)
    for seats in itertools.product(*([None, *nodes] for nodes in worth.values())):
        if any(seats.count(node_id) > slots for node_id, slots in capacity.items()):
            continue
        placed = [node_id is not None for node_id in seats]
        total = sum(worth[job_id][node_id] for job_id, node_id in zip(worth, seats, strict=True) if node_id is not None)
        best = max(best, (placed, total))
    return best


@settings(max_examples=60, deadline=None)
@given(small_fleets, wishes)
def test_who_is_placed_is_the_best_there_is_and_so_is_the_sum_once_somebody_goes_away_empty(
    records: list[NodeRecord], asked: list[tuple[tuple[str, ...], int]]
) -> None:
    waiters, queries = batch([Requirements(gpu_models=models, min_reputation=floor) for models, floor in asked])
    worth = totals(records, queries)
    outcome = place(matchmaker(records), Line(waiters, {}, 1), queries)
    got = nodes_of(outcome)
    placed, total = best_by_force(records, worth)
    assert [waiter.job_id in got for waiter in waiters] == placed
    if any(one.match.verdict is Verdict.BUSY for one in outcome.choices):
        assert sum(worth[job_id][node_id] for job_id, node_id in got.items()) == total


@settings(max_examples=40, deadline=None)
@given(small_fleets, st.lists(st.tuples(st.sampled_from([1, 1, 2]), st.sampled_from(MODELS)), min_size=1, max_size=6))
def test_jobs_of_several_slots_never_oversubscribe_and_nobody_loses_what_greedy_would_give_a_more_urgent_one(
    records: list[NodeRecord], asked: list[tuple[int, str]]
) -> None:
    wants = [Requirements(gpu_models=tuple(sorted({model, "t4"})), gpus=gpus) for gpus, model in asked]
    waiters, queries = batch(wants)
    view = matchmaker(records)
    outcome = place(view, Line(waiters, {}, 1), queries)
    got = nodes_of(outcome)
    for record in records:
        taken = sum(one.slots for one in waiters if got.get(one.job_id) == record.id)
        left = view.view.get(record.id)
        assert left is not None and left.free == record.free - taken >= 0
    alone = matchmaker(records)
    greedy = []
    for waiter in waiters:
        best = alone.match(queries[waiter.job_id]).best
        greedy.append(best is not None)
        if best is not None:
            alone.view.adjust(best.node_id, waiter.slots)
    assert [waiter.job_id in got for waiter in waiters] >= greedy


def test_a_batch_with_enough_for_all_is_placed_as_its_jobs_would_be_alone() -> None:
    records = [node(f"node_{at}", capacity=8, gpus=8, reputation=500 + at) for at in range(6)]
    waiters, queries = batch([Requirements(gpus=1 + at % 2) for at in range(9)])
    alone, expected = matchmaker(records), {}
    for waiter in waiters:
        best = alone.match(queries[waiter.job_id]).best
        assert best is not None
        alone.view.adjust(best.node_id, waiter.slots)
        expected[waiter.job_id] = best.node_id
    assert nodes_of(place(matchmaker(records), Line(waiters, {}, 1), queries)) == expected


def test_a_job_that_would_do_elsewhere_makes_room_for_one_that_would_not() -> None:
    records = [node("node_a", capacity=1, reputation=900), node("node_h", gpu_model="h100", capacity=1, reputation=100)]
    waiters, queries = batch([Requirements(), Requirements(gpu_models=("a100",))])
    assert nodes_of(place(matchmaker(records), Line(waiters, {}, 1), queries)) == {
        "job_0": "node_h",
        "job_1": "node_a",
    }


def test_one_slot_jobs_make_room_for_a_job_of_several() -> None:
    records = [
        node("node_a", capacity=2, reputation=900),
        node("node_h", gpu_model="h100", capacity=1, reputation=100),
    ]
    waiters, queries = batch([Requirements(), Requirements(gpu_models=("a100",), gpus=2)])
    assert nodes_of(place(matchmaker(records), Line(waiters, {}, 1), queries)) == {
        "job_0": "node_h",
        "job_1": "node_a",
    }


def test_a_quota_holds_whoever_makes_room() -> None:
    records = [node("node_a", capacity=1, reputation=900), node("node_h", gpu_model="h100", capacity=1, reputation=100)]
    wants = [Requirements(), Requirements(gpu_models=("a100",)), Requirements(gpu_models=("h100",))]
    waiters, queries = batch(wants)
    line = Line(waiters, {"key": Share(max_active=1)}, 1)
    outcome = place(matchmaker(records), line, queries)
    assert nodes_of(outcome) == {"job_0": "node_a"}
    assert [one.job_id for one in outcome.over_quota] == ["job_1", "job_2"]


def test_every_choice_is_an_ordinary_match_that_can_be_made_again() -> None:
    records = [node(f"node_{at}", capacity=1, reputation=100 * at, price=1 + at) for at in range(6)]
    wants = [Requirements(min_reputation=100 * (at % 4)) for at in range(8)]
    waiters, queries = batch(wants)
    view = matchmaker(records)
    told: dict[str, tuple[Query, Match, list[NodeRecord | None]]] = {}

    def noted(query: Query, match: Match) -> None:
        told[query.job_id] = query, match, [view.view.get(record.id) for record in records]

    outcome = place(view, Line(waiters, {}, 1), queries, noted=noted)
    assert len(outcome.placed) == 6
    for choice in outcome.placed:
        query, match, then = told[choice.waiter.job_id]
        assert (query, match) == (choice.query, choice.match)
        again = matchmaker([record for record in then if record is not None]).match(query)
        assert choice.match.best is not None and again.best is not None
        assert (again.best.node_id, again.best.total) == (choice.match.best.node_id, choice.match.best.total)


def test_a_batch_that_fails_gives_everything_back() -> None:
    view = matchmaker([node("node_a", capacity=2)])
    waiters, queries = batch([Requirements(), Requirements()])
    queries["job_1"] = replace(queries["job_1"], policy="from_the_future")
    with pytest.raises(InvalidInput):
        place(view, Line(waiters, {}, 1), queries)
    left = view.view.get("node_a")
    assert left is not None and left.free == 2


def test_of_jobs_that_nobody_asks_about_only_the_first_of_its_like_is_tried() -> None:
    view = matchmaker([node("node_a", capacity=1)])
    waiters, queries = batch([Requirements()] * 5)
    outcome = place(view, Line(waiters, {}, 1), queries, quiet={f"job_{at}" for at in range(5)})
    assert nodes_of(outcome) == {"job_0": "node_a"}
    assert len(outcome.choices) + len(outcome.skipped) == 5 and len(outcome.skipped) >= 3


@pytest.mark.parametrize("seed", [1, 2])
def test_a_scarce_batch_loses_little_against_the_best_assignment(seed: int) -> None:
    found = bench.measure(96, 60, seed)
    assert found.assigned < 0.005 < found.greedy
