"""Keeping the rows: versions, slots, adjustments, limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import Conflict, InvalidInput, NotFound
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.core.states import NodeState
from app.matchmaker.types import Query
from app.matchmaker.view import NodeView
from tests.unit.matchmaker.cases import node, records

ANY = Query("job_1", Requirements())


def test_only_newer_rows_are_taken() -> None:
    view = NodeView()
    assert view.upsert([node(version=3)]) == 1
    assert view.upsert([node(version=3, price=9), node(version=2, price=9)]) == 0
    assert view.get("node_a") == node(version=3)
    assert view.upsert([node(version=5, price=5), node(version=4, price=4)]) == 1
    assert view.get("node_a") == node(version=5, price=5)


def test_version_rises_with_every_change_and_only_then() -> None:
    view = NodeView()
    seen = [view.version]
    for change in (
        lambda: view.upsert([node()]),
        lambda: view.adjust("node_a", 1),
        lambda: view.heal([node()]),
        lambda: view.remove(["node_a"]),
    ):
        change()
        seen.append(view.version)
    assert seen == sorted(set(seen))
    view.upsert([])
    view.remove(["node_a"])
    assert view.version == seen[-1]
    assert view.match(ANY).view_version == seen[-1]


@given(records(node_id="node_a"))
def test_a_row_comes_back_as_it_went_in(record: NodeRecord) -> None:
    view = NodeView()
    view.upsert([record])
    held = view.get("node_a")
    assert held == record
    assert held is not record
    assert len(view) == 1
    assert "node_a" in view


def test_unknown_nodes_are_none() -> None:
    assert NodeView().get("node_a") is None
    assert "node_a" not in NodeView()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gpus", -1),
        ("gpus", 128),
        ("vram_gb", 2048),
        ("capabilities", 2**31),
        ("reputation", 1001),
        ("stake", 2**63),
        ("price", 0),
        ("price", 2**63),
        ("jobs_completed", 2**31),
        ("jobs_failed", -1),
        ("response_ms", -1),
        ("capacity", 128),
        ("active_jobs", 5),
        ("active_jobs", -1),
        ("version", -1),
        ("penalty", 1001),
        ("trial", -1),
    ],
)
def test_a_row_out_of_range_changes_nothing(field: str, value: int) -> None:
    view = NodeView()
    changes: dict[str, Any] = {field: value}
    with pytest.raises(InvalidInput) as caught:
        view.upsert([node("node_b"), replace(node(), **changes)])
    assert caught.value.field == field
    assert len(view) == view.version == 0


@given(st.integers(0, 4), st.lists(st.integers(-5, 5), max_size=12))
def test_adjust_keeps_active_jobs_within_capacity(active: int, changes: list[int]) -> None:
    view = NodeView()
    view.upsert([node(active_jobs=active, capacity=4)])
    for change in changes:
        before = view.version
        if 0 <= active + change <= 4:
            view.adjust("node_a", change)
            active += change
        else:
            with pytest.raises(Conflict):
                view.adjust("node_a", change)
            assert view.version == before
        assert view.get("node_a") == node(active_jobs=active, capacity=4)


def test_adjust_counts_in_the_next_match_until_it_is_undone() -> None:
    view = NodeView()
    view.upsert([node(gpus=4, capacity=4)])
    four = Query("job_1", Requirements(gpus=4))
    fresh = view.match(four).best
    view.adjust("node_a", 1)
    assert view.tally(four).rejects == {"busy": 1}
    loaded = view.match(ANY).best
    view.adjust("node_a", -1)
    assert view.match(four).best == fresh
    assert fresh is not None
    assert loaded is not None
    assert (fresh.terms["load"], loaded.terms["load"]) == (1_000_000, 750_000)
    assert loaded.score < fresh.score
    with pytest.raises(NotFound):
        view.adjust("node_b", 1)


def test_heal_undoes_an_adjustment_where_upsert_does_not() -> None:
    view = NodeView()
    view.upsert([node(version=2)])
    view.adjust("node_a", 3)
    assert view.upsert([node(version=2)]) == 0
    assert view.heal([node(version=1)]) == 0
    assert view.get("node_a") == node(version=2, active_jobs=3)
    assert view.heal([node(version=2)]) == 1
    assert view.get("node_a") == node(version=2)


def test_slots_of_removed_nodes_are_used_again() -> None:
    view = NodeView()
    view.upsert(node(f"node_{i}") for i in range(64))
    full = view.nbytes
    for turn in range(10):
        ids = [f"node_{i}" for i in range(turn * 64, turn * 64 + 64)]
        assert view.remove([*ids, *ids, "node_x"]) == 64
        assert len(view) == 0
        empty = view.tally(ANY)
        assert (empty.feasible, empty.rejects, view.match(ANY).best) == (0, {}, None)
        view.upsert(node(f"node_{i}", price=turn + 1) for i in range(turn * 64 + 64, turn * 64 + 128))
    assert view.nbytes == full
    assert view.tally(ANY).feasible == len(view) == 64
    assert view.get("node_0") is None


def test_a_removed_node_comes_back_with_an_older_row() -> None:
    view = NodeView()
    view.upsert([node(version=9)])
    view.remove(["node_a"])
    assert view.upsert([node(version=1)]) == 1
    assert view.get("node_a") == node(version=1)


def test_nodes_that_come_one_by_one_are_all_kept() -> None:
    view = NodeView()
    for i in range(600):
        view.upsert([node(f"node_{i}", version=i)])
    assert [view.get(f"node_{i}") for i in range(600)] == [node(f"node_{i}", version=i) for i in range(600)]


@pytest.mark.parametrize("state", list(NodeState))
def test_only_online_nodes_are_offered_to(state: NodeState) -> None:
    view = NodeView()
    view.upsert([replace(node(), state=state)])
    tally = view.tally(ANY)
    held = view.get("node_a")
    assert held is not None
    assert held.state is state
    assert tally.rejects == ({} if state is NodeState.ONLINE else {"offline": 1})
