"""Each relaxation places the job, anything less does not, and none is missing: held against the brute force."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.money import UNIT, parse_price
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements, capability_names, parse_capabilities
from app.core.states import NodeState
from app.matchmaker.policy import DEFAULT_WEIGHTS
from app.matchmaker.relax import Outlook, Relaxation, outlook
from app.matchmaker.types import Query
from app.matchmaker.view import NodeView
from tests.support.oracle import brute_force, suits
from tests.unit.matchmaker import cases
from tests.unit.matchmaker.cases import node

ASKED = Requirements(
    gpu_models=("a100",),
    gpus=2,
    min_vram_gb=48,
    capabilities=0b1001,
    region="EU",
    min_reputation=600,
    max_price=2 * UNIT,
)
GOOD = node(capabilities=0b1111, vram_gb=80, reputation=900, price=UNIT)


def looked(
    nodes: Sequence[NodeRecord], asked: Requirements, *, excluded: Collection[str] = (), floor: int = 0, **more: Any
) -> Outlook:
    view = NodeView(min_reputation=floor)
    view.upsert(nodes)
    return outlook(view, Query("job_1", asked, frozenset(excluded)), **more)


def feasible(nodes: Sequence[NodeRecord], asked: Requirements, excluded: Collection[str], floor: int) -> set[str]:
    answer = brute_force(
        nodes, "job_1", asked, excluded=excluded, weights=asdict(DEFAULT_WEIGHTS), floor_reputation=floor
    )
    return {ranked.node_id for ranked in answer.ranking}


def changed(asked: Requirements, change: Relaxation) -> Requirements:
    """The requirements with the change made, as an agent would send them."""
    after = change.after
    if change.requirement == "excluded":
        return asked
    if isinstance(after, list):
        if change.requirement == "capabilities":
            return replace(asked, capabilities=parse_capabilities(after))
        return replace(asked, gpu_models=tuple(after))
    if isinstance(after, str):
        if change.requirement == "region":
            return replace(asked, region=after)
        return replace(asked, max_price=parse_price(after))
    return with_number(asked, change.requirement, after)


def with_number(asked: Requirements, name: str, value: int) -> Requirements:
    changes: dict[str, Any] = {name: value}
    return replace(asked, **changes)


def a_little_less(asked: Requirements, change: Relaxation) -> list[Requirements]:
    """Changes of the same requirement that are smaller by the least possible."""
    after = change.after
    if isinstance(after, int):
        return [] if change.requirement == "excluded" else [with_number(asked, change.requirement, after + 1)]
    if change.requirement == "max_price_per_gpu_hour_hyper":
        assert isinstance(after, str)
        return [replace(asked, max_price=parse_price(after) - 1)]
    if change.requirement == "capabilities":
        dropped = asked.capabilities & ~changed(asked, change).capabilities
        return [
            replace(asked, capabilities=asked.capabilities & ~(dropped & ~bit))
            for bit in (1 << i for i in range(8))
            if dropped & bit
        ]
    return []


ALL_DROPPED: dict[str, dict[str, Any]] = {
    "gpu_models": {"gpu_models": ()},
    "gpus": {"gpus": 1},
    "min_vram_gb": {"min_vram_gb": 0},
    "capabilities": {"capabilities": 0},
    "region": {"region": ""},
    "min_reputation": {"min_reputation": 0},
    "max_price_per_gpu_hour_hyper": {"max_price": None},
}
WANTED = st.builds(
    Requirements,
    gpu_models=st.sampled_from([(), ("a100",), ("a100", "h100"), ("unheard of",)]),
    gpus=st.sampled_from([1, 1, 2, 3, 64]),
    min_vram_gb=st.sampled_from([0, 16, 17, 40, 1024]),
    capabilities=st.sampled_from([0, 1, 3, 7, 8, 255]),
    region=st.sampled_from(["", "EU", "AF"]),
    min_reputation=st.sampled_from([0, 1, 101, 1000]),
    max_price=st.one_of(st.none(), cases.PRICES),
)
# Nodes that fail little, so that one change is often enough.
KIND = st.lists(
    st.builds(
        replace,
        cases.records(),
        state=st.just(NodeState.ONLINE),
        gpus=st.sampled_from([1, 2, 4]),
        capacity=st.just(4),
        active_jobs=st.sampled_from([0, 0, 2, 3]),
        capabilities=st.sampled_from([7, 15, 255]),
        vram_gb=st.sampled_from([16, 40, 80]),
    ),
    max_size=12,
    unique_by=lambda record: record.id,
)


@settings(max_examples=150)
@given(st.one_of(KIND, cases.fleets(12)), WANTED, cases.EXCLUDED, cases.FLOORS)
def test_relaxations_are_the_smallest_that_place_the_job(
    nodes: list[NodeRecord], asked: Requirements, excluded: frozenset[str], floor: int
) -> None:
    found = looked(nodes, asked, excluded=excluded, floor=floor)
    before = feasible(nodes, asked, excluded, floor)
    first: set[str] = set()
    for change in sorted(found.relaxations, key=lambda one: one.nodes):
        left_out = () if change.requirement == "excluded" else excluded
        opened = feasible(nodes, changed(asked, change), left_out, floor) - before
        assert len(opened) == change.nodes >= 1, change
        if change.requirement not in first:
            first.add(change.requirement)
            for smaller in a_little_less(asked, change):
                assert feasible(nodes, smaller, excluded, floor) == before, change
        assert str(change.nodes) in change.text
    for requirement, dropped in ALL_DROPPED.items():
        if requirement not in first:
            assert feasible(nodes, replace(asked, **dropped), excluded, floor) == before, requirement
    if "excluded" not in first:
        assert feasible(nodes, asked, (), floor) == before


@settings(max_examples=80)
@given(cases.fleets(12), WANTED, cases.EXCLUDED, cases.FLOORS)
def test_busy_and_offline_nodes_lack_nothing_else(
    nodes: list[NodeRecord], asked: Requirements, excluded: frozenset[str], floor: int
) -> None:
    found = looked(nodes, asked, excluded=excluded, floor=floor)
    suitable = [
        one
        for one in nodes
        if one.id not in excluded and suits(one, asked, floor) is None and one.capacity >= asked.gpus
    ]
    online = [one for one in suitable if one.state is NodeState.ONLINE]
    assert found.busy == sum(one.free < asked.gpus for one in online)
    away = {NodeState.ONLINE, NodeState.DEREGISTERED}
    assert found.offline == sum(one.state not in away for one in suitable)


def test_each_requirement_is_told_in_words() -> None:
    nodes = [
        replace(GOOD, id="models", gpu_model="h100"),
        replace(GOOD, id="other", gpu_model="t4"),
        replace(GOOD, id="again", gpu_model="t4"),
        replace(GOOD, id="gpus", active_jobs=3),
        replace(GOOD, id="vram", vram_gb=40),
        replace(GOOD, id="less", vram_gb=16),
        replace(GOOD, id="capabilities", capabilities=0b0001),
        replace(GOOD, id="region", region="NA"),
        replace(GOOD, id="reputation", reputation=550),
        replace(GOOD, id="price", price=3 * UNIT),
        replace(GOOD, id="dear", price=5 * UNIT),
        replace(GOOD, id="dear too", price=5 * UNIT),
        replace(GOOD, id="declined"),
        replace(GOOD, id="two", vram_gb=40, region="NA"),
        replace(GOOD, id="away", state=NodeState.OFFLINE),
    ]
    found = looked(nodes, ASKED, excluded=["declined", "long gone"])
    assert [(c.requirement, c.before, c.after, c.nodes, c.text) for c in found.relaxations] == [
        ("gpu_models", ["a100"], [], 3, "gpu models a100 → any: 3 nodes"),
        ("max_price_per_gpu_hour_hyper", "2", "5", 3, "max price 2 → 5: 3 nodes"),
        ("gpu_models", ["a100"], ["a100", "t4"], 2, "gpu models a100 → a100 or t4: 2 nodes"),
        ("min_vram_gb", 48, 40, 1, "vram 48 → 40: 1 node"),
        ("capabilities", ["inference", "render"], ["inference"], 1, "capabilities without render: 1 node"),
        ("region", "EU", "NA", 1, "region EU → NA: 1 node"),
        ("min_reputation", 600, 550, 1, "reputation 600 → 550: 1 node"),
        ("max_price_per_gpu_hour_hyper", "2", "3", 1, "max price 2 → 3: 1 node"),
        ("gpus", 2, 1, 1, "gpus 2 → 1: 1 node"),
        ("excluded", 2, 1, 1, "asking those again that declined or failed it: 1 node"),
    ]
    assert (found.busy, found.offline) == (1, 1)
    assert capability_names(ASKED.capabilities) == ["inference", "render"]


def test_the_networks_floor_is_not_for_the_asker_to_lower() -> None:
    nodes = [replace(GOOD, id="low", reputation=300), replace(GOOD, id="middling", reputation=500)]
    asked = replace(ASKED, min_reputation=0)
    assert looked(nodes, asked, floor=600).relaxations == []
    told = looked(nodes, replace(ASKED, min_reputation=700), floor=400).relaxations
    assert [(one.after, one.nodes) for one in told] == [(500, 1)]


def test_nodes_that_are_held_elsewhere_count_as_busy() -> None:
    asked = replace(ASKED, max_price=None)
    found = looked([GOOD, replace(GOOD, id="node_b")], asked, held={GOOD.id, "node_b", "unknown"})
    assert (found.relaxations, found.busy) == ([], 2)


def test_an_empty_network_offers_nothing() -> None:
    assert looked([], ASKED) == Outlook()
