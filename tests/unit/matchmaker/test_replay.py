"""A decision made again from its inputs is the same, in another process, too; what was changed shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.matchmaker.explain import told_candidate
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.policy import Weights
from app.matchmaker.relax import outlook
from app.matchmaker.replay import decide_again, differences, inputs
from app.matchmaker.types import Match, Query, Verdict
from tests.unit.matchmaker import cases
from tests.unit.matchmaker.cases import node

QUERIES = st.builds(Query, cases.JOB_IDS, cases.REQUIREMENTS, cases.EXCLUDED, cases.POLICY_NAMES)


def decided(
    nodes: list[NodeRecord], query: Query, weights: Weights | None = None, floor: int = 0, kept: int = 5
) -> tuple[Match, dict[str, Any]]:
    """A match over all nodes and what is kept of it, as it comes back from the database."""
    matchmaker = Matchmaker(weights or Weights(), floor)
    matchmaker.view.upsert(nodes)
    match = matchmaker.match(query, top_n=32)
    # What is assumed afterwards is not what the decision was made from.
    if match.best is not None:
        matchmaker.view.adjust(match.best.node_id, query.requirements.gpus)
    stored: dict[str, Any] = json.loads(
        json.dumps(inputs(query, match, matchmaker, kept=kept, excluded=sorted(query.excluded)))
    )
    return match, stored


@settings(max_examples=120)
@given(cases.fleets(40), QUERIES, cases.WEIGHTS, cases.FLOORS, st.integers(1, 12))
def test_the_few_records_kept_decide_as_the_whole_network_did(
    nodes: list[NodeRecord], query: Query, weights: Weights, floor: int, kept: int
) -> None:
    match, stored = decided(nodes, query, weights, floor, kept)
    again = decide_again(stored).candidates
    assert again == match.candidates[:kept]
    assert len(stored["records"]) <= kept + 1
    assert differences(again, [told_candidate(one) for one in match.candidates[:kept]]) == []


@settings(max_examples=120)
@given(cases.fleets(20), QUERIES, cases.FLOORS)
def test_one_node_shows_why_a_job_waits(nodes: list[NodeRecord], query: Query, floor: int) -> None:
    matchmaker = Matchmaker(min_reputation=floor)
    matchmaker.view.upsert(nodes)
    match = matchmaker.match(query)
    assume(match.best is None)
    shown = matchmaker.view.get(outlook(matchmaker.view, query).witness)
    assert (shown is None) == (match.verdict is Verdict.NEVER_FITS)
    kept = inputs(query, match, matchmaker, kept=5, excluded=sorted(query.excluded), shown=shown)
    assert decide_again(json.loads(json.dumps(kept))).verdict is match.verdict


FLEET = [node(f"node_{i}", price=1000 + 10 * i, reputation=900 - 7 * i, active_jobs=i % 3) for i in range(60)]
QUERY = Query("job_1", Requirements(gpus=2))


def test_the_cheapest_node_is_kept_when_it_is_no_candidate() -> None:
    dull = node("node_cheap", price=1, reputation=0, jobs_completed=0, jobs_failed=500, active_jobs=2)
    good = [replace(one, price=10**6) for one in FLEET]
    match, stored = decided([*good, dull], replace(QUERY, policy="reputation_weighted"), Weights(price=1))
    assert dull.id not in {one.node_id for one in match.candidates[:5]}
    assert [record[0] for record in stored["records"]].count(dull.id) == 1
    assert decide_again(stored).candidates == match.candidates[:5]
    # Without it every price term would be another.
    stored["records"] = [record for record in stored["records"] if record[0] != dull.id]
    assert decide_again(stored).candidates != match.candidates[:5]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told[0].update(node_id="node_z"), "candidate 1 was node_z, is node_"),
        (lambda told: told[1].update(total=told[1]["total"] + 1), "total was"),
        (lambda told: told[2]["terms"].update(load=1), "load was 1, is"),
        (lambda told: told[2]["terms"].pop("stake"), "stake was None, is"),
        (lambda told: told.pop(), "there were 4 candidates, there are 5"),
    ],
)
def test_what_was_changed_shows(change: Any, said: str) -> None:
    match, stored = decided(FLEET, QUERY)
    told = [told_candidate(one) for one in match.candidates[:5]]
    assert differences(decide_again(stored).candidates, told) == []
    change(told)
    assert said in "; ".join(differences(decide_again(stored).candidates, told))


def test_another_process_with_other_hashes_decides_the_same() -> None:
    match, stored = decided(FLEET, QUERY)
    program = (
        "import json, sys; from app.matchmaker.replay import decide_again; "
        "print(json.dumps([one.told() for one in decide_again(json.load(sys.stdin)).candidates]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(stored),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "77"},
    )
    assert json.loads(done.stdout) == [one.told() for one in match.candidates[:5]]


def test_inputs_of_another_format_and_unknown_policies_are_refused() -> None:
    _, stored = decided(FLEET, QUERY)
    with pytest.raises(InvalidInput, match="format 2"):
        decide_again({**stored, "format": 2})
    stored["query"][1] = "gone"
    with pytest.raises(InvalidInput, match="unknown policy 'gone'"):
        decide_again(stored)
