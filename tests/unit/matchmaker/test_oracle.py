"""The view answers as the brute force does, and keeps the laws that follow from the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from statistics import median_low

from hypothesis import given
from hypothesis import strategies as st

from app.core.money import MAX_AMOUNT
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.core.states import NodeState
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.policy import Weights
from app.matchmaker.types import FILTERS, Match, Query
from app.matchmaker.view import NodeView
from tests.support.oracle import Answer, brute_force, first_reject
from tests.unit.matchmaker import cases


def viewed(nodes: Sequence[NodeRecord], weights: Weights | None = None, floor: int = 0) -> NodeView:
    view = NodeView(weights or Weights(), floor)
    view.upsert(nodes)
    return view


def asked_oracle(nodes: Sequence[NodeRecord], query: Query, weights: Weights, floor: int) -> Answer:
    return brute_force(
        nodes,
        query.job_id,
        query.requirements,
        excluded=query.excluded,
        policy=query.policy,
        weights=asdict(weights),
        floor_reputation=floor,
    )


QUERIES = st.builds(Query, cases.JOB_IDS, cases.REQUIREMENTS, cases.EXCLUDED, cases.POLICY_NAMES)


@given(cases.fleets(), QUERIES, cases.WEIGHTS, cases.FLOORS, st.integers(1, 30))
def test_equals_the_oracle(nodes: list[NodeRecord], query: Query, weights: Weights, floor: int, top_n: int) -> None:
    cases.assert_same(viewed(nodes, weights, floor), query, asked_oracle(nodes, query, weights, floor), top_n)


@given(cases.fleets(), QUERIES, cases.WEIGHTS)
def test_equals_the_oracle_where_nothing_but_the_price_filters(
    nodes: list[NodeRecord], query: Query, weights: Weights
) -> None:
    nodes = [
        replace(node, state=NodeState.ONLINE, gpus=4, capacity=4, active_jobs=node.active_jobs % 4) for node in nodes
    ]
    query = replace(query, requirements=Requirements(max_price=query.requirements.max_price), excluded=())
    cases.assert_same(viewed(nodes, weights), query, asked_oracle(nodes, query, weights, 0))


@given(cases.fleets(), QUERIES, st.sets(st.integers(0, 24)))
def test_removed_nodes_leave_no_trace(nodes: list[NodeRecord], query: Query, gone: set[int]) -> None:
    view = viewed(nodes)
    left = [node for i, node in enumerate(nodes) if i not in gone]
    assert view.remove(node.id for i, node in enumerate(nodes) if i in gone) == len(nodes) - len(left)
    cases.assert_same(view, query, asked_oracle(left, query, Weights(), 0))


@given(st.data(), cases.fleets(), QUERIES, cases.WEIGHTS)
def test_the_order_of_arrival_changes_nothing(
    data: st.DataObject, nodes: list[NodeRecord], query: Query, weights: Weights
) -> None:
    shuffled = data.draw(st.permutations(nodes))
    assert viewed(nodes, weights).match(query) == viewed(shuffled, weights).match(query)


@given(cases.fleets(), QUERIES, cases.REQUIREMENTS)
def test_one_more_requirement_never_widens(nodes: list[NodeRecord], query: Query, more: Requirements) -> None:
    view = viewed(nodes)
    wide = query.requirements
    narrow = replace(
        wide,
        gpus=max(wide.gpus, more.gpus),
        min_vram_gb=max(wide.min_vram_gb, more.min_vram_gb),
        capabilities=wide.capabilities | more.capabilities,
        region=wide.region or more.region,
        min_reputation=max(wide.min_reputation, more.min_reputation),
        gpu_models=wide.gpu_models or more.gpu_models,
        max_price=min((p for p in (wide.max_price, more.max_price) if p is not None), default=None),
    )
    assert _ids(view.match(replace(query, requirements=narrow), 99)) <= _ids(view.match(query, 99))


@given(cases.fleets().filter(bool), QUERIES, cases.WEIGHTS, st.data())
def test_more_reputation_never_worsens_a_rank(
    nodes: list[NodeRecord], query: Query, weights: Weights, data: st.DataObject
) -> None:
    raised = data.draw(st.sampled_from(nodes))
    better = replace(raised, reputation=data.draw(st.integers(raised.reputation, 1000)), version=99)
    view = viewed(nodes, weights)
    before = _rank(view.match(query, 99), raised.id)
    assert view.upsert([better]) == 1
    assert _rank(view.match(query, 99), raised.id) <= before


@given(cases.fleets(), QUERIES, cases.FLOORS)
def test_every_node_is_feasible_or_counted_once(nodes: list[NodeRecord], query: Query, floor: int) -> None:
    view = viewed(nodes, floor=floor)
    match, tally = view.match(query), view.tally(query)
    assert tally.feasible + sum(tally.rejects.values()) == len(nodes)
    assert all(tally.rejects.values())
    assert list(tally.rejects) == [name for name in FILTERS if name in tally.rejects]
    assert (match.verdict is None) == bool(match.candidates) == bool(tally.feasible)


@given(cases.fleets(), QUERIES)
def test_totals_never_rise_down_the_ranking(nodes: list[NodeRecord], query: Query) -> None:
    totals = [candidate.total for candidate in viewed(nodes).match(query, 99).candidates]
    assert totals == sorted(totals, reverse=True)


@given(st.lists(cases.records(), max_size=60), QUERIES, st.data())
def test_late_repeated_and_reordered_rows_do_no_harm(rows: list[NodeRecord], query: Query, data: st.DataObject) -> None:
    # Two rows of one node and version are the same row, as in the database.
    history = list({(row.id, row.version): row for row in rows}.values())
    newest: dict[str, NodeRecord] = {}
    for row in sorted(history, key=lambda row: row.version):
        newest[row.id] = row
    view = NodeView()
    for row in data.draw(st.permutations(history + history[::2])):
        view.upsert([row])
    whole = NodeView()
    whole.upsert(data.draw(st.permutations(history)))
    assert {node_id: view.get(node_id) for node_id in newest} == newest
    assert {node_id: whole.get(node_id) for node_id in newest} == newest
    assert len(view) == len(whole) == len(newest)
    expected = asked_oracle(list(newest.values()), query, Weights(), 0)
    cases.assert_same(view, query, expected)
    cases.assert_same(whole, query, expected)


@given(cases.fleets(), cases.REQUIREMENTS, cases.FLOORS)
def test_availability_and_fits_agree_with_the_oracle(nodes: list[NodeRecord], asked: Requirements, floor: int) -> None:
    matchmaker = Matchmaker(min_reputation=floor)
    matchmaker.view.upsert(nodes)
    failures = {node.id: first_reject(node, asked, (), floor) for node in nodes}
    assert {node.id: matchmaker.first_failure(asked, node) for node in nodes} == failures
    assert all(matchmaker.fits(asked, node) == (failures[node.id] is None) for node in nodes)
    matching = [node for node in nodes if failures[node.id] in (None, "busy")]
    found = matchmaker.availability(asked)
    assert found.total == len(nodes)
    assert found.online == sum(node.state is NodeState.ONLINE for node in nodes)
    assert found.matching == len(matching) == sum(found.by_gpu_model.values())
    assert found.free_slots == sum(node.free for node in matching)
    assert found.available_now == sum(failure is None for failure in failures.values())
    assert found.cheapest_price == min((node.price for node in matching), default=None)
    assert found.median_price == (median_low([node.price for node in matching]) if matching else None)
    assert all(
        count == sum(node.gpu_model == model for node in matching) for model, count in found.by_gpu_model.items()
    )
    rejected = [failure for failure in failures.values() if failure is not None]
    assert found.rejects == {name: rejected.count(name) for name in FILTERS if name in rejected}


def test_a_thousand_equal_nodes_are_ranked_by_hash() -> None:
    nodes = [cases.node(f"node_{i}") for i in range(1000)]
    view = viewed(nodes)
    firsts = set()
    for number in range(20):
        query = Query(f"job_{number}", Requirements())
        cases.assert_same(view, query, asked_oracle(nodes, query, Weights(), 0), 7)
        firsts.add(view.match(query).candidates[0].node_id)
    assert len(firsts) > 10


def test_the_largest_prices_are_told_apart_exactly() -> None:
    nodes = [cases.node("node_a", price=MAX_AMOUNT), cases.node("node_b", price=MAX_AMOUNT - 1)]
    match = viewed(nodes).match(Query("job_1", Requirements(), policy="cheapest"))
    assert [(c.node_id, c.price, c.total) for c in match.candidates] == [
        ("node_b", MAX_AMOUNT - 1, 1_000_000),
        ("node_a", MAX_AMOUNT, 999_999),
    ]


def _ids(match: Match) -> set[str]:
    return {candidate.node_id for candidate in match.candidates}


def _rank(match: Match, node_id: str) -> int:
    ranking = [candidate.node_id for candidate in match.candidates]
    return ranking.index(node_id) if node_id in ranking else 1_000
