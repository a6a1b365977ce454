"""Where the tasks of a plan stand in a drawing: columns by dependency, few crossings, short edges.

The layered method of Sugiyama, Tagawa and Toda (1981). Edges over several columns run through a place of their own in
each column between; all edges out of one task share these, so that their number stays below tasks times columns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_SWEEPS = 4
NODE_HEIGHT = 76.0
_BEND_HEIGHT = 6.0
_GAP = 20.0


@dataclass(slots=True, eq=False)
class Place:
    """Something in a column: a task, or a bend of the edges out of ``task``. ``y``: its middle, in px from the top."""

    task: int
    column: int
    bend: bool
    y: float = 0.0
    before: list[Place] = field(default_factory=list)
    """In the column to the left, that edges come from."""
    behind: list[Place] = field(default_factory=list)
    """In the column to the right, that edges go to."""

    @property
    def height(self) -> float:
        return _BEND_HEIGHT if self.bend else NODE_HEIGHT


@dataclass(frozen=True, slots=True)
class Layout:
    """``columns``: from left to right, each from top to bottom. ``nodes``: the place of each task, by its number.

    ``height``: of the whole, in px.
    """

    columns: list[list[Place]]
    nodes: list[Place]
    height: float


def columns_of(after: Sequence[Sequence[int]]) -> list[int]:
    """The column of each task: one more than the furthest of those it comes after (longest path).

    ``after[i]``: numbers of the tasks that task i waits for. Raises ValueError if they go round in a circle.
    """
    behind: list[list[int]] = [[] for _ in after]
    missing = [len(before) for before in after]
    for task, before in enumerate(after):
        for other in before:
            behind[other].append(task)
    ready = [task for task, count in enumerate(missing) if not count]
    columns = [0] * len(after)
    for task in ready:
        for other in behind[task]:
            columns[other] = max(columns[other], columns[task] + 1)
            missing[other] -= 1
            if not missing[other]:
                ready.append(other)
    if len(ready) < len(after):
        raise ValueError("the tasks wait for each other in a circle")
    return columns


def without_implied(after: Sequence[Sequence[int]], columns: Sequence[int]) -> list[list[int]]:
    """``after`` without what follows from the rest (transitive reduction): if c comes after b and b after a, c need not
    be drawn after a."""
    earlier = [0] * len(after)
    kept: list[list[int]] = [[] for _ in after]
    for task in sorted(range(len(after)), key=columns.__getitem__):
        reached = 0
        # The furthest first: only what stands further to the right can imply an edge from further left.
        for other in sorted(after[task], key=lambda one: (-columns[one], one)):
            if not reached >> other & 1:
                kept[task].append(other)
                reached |= earlier[other] | 1 << other
        earlier[task] = reached
        kept[task].sort()
    return kept


def laid_out(after: Sequence[Sequence[int]]) -> Layout:
    """A place for each task; the same tasks give the same places. Raises ValueError as columns_of."""
    columns = columns_of(after)
    nodes = [Place(task, columns[task], bend=False) for task in range(len(after))]
    grid: list[list[Place]] = [[] for _ in range(max(columns, default=-1) + 1)]
    for node in nodes:
        grid[node.column].append(node)
    _route(nodes, without_implied(after, columns), grid)
    _order(grid)
    _place(grid)
    top = min((place.y - place.height / 2 for column in grid for place in column), default=0.0)
    bottom = max((place.y + place.height / 2 for column in grid for place in column), default=0.0)
    for column in grid:
        for place in column:
            place.y -= top
    return Layout(grid, nodes, bottom - top)


def _route(nodes: Sequence[Place], after: Sequence[Sequence[int]], grid: list[list[Place]]) -> None:
    """Join the tasks by edges from column to column, with bends where an edge passes a column."""
    targets: dict[int, list[Place]] = defaultdict(list)
    for task, before in enumerate(after):
        for other in before:
            targets[other].append(nodes[task])
    for task, ends in sorted(targets.items()):
        trunk = [nodes[task]]
        for end in sorted(ends, key=lambda one: one.column):
            while trunk[-1].column < end.column - 1:
                bend = Place(task, trunk[-1].column + 1, bend=True)
                grid[bend.column].append(bend)
                _join(trunk[-1], bend)
                trunk.append(bend)
            _join(trunk[end.column - 1 - nodes[task].column], end)


def _join(left: Place, right: Place) -> None:
    left.behind.append(right)
    right.before.append(left)


def _order(grid: Sequence[list[Place]]) -> None:
    """Order each column by the mean position of its neighbours (barycentre), to and fro."""
    position: dict[Place, float] = {place: index for column in grid for index, place in enumerate(column)}
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        for column in grid if forward else reversed(grid):
            wanted: Mapping[Place, float] = {
                place: _mean(position, place.before if forward else place.behind, position[place]) for place in column
            }
            column.sort(key=wanted.__getitem__)
            position.update((place, index) for index, place in enumerate(column))


def _place(grid: Sequence[Sequence[Place]]) -> None:
    """Heights: near the neighbours', in the order of the column, without overlaps."""
    for column in grid:
        y = -sum(place.height + _GAP for place in column) / 2
        for place in column:
            place.y = y + place.height / 2
            y += place.height + _GAP
    for forward in (True, False, True):
        for column in grid if forward else reversed(grid):
            heights = {place: place.y for place in column}
            for place in column:
                near = place.before if forward else place.behind
                heights[place] = sum(one.y for one in near) / len(near) if near else place.y
            _spread(column, [heights[place] for place in column])


def _spread(column: Sequence[Place], wanted: Sequence[float]) -> None:
    """As near to what is wanted as the gaps allow: halfway between pushing all down and pushing all up."""
    down = list(wanted)
    up = list(wanted)
    for index in range(1, len(column)):
        down[index] = max(down[index], down[index - 1] + _distance(column, index))
    for index in range(len(column) - 2, -1, -1):
        up[index] = min(up[index], up[index + 1] - _distance(column, index + 1))
    for place, low, high in zip(column, down, up, strict=True):
        place.y = (low + high) / 2


def _distance(column: Sequence[Place], index: int) -> float:
    return (column[index - 1].height + column[index].height) / 2 + _GAP


def _mean(position: Mapping[Place, float], near: Sequence[Place], otherwise: float) -> float:
    return sum(position[place] for place in near) / len(near) if near else otherwise
