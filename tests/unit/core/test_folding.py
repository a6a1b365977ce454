"""Folds: the same whatever order events came in, and never further than what stands."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import folding
from app.core.chain import Commitment, OnChain
from app.core.folding import Fact, Wish, fold_job, fold_node, latest, node_path, node_status, region_in, wish_of
from app.core.states import NODE_MOVES, NodeState, check_move

CONFIRMED, FINALIZED, ORPHANED = Commitment
_DATA: Mapping[str, dict[str, Any]] = {
    "JobCreatedEvent": {"job_id": "j", "client": "C", "job_type": 4, "price": 2**64 - 1},
    "JobAssignedEvent": {"job_id": "j", "node_id": "n", "node_operator": "Op"},
    "JobCompletedEvent": {"job_id": "j", "operator": "Op", "result_hash": "h", "logs_url": "u"},
    "JobCancelledEvent": {"job_id": "j", "client": "C"},
    "PaymentDistributedEvent": {"job_id": "j"},
    "NodeRegistered": {"node_id": "n", "owner": "O"},
    "NodeDeregistered": {"node_id": "n", "owner": "O"},
    "NodeStatusUpdated": {"node_id": "n", "status": {"Suspended": {}}},
}


def fact(name: str, slot: int, commitment: Commitment = FINALIZED, signature: str = "s", **data: Any) -> Fact:
    return Fact(name, {**_DATA[name], **data}, slot, commitment, (signature, "P", 0, -1, 0))


def facts(names: tuple[str, ...]) -> st.SearchStrategy[list[Fact]]:
    one = st.builds(
        lambda name, slot, commitment, number: fact(name, slot, commitment, f"s{number}", node_operator=f"Op{number}"),
        st.sampled_from(names),
        st.integers(1, 4),
        st.sampled_from(Commitment),
        st.integers(0, 6),
    )
    return st.lists(one, max_size=9, unique_by=lambda each: (each.name, each.key))


@given(facts(folding.JOB_EVENTS), st.randoms())
def test_a_jobs_fold_knows_no_order(known: list[Fact], random: Any) -> None:
    shuffled = random.sample(known, len(known))
    assert fold_job(shuffled) == fold_job(known)
    live, lost = latest(known)
    assert fold_job([*lost.values(), *live.values()]) == fold_job(known)


@given(facts(folding.NODE_EVENTS), st.randoms())
def test_a_nodes_fold_knows_no_order(known: list[Fact], random: Any) -> None:
    shuffled = random.sample(known, len(known))
    assert fold_node(shuffled) == fold_node(known)
    live, lost = latest(known)
    assert fold_node([*lost.values(), *live.values()]) == fold_node(known)


@given(facts(folding.JOB_EVENTS), st.randoms())
def test_what_was_taken_back_only_leaves_its_name(known: list[Fact], random: Any) -> None:
    standing = [one for one in known if one.commitment is not ORPHANED]
    without, whole = fold_job(standing), fold_job(known)
    lost_creation = any(one.name == "JobCreatedEvent" for one in known) and not any(
        one.name == "JobCreatedEvent" for one in standing
    )
    if lost_creation:
        assert (whole.status, whole.assigned, whole.completed) == (OnChain.ORPHANED, None, None)
    else:
        assert whole == without


def test_the_life_of_a_job() -> None:
    life = [
        (fact("JobCreatedEvent", 1), OnChain.PENDING),
        (fact("JobAssignedEvent", 2), OnChain.ASSIGNED),
        (fact("JobCompletedEvent", 3), OnChain.COMPLETED),
        (fact("PaymentDistributedEvent", 4), OnChain.COMPLETED),
    ]
    for count in range(1, 5):
        fold = fold_job(one for one, _ in life[:count])
        assert (fold.status, fold.finalized, fold.slot) == (life[count - 1][1], True, count)
    assert (fold.client, fold.type, fold.price) == ("C", "render", 2**64 - 1)
    assert (fold.chain_node_id, fold.assigned_operator, fold.completed_operator) == ("n", "Op", "Op")
    assert fold_job([*(one for one, _ in life[:1]), fact("JobCancelledEvent", 1)]).status is OnChain.CANCELLED
    assert fold_job([]).status is OnChain.ORPHANED


def test_a_status_is_final_when_its_event_is() -> None:
    created, cancelled = fact("JobCreatedEvent", 1), fact("JobCancelledEvent", 2, CONFIRMED)
    assert not fold_job([created, cancelled]).finalized
    assert fold_job([created, replace(cancelled, commitment=FINALIZED)]).finalized
    assert fold_job([created, replace(cancelled, commitment=ORPHANED)]).status is OnChain.PENDING


def test_an_account_created_again_begins_again() -> None:
    before = [fact("JobCreatedEvent", 1), fact("JobAssignedEvent", 2), fact("JobCancelledEvent", 3)]
    fold = fold_job([*before, fact("JobCreatedEvent", 4, CONFIRMED, "t", client="D")])
    assert (fold.status, fold.client, fold.assigned_operator) == (OnChain.PENDING, "D", None)


def test_a_job_whose_creation_was_never_seen() -> None:
    fold = fold_job([fact("JobCompletedEvent", 3)])
    assert (fold.status, fold.client, fold.price, fold.type) == (OnChain.COMPLETED, None, None, None)


def test_texts_are_cut_to_their_columns() -> None:
    fold = fold_job([fact("JobCompletedEvent", 3, result_hash="h\0" * 80, logs_url="u" * 200)])
    assert (fold.result_hash, fold.logs_url) == ("h" * 64, "u" * 128)


@pytest.mark.parametrize(
    ("slots", "registered"),
    [
        ("R5", True), ("R5 D6", False), ("R5 D6 R7", True), ("D6", False), ("", False),
        ("R5 D5", False), ("R5 D9 R9", True), ("R5 D9 R9 D9", False), ("R5 D6 R9 D9", False), ("R5 D6 R8 D9 R9", True),
    ],
)  # fmt: skip
def test_coming_and_going_within_a_slot(slots: str, registered: bool) -> None:
    names = {"R": "NodeRegistered", "D": "NodeDeregistered"}
    known = [fact(names[one[0]], int(one[1:]), signature=f"s{n}") for n, one in enumerate(slots.split())]
    for order in itertools.permutations(known):
        assert fold_node(order).registered is registered


def test_a_status_counts_since_the_registration() -> None:
    registered, suspended = fact("NodeRegistered", 5), fact("NodeStatusUpdated", 6)
    assert fold_node([registered]).status is None
    assert fold_node([registered, suspended]).status == "suspended"
    assert fold_node([replace(registered, slot=7), suspended]).status is None
    assert fold_node([registered, suspended, fact("NodeStatusUpdated", 7, status={"Online": {}})]).status == "online"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"Online": {}}, "online"), ("Offline", "offline"), (2, "suspended"), ({"Other": {}}, None), (3, None),
        (None, None), ({}, None),
    ],
)  # fmt: skip
def test_a_status_in_any_form(value: Any, name: str | None) -> None:
    assert node_status(value) == name


def test_every_path_of_a_node_is_made_of_moves() -> None:
    for state, was, now in itertools.product(NodeState, [None, *Wish], Wish):
        path = node_path(state, was, now)
        for source, target in itertools.pairwise([state, *path]):
            check_move(NODE_MOVES, source, target)
        assert len(path) <= 2
        end = path[-1] if path else state
        if was is not now:
            assert (end is NodeState.DEREGISTERED) == (now is Wish.GONE)
            assert now is not Wish.SUSPENDED or end is NodeState.SUSPENDED
        if was is now:
            assert path == []


def test_only_what_the_chain_did_is_undone() -> None:
    assert node_path(NodeState.DRAINING, None, Wish.OPEN) == []
    assert node_path(NodeState.DRAINING, Wish.OFFLINE, Wish.OPEN) == [NodeState.ONLINE]
    assert node_path(NodeState.DRAINING, Wish.SUSPENDED, Wish.OPEN) == []
    assert node_path(NodeState.SUSPENDED, None, Wish.OPEN) == []
    assert node_path(NodeState.SUSPENDED, Wish.SUSPENDED, Wish.OFFLINE) == [NodeState.OFFLINE]
    assert node_path(NodeState.DEREGISTERED, Wish.GONE, Wish.SUSPENDED) == [NodeState.REGISTERED, NodeState.SUSPENDED]
    assert wish_of(False, "online") is Wish.GONE and wish_of(True, None) is Wish.OPEN


@pytest.mark.parametrize(
    ("location", "region"),
    [
        ("EU", "EU"), ("eu", "EU"), ("DE", "EU"), ("Germany", "EU"), ("Berlin, DE", "EU"), ("Riyadh, SA", "AS"),
        ("Windhoek,Namibia, NA", "AF"), ("somewhere, EU", "EU"), ("us-east-1", ""), ("", ""), (",", ""),
    ],
)  # fmt: skip
def test_regions_of_locations(location: str, region: str) -> None:
    assert region_in(location) == region
