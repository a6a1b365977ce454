"""A plan's tasks as a picture with their states: Mermaid for texts, SVG for pages. Pure: the same tasks, the same text.

Edges that follow from others are left out: after a, then b, then c, there is none from a to c.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from app.core.plans import UNIT_FINAL, UnitState
from app.services.plan_layout import NODE_HEIGHT, Place, columns_of, laid_out, without_implied

_NODE_WIDTH = 190
_COLUMN_WIDTH = 270
_MARGIN = 20
_HEADER = 64
_MAX_NAME = 22
_MAX_COST = 24

# Fill and ink: dark text on the fills has a contrast above 12:1, the inks on them above 4.5:1 (WCAG 2.2, 1.4.3).
COLOURS: Mapping[UnitState, tuple[str, str]] = {
    UnitState.WAITING: ("#f3f4f6", "#4b5563"),
    UnitState.RUNNING: ("#dbeafe", "#1d4ed8"),
    UnitState.DONE: ("#dcfce7", "#166534"),
    UnitState.SKIPPED: ("#fef9c3", "#854d0e"),
    UnitState.FAILED: ("#fee2e2", "#b91c1c"),
    UnitState.CANCELLED: ("#e5e7eb", "#374151"),
}
TEXT = "#111827"
_EDGE = "#6b7280"

# All that XML 1.0 does not take, and what would break a line.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]+")
_MERMAID_SIGNS = re.compile(r"[^\w .,:/·…()+-]")


@dataclass(frozen=True, slots=True)
class DrawnTask:
    """A task as it is drawn. ``after``: ids of the tasks it waits for. ``counts``: its units by state. ``cost``: what
    it has cost so far, as text with its unit, may be empty."""

    task_id: str
    after: tuple[str, ...]
    counts: Mapping[UnitState, int]
    cost: str

    @property
    def units(self) -> int:
        return sum(self.counts.values())

    @property
    def state(self) -> UnitState:
        """The one that tells most: failed if any unit failed, running if any runs or only some are over."""
        there = {state for state, count in self.counts.items() if count}
        if UnitState.FAILED in there:
            return UnitState.FAILED
        if UnitState.RUNNING in there or (UnitState.WAITING in there and there & UNIT_FINAL):
            return UnitState.RUNNING
        order = (UnitState.WAITING, UnitState.CANCELLED, UnitState.DONE, UnitState.SKIPPED)
        return next((state for state in order if state in there), UnitState.WAITING)


def mermaid(tasks: Sequence[DrawnTask]) -> str:
    """The tasks as a Mermaid flowchart. Raises ValueError for tasks that go round in a circle, are named twice, or wait
    for one that is not there."""
    after = _numbered(tasks)
    lines = ["flowchart LR"]
    if not tasks:
        lines.append('    none["no tasks"]')
    for number, task in enumerate(tasks):
        label = "<br/>".join(_for_mermaid(line) for line in _label(task) if line)
        lines.append(f'    t{number}["{label}"]:::{task.state.value}')
    for number, before in enumerate(without_implied(after, columns_of(after))):
        lines += [f"    t{other} --> t{number}" for other in before]
    for state in sorted({task.state for task in tasks}, key=list(UnitState).index):
        fill, ink = COLOURS[state]
        lines.append(f"    classDef {state.value} fill:{fill},stroke:{ink},color:{TEXT}")
    return "\n".join(lines)


def svg(tasks: Sequence[DrawnTask]) -> str:
    """The tasks as one SVG element, readable without colours and by screen readers. Raises ValueError as mermaid."""
    layout = laid_out(_numbered(tasks))
    width = max(2 * _MARGIN + max(len(layout.columns) - 1, 0) * _COLUMN_WIDTH + _NODE_WIDTH, 640)
    height = round(_HEADER + layout.height + _MARGIN)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'role="img" aria-labelledby="plan-title plan-desc" font-family="system-ui, sans-serif" font-size="13" '
        f'fill="{TEXT}">',
        f'<title id="plan-title">{_heading(tasks)}</title>',
        f'<desc id="plan-desc">{_for_xml(" ".join(map(_sentence, tasks)))}</desc>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_MARGIN}" y="26" font-weight="600" font-size="15">{_heading(tasks)}</text>',
        *_legend(tasks),
    ]
    parts += [_edges(tasks, place) for place in layout.nodes if place.behind]
    parts += [_node(task, place) for task, place in zip(tasks, layout.nodes, strict=True)]
    return "\n".join([*parts, "</svg>"])


def _numbered(tasks: Sequence[DrawnTask]) -> list[list[int]]:
    """For each task the numbers of those it comes after."""
    numbers = {task.task_id: number for number, task in enumerate(tasks)}
    if len(numbers) < len(tasks):
        raise ValueError("two tasks have the same task_id")
    try:
        return [sorted({numbers[other] for other in task.after}) for task in tasks]
    except KeyError as error:
        raise ValueError(f"no task has the task_id {error.args[0]!r}") from error


def _heading(tasks: Sequence[DrawnTask]) -> str:
    units = sum(task.units for task in tasks)
    over = sum(count for task in tasks for state, count in task.counts.items() if state in UNIT_FINAL)
    return f"Plan of {len(tasks)} task{'' if len(tasks) == 1 else 's'}: {over} of {units} units over"


def _label(task: DrawnTask) -> tuple[str, str, str]:
    """Name, state with progress, cost."""
    over = sum(count for state, count in task.counts.items() if state in UNIT_FINAL)
    return (_cut(task.task_id, _MAX_NAME) or "(no name)", f"{task.state.value} · {over}/{task.units}", _cost(task))


def _cost(task: DrawnTask) -> str:
    return _cut(task.cost, _MAX_COST)


def _sentence(task: DrawnTask) -> str:
    """All of a task in words: "map, after split: 3 done, 1 running; 0.5 HYPER."."""
    counts = ", ".join(f"{task.counts[state]} {state.value}" for state in UnitState if task.counts.get(state))
    after = f", after {', '.join(_clean(other) for other in task.after)}" if task.after else ""
    cost = f"; {_cost(task)}" if task.cost else ""
    return f"{_clean(task.task_id)}{after}: {counts or 'no units'}{cost}."


def _legend(tasks: Sequence[DrawnTask]) -> list[str]:
    parts, x = [], _MARGIN
    for state in UnitState:
        count = sum(task.counts.get(state, 0) for task in tasks)
        if count:
            parts.append(f'<rect x="{x}" y="40" width="10" height="10" fill="{COLOURS[state][1]}"/>')
            parts.append(f'<text x="{x + 15}" y="49" font-size="12">{count} {state.value}</text>')
            x += 110
    return parts


def _node(task: DrawnTask, place: Place) -> str:
    x, y = _MARGIN + place.column * _COLUMN_WIDTH, round(_HEADER + place.y - NODE_HEIGHT / 2)
    fill, ink = COLOURS[task.state]
    name, state, cost = _label(task)
    return (
        f'<g class="task {task.state.value}" data-task="{place.task}"><title>{_for_xml(_sentence(task))}</title>'
        f'<rect x="{x}" y="{y}" width="{_NODE_WIDTH}" height="{NODE_HEIGHT:.0f}" rx="6" fill="{fill}" stroke="{ink}" '
        f'stroke-width="1.5"/><text x="{x + 10}" y="{y + 19}" font-weight="600">{_for_xml(name)}</text>'
        f'<text x="{x + 10}" y="{y + 36}" font-size="12">{state}</text>'
        f'<text x="{x + 10}" y="{y + 52}" font-size="12">{_for_xml(cost)}</text>'
        f"{_bar(task, x + 10, y + 60)}</g>"
    )


def _bar(task: DrawnTask, x: float, y: float) -> str:
    """The states of the units as shares of a bar."""
    parts, total, width = [], task.units, _NODE_WIDTH - 20
    for state in (UnitState.DONE, UnitState.SKIPPED, UnitState.FAILED, UnitState.CANCELLED, UnitState.RUNNING):
        if count := task.counts.get(state, 0):
            share = width * count / total
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{share:.1f}" height="7" fill="{COLOURS[state][1]}" stroke="#ffffff" '
                'stroke-width="0.5"/>'
            )
            x += share
    return "".join(parts)


def _edges(tasks: Sequence[DrawnTask], source: Place) -> str:
    """All edges out of a task as one path, with an open arrow head where each ends."""
    strokes: list[str] = []
    ends: list[int] = []
    pending = [source]
    while pending:
        place = pending.pop()
        x, y = _MARGIN + place.column * _COLUMN_WIDTH + _NODE_WIDTH, round(_HEADER + place.y)
        if place.bend:
            strokes.append(f"M{x - _NODE_WIDTH} {y}H{x}")
        for target in place.behind:
            right, level = x + _COLUMN_WIDTH - _NODE_WIDTH, round(_HEADER + target.y)
            middle = (x + right) // 2
            strokes.append(f"M{x} {y}C{middle} {y} {middle} {level} {right} {level}")
            if target.bend:
                pending.append(target)
            else:
                strokes.append(f"M{right - 7} {level - 5}L{right} {level}L{right - 7} {level + 5}")
                ends.append(target.task)
    ends.sort()
    told = f"{_clean(tasks[source.task].task_id)} before {', '.join(_clean(tasks[end].task_id) for end in ends)}"
    return (
        f'<g class="edges" data-from="{source.task}" data-to="{" ".join(map(str, ends))}">'
        f"<title>{_for_xml(told)}</title>"
        f'<path d="{"".join(strokes)}" fill="none" stroke="{_EDGE}" stroke-width="1.5"/></g>'
    )


def _clean(text: str) -> str:
    """The text on one line, of a length that drawings can take."""
    text = _UNPRINTABLE.sub(" ", text[:200])
    return text if len(text) < 80 else text[:79] + "…"


def _cut(text: str, width: int) -> str:
    """The text on one line, no wider than ``width`` usual letters; the wide ones of East Asian scripts count double."""
    text, used = _clean(text), 0
    for index, letter in enumerate(text):
        used += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if used > width:
            return text[: max(index - 1, 0)] + "…"
    return text


def _for_xml(text: str) -> str:
    return escape(_UNPRINTABLE.sub(" ", text))


def _for_mermaid(text: str) -> str:
    """The text with the signs that mean something to Mermaid as its character codes."""
    return _MERMAID_SIGNS.sub(lambda match: f"#{ord(match[0])};", text)
