"""The compiled graphs as Mermaid, for docs and `hae graph`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphs import agent, job, plan

_BUILD: dict[str, Callable[[], Any]] = {"job": job.build, "plan": plan.build, "agent": agent.build}


def drawing(name: str) -> str:
    """``job``, ``plan`` or ``agent`` as a Mermaid flowchart, drawn from the compiled graph itself."""
    graph: Any = _BUILD[name]().get_graph()
    ends = {"__start__": "START([start])", "__end__": "END([end])"}
    lines = ["flowchart LR"]
    for edge in sorted(graph.edges, key=lambda edge: _order(graph, edge)):
        source, target = (ends.get(node, node) for node in (edge.source, edge.target))
        lines.append(f"    {source} --> {target}")
    return "\n".join(lines)


def _order(graph: Any, edge: Any) -> tuple[int, int]:
    nodes = list(graph.nodes)
    return nodes.index(edge.source), nodes.index(edge.target)


def edges(name: str) -> set[tuple[str, str]]:
    """Every edge the compiled graph can take."""
    return {(edge.source, edge.target) for edge in _BUILD[name]().get_graph().edges}
