"""A run as a stream of events, told from its row alone: any process tells the same ones, with the same ids.

The number of an event depends on the step that it is about, not on the modes that a reader has asked for, so that a
reader can go on in another process, and in other modes, where it was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from app.http.langgraph_api.progress import DONE, message_of, shown, steps, values_at
from app.store.agent_runs import RunRow

MODES = ("values", "updates", "events")
_BEFORE = 3
"""Events ahead of the first step's: metadata, the graph's start, the values that it starts from."""
_EACH = 3
"""Events of a step."""
NODE = "tool"
"""The node of the agent graph that makes the calls."""


@dataclass(frozen=True, slots=True)
class RunEvent:
    """``kind``: the SSE event's name. ``id``: its number in the run's stream, from 0."""

    id: int
    kind: str
    data: Any


def events_of(row: RunRow, thread_id: str, modes: Collection[str], after: int) -> Iterator[RunEvent]:
    """The events of a run by now, of these modes, with ids above ``after`` (-1 = from the first)."""
    for event in _all(row, thread_id, max(0, (after + 1 - _BEFORE) // _EACH)):
        if event.id > after and (event.kind not in MODES or event.kind in modes):
            yield event


def _all(row: RunRow, thread_id: str, first_step: int) -> Iterator[RunEvent]:
    """The events of a run; of its steps, those from ``first_step`` on (from 0)."""
    yield RunEvent(0, "metadata", {"run_id": row.id, "thread_id": thread_id, "attempt": 1})
    if row.output is not None:
        start = {"input": values_at(row.output, 0)}
        yield RunEvent(1, "events", _chain(row, "on_chain_start", "agent", start))
        yield RunEvent(2, "values", values_at(row.output, 0))
        for step in range(first_step, steps(row.output)):
            yield from _step(row, step)
    if row.over:
        yield from _end(row)


def _step(row: RunRow, step: int) -> Iterator[RunEvent]:
    """What one more call that has ended comes to."""
    assert row.output is not None
    call = row.output["calls"][row.output["order"][step]]
    number = _BEFORE + step * _EACH
    message = message_of(call)
    yield RunEvent(
        number, "updates", {NODE: {"calls": [shown(call)], "messages": [] if message is None else [message]}}
    )
    ended = {"input": call["arguments"], "output": call["result"] if call["status"] == DONE else call["problem"]}
    yield RunEvent(number + 1, "events", _chain(row, "on_tool_end", call["tool"], ended))
    yield RunEvent(number + 2, "values", values_at(row.output, step + 1))


def _end(row: RunRow) -> Iterator[RunEvent]:
    number = _BEFORE + steps(row.output) * _EACH
    if row.status == "error":
        yield RunEvent(number, "error", error_of(row))
    ended = {"output": values_at(row.output, steps(row.output))}
    yield RunEvent(number + 1, "events", _chain(row, "on_chain_end", "agent", ended))
    yield RunEvent(number + 2, "end", {"run_id": row.id, "status": row.status})


def _chain(row: RunRow, kind: str, name: str, data: dict[str, Any]) -> dict[str, Any]:
    """An event in the form of LangChain's astream_events."""
    return {
        "event": kind, "name": name, "run_id": row.id, "data": data, "tags": [], "metadata": {}, "parent_ids": [],
    }  # fmt: skip


def error_of(row: RunRow) -> dict[str, str]:
    """Why a run ended in error: ``{"error": code, "message": …}``."""
    code, _, message = (row.error or "").partition(": ")
    return {"error": code, "message": message}
