"""News of nodes: what is packed comes out again, and anything else is nothing."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.nodes import NodeRecord
from app.matchmaker.packing import STATE_CODES
from app.services.deltas import COLUMNS, MAGIC, pack, unpack
from tests.unit.matchmaker.cases import node, records


@settings(max_examples=60)
@given(st.lists(records(), max_size=6))
def test_what_is_packed_comes_out_again(rows: list[NodeRecord]) -> None:
    news = unpack(pack(rows))
    assert news is not None
    assert news.ids == [row.id for row in rows]
    for name, _ in COLUMNS:
        told = [STATE_CODES[row.state] if name == "state" else getattr(row, name) for row in rows]
        assert getattr(news, name).tolist() == told


@settings(max_examples=120)
@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: MAGIC + tail))
def test_what_is_none_is_nothing(entry: bytes) -> None:
    news = unpack(entry)
    assert news is None or pack([]) == entry or len(news) > 0


@settings(max_examples=60)
@given(st.data())
def test_an_entry_of_another_length_is_nothing(data: st.DataObject) -> None:
    entry = pack([node("node_a"), node("node_b")])
    cut = data.draw(st.integers(0, len(entry) - 1))
    assert unpack(entry[:cut]) is None
    assert unpack(entry + b"x" * data.draw(st.integers(1, 40))) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"reputation": 1001},
        {"penalty": -1},
        {"trial": 5000},
        {"active_jobs": 500},
        {"jobs_failed": -2},
        {"version": -1},
    ],
)
def test_what_no_node_can_be_is_nothing(wrong: dict[str, int]) -> None:
    assert unpack(pack([node("node_a"), replace(node("node_b"), **wrong)])) is None  # type: ignore[arg-type]


def test_unheard_of_states_counts_and_versions_are_nothing() -> None:
    entry = pack([node()])
    states = 8 + 8 + 2
    assert entry[states] == STATE_CODES[node().state]
    assert unpack(entry[:states] + b"\x09" + entry[states + 1 :]) is None
    assert unpack(entry[:4] + struct.pack("<I", 2**32 - 1) + entry[8:]) is None
    assert unpack(b"HND2" + entry[4:]) is None


def test_ids_that_are_no_ascii_are_ids_that_no_node_has() -> None:
    news = unpack(pack([node("nöde"), node("node_b")]))
    assert news is not None and news.ids == ["n?de", "node_b"]
