"""Counts are exact in small networks and bounded in large ones, where they say of which view they are."""

from __future__ import annotations

import pytest

from app.core.requirements import Requirements
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.types import Query, Tally
from app.services import decisions
from app.services.decisions import Decisions
from tests.unit.matchmaker.cases import node

NODES = 12


@pytest.fixture
def matchmaker() -> Matchmaker:
    made = Matchmaker()
    made.view.upsert(node(f"node_{i}", price=i + 1) for i in range(NODES))
    return made


def placed(notes: Decisions, matchmaker: Matchmaker, job_id: str, asked: Requirements) -> Tally | None:
    """Match, note and take the slots, as a wave does; what was counted."""
    query = Query(job_id, asked, policy="cheapest")
    match = matchmaker.match(query)
    notes.note(matchmaker, query, match)
    assert match.best is not None
    matchmaker.view.adjust(match.best.node_id, asked.gpus)
    assert notes.of[job_id].match is match
    return notes.of[job_id].counted


def test_a_small_network_is_counted_for_every_job(matchmaker: Matchmaker) -> None:
    notes = Decisions()
    version = matchmaker.view.version
    for number in range(3):
        counted = placed(notes, matchmaker, f"job_{number}", Requirements(gpus=4))
        assert counted == Tally(NODES - number, {"busy": number} if number else {}, version + number)


def test_a_large_network_is_counted_once_for_jobs_alike_and_not_without_end(
    matchmaker: Matchmaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "EXACT_NODES", NODES - 1)
    notes = Decisions(rows_left=2 * NODES)
    first = placed(notes, matchmaker, "job_0", Requirements(gpus=4))
    assert first is not None and first.feasible == NODES
    assert placed(notes, matchmaker, "job_1", Requirements(gpus=4)) is first
    second = placed(notes, matchmaker, "job_2", Requirements(gpus=2))
    assert second is not None and second.view_version > first.view_version
    # The wave has looked at enough by now: what is known already is told, what is not is left out.
    assert placed(notes, matchmaker, "job_3", Requirements(gpus=1)) is None
    assert placed(notes, matchmaker, "job_4", Requirements(gpus=4)) is first
    assert notes.outlook(matchmaker, Query("job_5", Requirements(gpus=8)), ()) is None


def test_what_would_place_jobs_alike_is_looked_up_once(matchmaker: Matchmaker) -> None:
    notes = Decisions()
    first = notes.outlook(matchmaker, Query("job_0", Requirements(gpus=8)), ())
    assert first is not None and [change.text for change in first.relaxations] == ["gpus 8 → 4: 12 nodes"]
    assert notes.outlook(matchmaker, Query("job_1", Requirements(gpus=8)), ()) is first
    matchmaker.view.adjust("node_0", 1)
    again = notes.outlook(matchmaker, Query("job_2", Requirements(gpus=8)), ())
    assert again is not None and again.relaxations[0].nodes == NODES - 1
