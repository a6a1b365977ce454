"""Plans as pictures: well-formed whatever the names, every dependency to be seen, the same again for the same plan."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.plans import UnitState
from app.services.plan_drawing import COLOURS, TEXT, DrawnTask, mermaid, svg
from app.services.plan_layout import NODE_HEIGHT, columns_of, laid_out, without_implied

SVG = "{http://www.w3.org/2000/svg}"


def task(task_id: str, *after: str, cost: str = "0.5 HYPER", **counts: int) -> DrawnTask:
    return DrawnTask(task_id, after, {UnitState(state): count for state, count in counts.items()}, cost)


names = st.text(st.characters() | st.sampled_from("<&>\"'`#;]})\n\x00\ud800\ufffe日"), max_size=60) | st.just(
    "x" * 5000
)
counts = st.dictionaries(st.sampled_from(UnitState), st.integers(0, 10_000))


@st.composite
def plans(draw: st.DrawFn) -> list[DrawnTask]:
    ids = draw(st.lists(names, max_size=14, unique=True))
    tasks = []
    for number, task_id in enumerate(ids):
        after = draw(st.sets(st.sampled_from(ids[:number]))) if number else set()
        tasks.append(DrawnTask(task_id, tuple(sorted(after)), draw(counts), draw(names)))
    return draw(st.permutations(tasks))


def before(tasks: list[DrawnTask]) -> set[tuple[int, int]]:
    """Every (earlier, later) that the plan's dependencies come to, directly or not."""
    numbers = {one.task_id: number for number, one in enumerate(tasks)}
    return closure({(numbers[other], numbers[one.task_id]) for one in tasks for other in one.after})


def closure(edges: set[tuple[int, int]]) -> set[tuple[int, int]]:
    while True:
        more = {(a, d) for a, b in edges for c, d in edges if b == c} - edges
        if not more:
            return edges
        edges |= more


@given(plans())
def test_svg_is_well_formed_and_shows_every_dependency(tasks: list[DrawnTask]) -> None:
    text = svg(tasks)
    root = ElementTree.fromstring(text.encode())
    groups = root.findall(f"{SVG}g")
    nodes = [group for group in groups if "task" in group.get("class", "").split()]
    assert [group.get("data-task") for group in nodes] == [str(number) for number in range(len(tasks))]
    drawn = {
        (int(group.get("data-from", "")), int(end))
        for group in groups
        if group.get("class") == "edges"
        for end in group.get("data-to", "").split()
    }
    assert closure(set(drawn)) == before(tasks)
    assert svg(tasks) == text
    for group in groups:
        assert group.findtext(f"{SVG}title")


@given(plans())
def test_mermaid_has_a_line_for_each_task_and_each_dependency(tasks: list[DrawnTask]) -> None:
    lines = mermaid(tasks).split("\n")
    nodes = [
        line
        for line in lines
        if re.fullmatch(r'    t\d+\["[^"\[\]{}<>`;&]*(?:(?:#\d+;|<br/>)[^"<>`;&]*)*"\]:::[a-z]+', line)
    ]
    assert len(nodes) == len(tasks)
    arrows = [match for line in lines if (match := re.fullmatch(r"    t(\d+) --> t(\d+)", line))]
    assert closure({(int(match[1]), int(match[2])) for match in arrows}) == before(tasks)
    styles = [line for line in lines if line.startswith("    classDef ")]
    assert len(lines) == 1 + max(len(nodes), 1) + len(arrows) + len(styles)


@given(plans())
def test_nothing_overlaps_and_nothing_sticks_out(tasks: list[DrawnTask]) -> None:
    numbers = {one.task_id: number for number, one in enumerate(tasks)}
    after = [[numbers[other] for other in one.after] for one in tasks]
    layout = laid_out(after)
    for column in layout.columns:
        for upper, lower in pairwise(column):
            assert upper.y + upper.height / 2 < lower.y - lower.height / 2
        for place in column:
            assert place.y - place.height / 2 >= -0.01
            assert place.y + place.height / 2 <= layout.height + 0.01
    columns = columns_of(after)
    assert all(columns[other] < columns[number] for number, others in enumerate(after) for other in others)
    for place in (place for column in layout.columns for place in column):
        assert all(target.column == place.column + 1 for target in place.behind)


