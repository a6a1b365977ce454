"""What is told of a match: complete, plain JSON, and in words that say what came of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.core.money import UNIT
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.core.states import NodeState
from app.matchmaker.explain import Choice, choice_of, explanation
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.relax import outlook
from app.matchmaker.types import Query, Verdict
from tests.unit.matchmaker.cases import node

ASKED = Requirements(gpu_models=("a100",), gpus=2, min_vram_gb=40)


def matchmaker(*nodes: NodeRecord) -> Matchmaker:
    made = Matchmaker()
    made.view.upsert(nodes)
    return made


def told(made: Matchmaker, query: Query, choice: Choice | None = None, **more: Any) -> dict[str, Any]:
    match = made.match(query)
    found = explanation(
        match,
        choice or choice_of(match),
        query.policy,
        made.weights,
        tally=made.tally(query),
        view_age_s=0.12345,
        **{"outlook": None if match.best else outlook(made.view, query), **more},
    )
    assert json.loads(json.dumps(found)) == found
    return found


def test_the_explanation_of_a_choice_is_complete() -> None:
    made = matchmaker(*(node(f"node_{i}", price=(i + 1) * UNIT) for i in range(8)), node("node_t4", gpu_model="t4"))
    found = told(made, Query("job_1", Requirements(gpu_models=("a100",)), policy="cheapest"))
    assert found["policy"] == "cheapest"
    assert found["weights"] == {
        "reputation": 40,
        "stake": 10,
        "completion": 25,
        "load": 15,
        "response": 10,
        "price": 30,
    }
    assert (found["feasible"], found["rejects"]) == (8, {"gpu_model": 1})
    assert (found["view_version"], found["counted_at_version"], found["view_age_s"]) == (1, 1, 0.123)
    assert [entry["node_id"] for entry in found["top"]] == [f"node_{i}" for i in range(5)]
    assert found["chosen"] == found["top"][0]
    assert found["chosen"]["price"] == "1"
    assert set(found["chosen"]["terms"]) == set(found["weights"])
    assert found["told"] == "node_0 was chosen, the best by the policy of 8 nodes that could take the job."
    assert not found.keys() & {"verdict", "refused", "set_aside", "relaxations"}


def test_the_weights_told_are_those_that_count_under_the_policy() -> None:
    found = told(matchmaker(node()), Query("job_1", ASKED, policy="spread"))
    assert found["weights"]["load"] == 100
    assert found["weights"]["reputation"] == 0


@pytest.mark.parametrize(
    ("nodes", "excluded", "verdict", "said"),
    [
        ([node(active_jobs=3), node("b", active_jobs=4)], (), "busy", "2 nodes would do, but too few slots"),
        ([node(state=NodeState.OFFLINE), node("b", gpus=1)], (), "offline", "1 node would do, but none of them is on"),
        ([node()], ("node_a",), "declined", "declined or failed this job before: it waits for another"),
        ([node(vram_gb=16)], (), "never_fits", "No node of the network would do"),
    ],
)
def test_the_reasons_for_no_node_are_told_apart(
    nodes: list[NodeRecord], excluded: tuple[str, ...], verdict: str, said: str
) -> None:
    found = told(matchmaker(*nodes), Query("job_1", ASKED, excluded))
    assert (found["verdict"], found["chosen"], found["top"]) == (verdict, None, [])
    assert said in found["told"]
    assert found["feasible"] + sum(found["rejects"].values()) == len(nodes)


def test_relaxations_are_told() -> None:
    found = told(matchmaker(node(vram_gb=16), node("node_b", active_jobs=4)), Query("job_1", ASKED))
    assert found["relaxations"] == [
        {"requirement": "min_vram_gb", "from": 40, "to": 16, "nodes": 1, "text": "vram 40 → 16: 1 node"}
    ]
    assert (found["busy"], found["offline"]) == (1, 0)


def test_why_better_candidates_did_not_get_the_job_is_told() -> None:
    made = matchmaker(*(node(f"node_{i}", reputation=900 - i) for i in range(6)))
    match = made.match(Query("job_1", ASKED))
    refused = [("node_0", "contended"), ("node_1", "busy"), ("node_2", "price"), ("node_9", "gone")]
    choice = Choice(match.candidates[3], 5, None, refused, set_aside=2)
    found = told(made, Query("job_1", ASKED), choice)
    assert found["chosen"]["node_id"] == "node_3"
    assert [entry["node_id"] for entry in found["top"]] == [f"node_{i}" for i in range(5)]
    assert found["refused"] == [{"node_id": node_id, "reason": reason} for node_id, reason in refused]
    assert found["set_aside"] == 2
    assert found["told"] == (
        "node_3 was chosen, number 4 by the policy of 6 nodes that could take the job. "
        "2 nodes with a higher total went to other jobs of its batch. "
        "Tried before in vain: node_0: another wave held its row; node_1: its slots had been taken meanwhile; "
        "node_2: its row no longer met price; …"
    )


def test_a_large_network_may_go_uncounted() -> None:
    made = matchmaker(node())
    match = made.match(Query("job_1", ASKED))
    found = explanation(match, choice_of(match), "cheapest", made.weights, tally=None, view_age_s=None)
    assert (found["feasible"], found["rejects"], found["counted_at_version"], found["view_age_s"]) == (
        None,
        {},
        None,
        None,
    )
    assert found["told"] == "node_a was chosen, the best by the policy."
    waits = explanation(match, Choice(None, 5, Verdict.BUSY), "cheapest", made.weights, tally=None, view_age_s=1.0)
    assert waits["told"].startswith("There are nodes that would do, but too few")
