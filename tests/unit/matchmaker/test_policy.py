"""Weights and policies by name."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.errors import InvalidInput
from app.core.requirements import Requirements
from app.matchmaker.policy import POLICIES, Weights, get_policy, weighted_score
from app.matchmaker.terms import SCALE, Terms
from app.matchmaker.types import Query
from app.matchmaker.view import NodeView
from tests.unit.matchmaker.cases import node


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"reputation": -1}, "reputation"),
        ({"stake": 1.5}, "stake"),
        ({"completion": float("nan")}, "completion"),
        ({"load": True}, "load"),
        ({"response": "10"}, "response"),
        ({"price": -1}, "price"),
        ({"price": 101}, "price"),
        ({"stake": 10**12 + 1}, "stake"),
        ({"reputation": 0, "stake": 0, "completion": 0, "load": 0, "response": 0}, "reputation"),
    ],
)
def test_senseless_weights_are_refused_by_name(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Weights(**values)
    assert caught.value.field == field


def test_one_weight_is_enough() -> None:
    assert Weights(0, 0, 0, 0, 1, price=100).quality == Terms(0, 0, 0, 0, 1)


def test_the_score_is_the_weighted_mean_rounded_down() -> None:
    terms = Terms(SCALE, 0, SCALE // 2, 0, 1)
    assert weighted_score(terms, Terms(1, 1, 1, 0, 0)) == 500_000
    assert weighted_score(terms, Terms(2, 0, 0, 0, 1)) == 666_667
    assert weighted_score(Terms(1, 0, 0, 0, 0), Terms(1, 1, 0, 0, 0)) == 0


def test_the_engines_policies_are_known_by_name() -> None:
    assert list(POLICIES) == ["reputation_weighted", "cheapest", "fastest", "spread"]
    assert all(get_policy(name).name == name and get_policy(name).summary for name in POLICIES)


def test_an_unknown_policy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="reputation_weighted, cheapest, fastest, spread") as caught:
        get_policy("fastest?")
    assert caught.value.field == "policy"


def test_cheapest_takes_the_lowest_price_and_then_the_better_score() -> None:
    view = NodeView()
    view.upsert(
        [
            node("node_dear", price=1_000_001, reputation=1000),
            node("node_poor", price=1_000_000, reputation=0),
            node("node_good", price=1_000_000, reputation=10),
        ]
    )
    ids = [c.node_id for c in view.match(Query("job_1", Requirements(), policy="cheapest")).candidates]
    assert ids == ["node_good", "node_poor", "node_dear"]


@pytest.mark.parametrize(("percent", "first"), [(0, "node_dear"), (100, "node_cheap")])
def test_the_price_weight_moves_the_choice(percent: int, first: str) -> None:
    view = NodeView(Weights(price=percent))
    view.upsert([node("node_dear", price=4, reputation=1000), node("node_cheap", price=3, reputation=0)])
    best = view.match(Query("job_1", Requirements())).best
    assert best is not None
    assert best.node_id == first