def test_an_edge_that_follows_from_others_is_left_out() -> None:
    after = [[], [0], [0, 1], [0, 2]]
    assert without_implied(after, columns_of(after)) == [[], [0], [1], [2]]


def test_bends_of_one_task_are_shared() -> None:
    chain = [[], [0], [1], [2], [3, 5], [], [3, 5]]
    layout = laid_out(chain)
    assert sum(place.bend for column in layout.columns for place in column) == 3


def test_a_picture_without_crossings_is_found_where_the_order_of_the_tasks_would_cross() -> None:
    layout = laid_out([[], [], [], [2], [1], [0]])
    left, right = layout.columns
    assert [place.behind[0] for place in left] == right
    assert [place.y for place in left] == [place.y for place in right]


def test_states_progress_and_costs_are_written() -> None:
    root = ElementTree.fromstring(
        svg([task("split", done=1), task("map", "split", cost="1.25 HYPER", done=12, running=3, waiting=5)])
    )
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert words[:5] == ["Plan of 2 tasks: 13 of 21 units over", "5 waiting", "3 running", "13 done", "split"]
    assert words[-3:] == ["map", "running · 12/20", "1.25 HYPER"]
    assert root.findtext(f"{SVG}desc") == (
        "split: 1 done; 0.5 HYPER. map, after split: 5 waiting, 3 running, 12 done; 1.25 HYPER."
    )
    assert (root.get("role"), root.get("aria-labelledby")) == ("img", "plan-title plan-desc")


def test_mermaid_in_full() -> None:
    drawn = mermaid([task("split", done=1), task("map", "split", cost="", running=2)])
    assert drawn == "\n".join(
        [
            "flowchart LR",
            '    t0["split<br/>done · 1/1<br/>0.5 HYPER"]:::done',
            '    t1["map<br/>running · 0/2"]:::running',
            "    t0 --> t1",
            "    classDef running fill:#dbeafe,stroke:#1d4ed8,color:#111827",
            "    classDef done fill:#dcfce7,stroke:#166534,color:#111827",
        ]
    )


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        ({}, "waiting"),
        ({"waiting": 0}, "waiting"),
        ({"waiting": 2, "done": 1}, "running"),
        ({"running": 1, "failed": 1}, "failed"),
        ({"done": 2, "skipped": 1}, "done"),
        ({"done": 2, "cancelled": 1}, "cancelled"),
        ({"skipped": 1}, "skipped"),
    ],
)
def test_state_of_a_task(counts: dict[str, int], state: str) -> None:
    assert DrawnTask("a", (), {UnitState(name): count for name, count in counts.items()}, "").state == state


def test_no_tasks() -> None:
    assert mermaid([]) == 'flowchart LR\n    none["no tasks"]'
    assert "Plan of 0 tasks: 0 of 0 units over" in svg([])


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        ([task("a", "b"), task("b", "a")], "circle"),
        ([task("a", "a")], "circle"),
        ([task("a", "c")], "no task has the task_id 'c'"),
        ([task("a"), task("a")], "the same task_id"),
    ],
)
def test_what_is_no_plan_is_refused(tasks: list[DrawnTask], told: str) -> None:
    for draw in (mermaid, svg):
        with pytest.raises(ValueError, match=told):
            draw(tasks)


def test_two_hundred_tasks_with_every_dependency_there_can_be() -> None:
    tasks = [task(f"task_{number}", *(f"task_{other}" for other in range(number))) for number in range(200)]
    root = ElementTree.fromstring(svg(tasks))
    assert len(root.findall(f"{SVG}g[@class='edges']")) == 199
    assert int(root.get("height", "")) < 64 + NODE_HEIGHT + 50


def _luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_are_told_apart_and_texts_can_be_read() -> None:
    for fill, ink in COLOURS.values():
        assert _contrast(TEXT, fill) >= 12
        assert _contrast(ink, fill) >= 4.5
    assert all(one != other for one, other in combinations(COLOURS.values(), 2))
