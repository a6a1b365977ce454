"""The filters one by one, the verdicts, the explanation and the refusals."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.errors import InvalidInput
from app.core.money import UNIT
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.core.states import NodeState
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.policy import Weights
from app.matchmaker.types import Query, Verdict
from app.matchmaker.view import NodeView
from tests.unit.matchmaker.cases import node

ASKED = Requirements(
    gpu_models=("h100", "a100"),
    gpus=2,
    min_vram_gb=40,
    capabilities=0b101,
    region="EU",
    min_reputation=400,
    max_price=2 * UNIT,
)


def matchmaker(*nodes: NodeRecord, floor: int = 0) -> Matchmaker:
    made = Matchmaker(min_reputation=floor)
    made.view.upsert(nodes)
    return made


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({}, None),
        ({"state": NodeState.DRAINING}, "offline"),
        ({"gpu_model": "t4"}, "gpu_model"),
        ({"gpus": 1}, "gpu_count"),
        ({"vram_gb": 39}, "vram"),
        ({"capabilities": 0b110}, "capabilities"),
        ({"region": "NA"}, "region"),
        ({"reputation": 399}, "reputation"),
        ({"price": 2 * UNIT + 1}, "price"),
        ({"active_jobs": 3}, "busy"),
        ({"active_jobs": 2}, None),
        ({"gpu_model": "t4", "price": 9 * UNIT, "active_jobs": 4}, "gpu_model"),
    ],
)
def test_each_filter_rejects_under_its_name(changes: dict[str, Any], failure: str | None) -> None:
    record = node(**changes)
    made = matchmaker(record)
    assert made.tally(Query("job_1", ASKED)).rejects == ({failure: 1} if failure else {})
    assert made.first_failure(ASKED, record) == failure
    assert made.fits(ASKED, record) == (failure is None)
    assert made.availability(ASKED).rejects == ({failure: 1} if failure else {})


def test_the_network_floor_counts_where_the_request_asks_less() -> None:
    record = node(reputation=450)
    assert matchmaker(record, floor=450).fits(ASKED, record)
    strict = matchmaker(record, floor=451)
    assert not strict.fits(ASKED, record)
    assert strict.tally(Query("job_1", ASKED)).rejects == {"reputation": 1}


def test_excluded_nodes_are_passed_over() -> None:
    made = matchmaker(node("node_a"), node("node_b"))
    query = Query("job_1", ASKED, excluded=("node_a", "node_a", "node_x"))
    assert [candidate.node_id for candidate in made.match(query).candidates] == ["node_b"]
    assert made.tally(query).rejects == {"excluded": 1}


@pytest.mark.parametrize(
    ("nodes", "excluded", "verdict"),
    [
        ([], (), Verdict.NEVER_FITS),
        ([node(gpu_model="t4")], (), Verdict.NEVER_FITS),
        ([node(active_jobs=4)], (), Verdict.BUSY),
        ([node(active_jobs=0, capacity=1)], (), Verdict.NEVER_FITS),
        ([node(active_jobs=4), node("node_b", state=NodeState.OFFLINE)], ("node_b",), Verdict.BUSY),
        ([node(state=NodeState.OFFLINE)], (), Verdict.OFFLINE),
        ([node(state=NodeState.DRAINING)], (), Verdict.OFFLINE),
        ([node(state=NodeState.DEREGISTERED)], (), Verdict.NEVER_FITS),
        ([node(state=NodeState.OFFLINE, gpu_model="t4")], (), Verdict.NEVER_FITS),
        ([node()], ("node_a",), Verdict.DECLINED),
        ([node(state=NodeState.OFFLINE)], ("node_a",), Verdict.DECLINED),
        ([node(), node("node_b", state=NodeState.OFFLINE)], ("node_a",), Verdict.OFFLINE),
        ([node(), node("node_b", gpu_model="t4")], ("node_a",), Verdict.DECLINED),
        ([node("node_b", gpu_model="t4"), node()], ("node_b", "node_a"), Verdict.DECLINED),
    ],
)
def test_verdicts(nodes: list[NodeRecord], excluded: tuple[str, ...], verdict: Verdict) -> None:
    match = matchmaker(*nodes).match(Query("job_1", ASKED, excluded))
    assert match.verdict is verdict
    assert match.best is None


def test_the_default_top_is_five_and_the_matchmaker_sets_another() -> None:
    made = Matchmaker(Weights(price=0), top_n=2)
    made.view.upsert(node(f"node_{i}") for i in range(9))
    query = Query("job_1", Requirements())
    assert [len(made.match(query).candidates), len(made.view.match(query).candidates)] == [2, 5]
    assert (made.weights, made.min_reputation) == (Weights(price=0), 0)


def test_senseless_settings_and_queries_are_refused_by_name() -> None:
    for field, build in (
        ("top_n", lambda: Matchmaker(top_n=0)),
        ("min_reputation", lambda: Matchmaker(min_reputation=-1)),
        ("min_reputation", lambda: NodeView(min_reputation=1001)),
        ("top_n", lambda: NodeView().match(Query("job_1", ASKED), 0)),
        ("policy", lambda: NodeView().match(Query("job_1", ASKED, policy=""))),
    ):
        with pytest.raises(InvalidInput) as caught:
            build()
        assert caught.value.field == field


def test_a_removed_node_gives_no_verdict() -> None:
    made = matchmaker(node("node_a", state=NodeState.OFFLINE), node("node_b", gpu_model="t4"))
    made.view.remove(["node_a"])
    assert made.match(Query("job_1", ASKED)).verdict is Verdict.NEVER_FITS
    assert made.availability(ASKED).total == 1


def test_availability_in_figures() -> None:
    made = matchmaker(
        node("node_a", price=7),
        node("node_b", price=3, active_jobs=3),
        node("node_c", price=9, gpu_model="h100"),
        node("node_d", price=5),
        node("node_e", price=1, state=NodeState.OFFLINE),
        node("node_f", price=1, gpu_model="t4"),
    )
    found = made.availability(ASKED)
    assert (found.total, found.online, found.matching, found.available_now) == (6, 5, 4, 3)
    assert (found.cheapest_price, found.median_price, found.free_slots) == (3, 5, 13)
    assert list(found.by_gpu_model.items()) == [("a100", 3), ("h100", 1)]
    assert found.rejects == {"offline": 1, "gpu_model": 1, "busy": 1}


def test_availability_of_an_empty_network() -> None:
    found = matchmaker().availability(ASKED)
    assert (found.total, found.matching, found.available_now, found.free_slots) == (0, 0, 0, 0)
    assert (found.cheapest_price, found.median_price) == (None, None)
    assert found.by_gpu_model == found.rejects == {}
