"""The short list and its ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.requirements import Requirements
from app.matchmaker import table
from app.matchmaker.arrays import Positions, Words
from app.matchmaker.rank import hash_job, hash_node, shortlist, tie_hashes
from app.matchmaker.types import Query
from app.matchmaker.view import NodeView
from tests.support.oracle import tie_break
from tests.unit.matchmaker.cases import node

ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


@given(ROWS, st.integers(1, 45))
def test_the_short_list_holds_the_least_rows_and_all_that_tie_with_the_last(
    rows: list[tuple[int, int, int]], n: int
) -> None:
    first, second, ties = (np.array(column, np.int64) for column in zip(*rows, strict=True))

    def tie(at: Positions) -> Words:
        return ties[at].astype(np.uint64)

    picked = shortlist((first, second), tie, n).tolist()
    assert len(set(picked)) == len(picked)
    least = sorted(rows)[:n]
    assert sorted(rows[at] for at in picked)[:n] == least
    # What is beyond the n-th place equals it, and nothing that equals it is missing.
    if len(rows) > n and len(picked) > n:
        assert len(picked) == sum(row <= least[-1] for row in rows)


@given(st.text(max_size=8), st.lists(st.text(max_size=8), min_size=1, max_size=5))
def test_hashes_equal_the_reference(job_id: str, node_ids: list[str]) -> None:
    hashed = np.array([hash_node(node_id) for node_id in node_ids], np.uint32)
    expected = [tie_break(job_id, node_id) for node_id in node_ids]
    assert tie_hashes(hash_job(job_id), hashed).tolist() == expected


def test_hashes_are_the_same_for_ever() -> None:
    # Replicas of different releases must agree, so a change here is a breaking change.
    # `printf node_a | b2sum -l 64`, CRC-32's check value, and the first output of splitmix64 seeded with 0.
    assert hash_job("node_a").to_bytes(8, "little").hex() == "b82565497b6a21b8"
    assert hash_node("123456789") == 0xCBF43926
    assert tie_hashes(0x9E3779B97F4A7C15, np.array([0], np.uint32)).tolist() == [0xE220A8397B1DCDAF]


def test_nodes_whose_hashes_collide_go_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "hash_node", lambda _: 7)
    view = NodeView()
    view.upsert(node(f"node_{letter}") for letter in "gbdafce")
    match = view.match(Query("job_1", Requirements()), 3)
    assert [candidate.node_id for candidate in match.candidates] == ["node_a", "node_b", "node_c"]
