"""Seats for a batch: which of its jobs can have slots at once, and who sits where at the best sum of totals.

Jobs that ask for the same are one group. Seats are given in the order of right, each by an augmenting path (Kuhn 1955):
those seated before may move to another of their nodes, but none loses its seat. For jobs of one slot the sets that can
be seated form a transversal matroid (Edmonds and Fulkerson 1965), so the outcome is the lexicographically best set in
the order of right, and also one of the largest. A job of several slots stays where it is put.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy

from app.matchmaker.terms import SCALE

_EVICTIONS = 8
"""Nodes on which a job of several slots tries to make room."""

Options = Mapping[str, int]
"""The nodes that a group may have, best first, and what one of its jobs is worth there, in 0..SCALE."""


class Seats:
    """``free``: slots that each node has to give. ``options``: of each group, by its number."""

    def __init__(self, free: Mapping[str, int], options: Sequence[Options]) -> None:
        self._options = options
        self._free = dict(free)
        self._single: dict[str, dict[int, int]] = {node_id: {} for node_id in free}
        self._wide: list[tuple[int, str]] = []
        self._dead: set[str] = set()

    def seat(self, group: int, slots: int) -> bool:
        """Seat one more job of the group on a node with ``slots`` for it; False when there is no way."""
        if slots == 1:
            return self._augment(group, self._dead)
        node_id = next((node_id for node_id in self._options[group] if self._free[node_id] >= slots), None)
        if node_id is None:
            tried = list(self._options[group])[:_EVICTIONS]
            node_id = next((node_id for node_id in tried if self._make_room(node_id, slots)), None)
        if node_id is None:
            return False
        self._free[node_id] -= slots
        self._wide.append((group, node_id))
        return True

    def settled(self) -> list[dict[str, int]]:
        """Of each group, how many of the jobs that have a seat sit on which node, at the highest sum of totals.

        Exact for the jobs of one slot, given where those of several slots sit: a minimum-cost flow.
        """
        counts: list[dict[str, int]] = [{} for _ in self._options]
        for group, node_id in self._wide:
            counts[group][node_id] = counts[group].get(node_id, 0) + 1
        seated = [0] * len(self._options)
        capacity: dict[str, int] = {}
        for node_id, sitting in self._single.items():
            for group, count in sitting.items():
                seated[group] += count
            capacity[node_id] = self._free[node_id] + sum(sitting.values())
        for group, node_id, count in _cheapest_flow(seated, capacity, self._options):
            counts[group][node_id] = counts[group].get(node_id, 0) + count
        return counts

    def _augment(self, group: int, visited: set[str]) -> bool:
        """Find a free slot for a job of the group, by moving others on. What is visited in vain can be left out later:
        no slot can be reached from there any more."""
        path: dict[str, tuple[str | None, int]] = {}
        reached: list[str] = []

        def reach(mover: int, source: str | None) -> str | None:
            for node_id in self._options[mover]:
                if node_id not in visited and node_id not in path:
                    path[node_id] = source, mover
                    if self._free[node_id]:
                        return node_id
                    reached.append(node_id)
            return None

        goal = reach(group, None)
        while goal is None and reached:
            node_id = reached.pop()
            for mover in sorted(self._single[node_id]):
                goal = reach(mover, node_id)
                if goal is not None:
                    break
        if goal is None:
            visited.update(path)
            return False
        self._free[goal] -= 1
        at: str | None = goal
        while at is not None:
            source, mover = path[at]
            self._single[at][mover] = self._single[at].get(mover, 0) + 1
            if source is not None:
                self._leave(source, mover)
            at = source
        return True

    def _leave(self, node_id: str, group: int) -> None:
        sitting = self._single[node_id]
        sitting[group] -= 1
        if not sitting[group]:
            del sitting[group]

    def _make_room(self, node_id: str, slots: int) -> bool:
        """Move jobs of one slot off the node until ``slots`` are free there; changes nothing when that cannot be."""
        if self._free[node_id] + sum(self._single[node_id].values()) < slots:
            return False
        free, single = copy(self._free), {each: copy(sitting) for each, sitting in self._single.items()}
        while self._free[node_id] < slots:
            moved = next((one for one in sorted(self._single[node_id]) if self._augment(one, {node_id})), None)
            if moved is None:
                self._free, self._single = free, single
                return False
            self._leave(node_id, moved)
            self._free[node_id] += 1
        # Slots have changed hands outside of an augmenting path: what was out of reach may be within it.
        self._dead.clear()
        return True


def _cheapest_flow(
    seated: Sequence[int], capacity: Mapping[str, int], options: Sequence[Options]
) -> list[tuple[int, str, int]]:
    """``(group, node, jobs)`` of the flow that seats all at the least loss of totals."""
    if not any(seated):
        return []
    # Takes a fifth of a second to load, and most processes never need it.
    from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

    flow = SimpleMinCostFlow()
    nodes = {node_id: len(options) + place for place, node_id in enumerate(sorted(capacity))}
    sink = len(options) + len(nodes)
    arcs = []
    for group, count in enumerate(seated):
        if count:
            flow.set_node_supply(group, count)
            for node_id, total in options[group].items():
                if capacity[node_id]:
                    flow.add_arc_with_capacity_and_unit_cost(group, nodes[node_id], count, SCALE - total)
                    arcs.append((group, node_id))
    for node_id, place in nodes.items():
        flow.add_arc_with_capacity_and_unit_cost(place, sink, capacity[node_id], 0)
    flow.set_node_supply(sink, -sum(seated))
    status = flow.solve()
    assert status == flow.OPTIMAL, f"everyone has a seat, and there is no flow: {status}"
    return [(group, node_id, flow.flow(arc)) for arc, (group, node_id) in enumerate(arcs) if flow.flow(arc)]
