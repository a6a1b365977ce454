from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from app.core import states
from app.core.errors import IllegalTransition
from app.core.events import JOB_EVENT, NOTIFIED, EventKind
from app.core.states import (
    JOB_FINAL,
    JOB_MOVES,
    JOB_ON_NODE,
    NODE_MOVES,
    OFFER_MOVES,
    SETTLEMENT_MOVES,
    JobState,
    NodeState,
    OfferState,
    Settlement,
)

TABLES: list[tuple[type[StrEnum], Mapping[Any, frozenset[Any]]]] = [
    (JobState, JOB_MOVES),
    (OfferState, OFFER_MOVES),
    (NodeState, NODE_MOVES),
    (Settlement, SETTLEMENT_MOVES),
]


@pytest.mark.parametrize(("kind", "moves"), TABLES)
def test_every_state_has_its_row_and_every_target_is_a_state(kind: type[StrEnum], moves: Mapping[Any, Any]) -> None:
    assert list(moves) == list(kind)
    for source, targets in moves.items():
        assert targets <= set(kind)
        assert source not in targets


@pytest.mark.parametrize(("kind", "moves"), TABLES)
def test_check_move_allows_exactly_the_table(kind: type[StrEnum], moves: Mapping[Any, Any]) -> None:
    for source in kind:
        for target in kind:
            if target in moves[source]:
                states.check_move(moves, source, target)
            else:
                with pytest.raises(IllegalTransition, match=f"from {source} to {target}"):
                    states.check_move(moves, source, target)


def test_final_jobs_stay_and_others_can_end() -> None:
    assert {state for state, targets in JOB_MOVES.items() if not targets} == JOB_FINAL
    for state in JobState:
        assert state in JOB_FINAL or reachable(state) & JOB_FINAL
    assert not JOB_FINAL & JOB_ON_NODE


def test_every_job_that_is_not_over_can_be_cancelled() -> None:
    for state in set(JobState) - JOB_FINAL:
        assert JobState.CANCELLED in JOB_MOVES[state]


def reachable(state: JobState) -> set[JobState]:
    found, edge = {state}, {state}
    while edge:
        edge = {target for source in edge for target in JOB_MOVES[source]} - found
        found |= edge
    return found


def test_every_state_but_the_first_ones_is_reached() -> None:
    assert reachable(JobState.BLOCKED) == set(JobState)


@pytest.mark.parametrize(("kind", "moves"), TABLES)
def test_the_drawing_has_every_move_once(kind: type[StrEnum], moves: Mapping[Any, Any]) -> None:
    first, *lines = states.mermaid(moves).splitlines()
    assert first == "stateDiagram-v2"
    drawn = [tuple(line.strip().split(" --> ")) for line in lines]
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == {(source, target) for source in kind for target in moves[source]} | {
        (source, "[*]") for source in kind if not moves[source]
    }


def test_every_state_that_a_job_enters_has_its_event() -> None:
    entered = {target for targets in JOB_MOVES.values() for target in targets}
    assert set(JOB_EVENT) == entered - {JobState.SCHEDULED}
    assert len(set(JOB_EVENT.values())) == len(JOB_EVENT)
    assert {
        EventKind.JOB_SUBMITTED, EventKind.JOB_MATCHED, EventKind.JOB_STARTED, EventKind.JOB_COMPLETED,
        EventKind.JOB_FAILED, EventKind.JOB_CANCELLED, EventKind.NODE_REGISTERED, EventKind.NODE_OFFLINE,
    } <= NOTIFIED  # fmt: skip
