"""The drawings in the documents are the graphs and tables of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from app.core import plans, states
from graphs import drawing

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"```mermaid\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("name", ["job", "plan", "agent"])
def test_a_drawing_holds_exactly_the_compiled_edges(name: str) -> None:
    ends = {"START([start])": "__start__", "END([end])": "__end__"}
    first, *lines = drawing.drawing(name).splitlines()
    drawn = [tuple(ends.get(end, end) for end in line.strip().split(" --> ")) for line in lines]
    assert first == "flowchart LR"
    assert set(drawn) == drawing.edges(name)
    assert len(drawn) == len(set(drawn))


def test_every_mermaid_block_of_the_documents_is_drawn_from_the_code() -> None:
    moves: tuple[Any, ...] = (
        states.JOB_MOVES,
        states.OFFER_MOVES,
        states.NODE_MOVES,
        states.SETTLEMENT_MOVES,
        plans.PLAN_MOVES,
        plans.UNIT_MOVES,
    )
    graphs = {drawing.drawing(name) for name in ("job", "plan", "agent")}
    known = graphs | {states.mermaid(table) for table in moves}
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            if block.startswith(("flowchart LR", "stateDiagram-v2")):
                assert block.strip() in known, f"{page.name} shows a drawing that the code does not make"
