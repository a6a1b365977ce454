"""What a view keeps between matches never outlives a write."""

from __future__ import annotations

from dataclasses import replace

from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.core.states import NodeState
from app.matchmaker.types import Query
from app.matchmaker.view import NodeView

NODE = NodeRecord("node_a", "t4", 2, 16, 1, "EU", 500, 0, 100, 0, 0, 0, NodeState.ONLINE, 2, 0, 1)
WANTS = Requirements(gpu_models=("t4",), min_reputation=400)


def found(view: NodeView) -> list[str]:
    match, tally = view.match(Query("job_1", WANTS)), view.tally(Query("job_1", WANTS))
    assert tally.feasible + sum(tally.rejects.values()) == len(view)
    assert tally.feasible == len(match.candidates)
    return [candidate.node_id for candidate in match.candidates]


def test_every_kind_of_change_shows_in_the_next_match() -> None:
    view = NodeView()
    view.upsert([NODE])
    assert found(view) == found(view) == ["node_a"]
    view.upsert([replace(NODE, id="node_b")])
    assert sorted(found(view)) == ["node_a", "node_b"]
    view.adjust("node_a", 2)
    assert found(view) == ["node_b"]
    view.heal([NODE])
    assert sorted(found(view)) == ["node_a", "node_b"]
    view.upsert([replace(NODE, reputation=100, version=2)])
    assert found(view) == ["node_b"]
    view.upsert([replace(NODE, id="node_b", state=NodeState.OFFLINE, version=2)])
    assert found(view) == []
    view.upsert([replace(NODE, version=3)])
    assert found(view) == ["node_a"]
    view.remove(["node_a"])
    assert found(view) == []


def test_more_kinds_of_wishes_than_are_kept() -> None:
    view = NodeView()
    view.upsert([NODE])
    for floor in range(200):
        asked = Requirements(min_reputation=floor * 5)
        for _ in range(2):
            assert bool(view.match(Query("job_1", asked)).candidates) is (floor * 5 <= 500)
