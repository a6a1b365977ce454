"""How far a run has come, as its row holds it, and the values that come of it.

``output`` of a run: ``messages`` (the thread's, with those of the input), ``calls`` (each ``{"id", "tool", "arguments",
"status", "result", "problem", "reply"}``) and ``order``: indices of calls in the order in which they ended. The first k
of these make step k, so that any process can tell any step from the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from app.http.langgraph_api.inputs import Asked
from app.http.problems import Problem

MOST_MESSAGES = 200
"""A thread keeps its last messages, that many of them."""

WAITING, DONE, FAILED = "waiting", "done", "failed"
_SHOWN = ("id", "tool", "arguments", "status", "result", "problem")


class Progress:
    """The calls of a run, and how they ended. ``output`` is what its row is to hold."""

    def __init__(self, run_id: str, asked: Asked, values: dict[str, Any]) -> None:
        self.output: dict[str, Any] = {
            "messages": merged(values.get("messages", []), asked.messages, run_id),
            "calls": [{**call, "status": WAITING, "result": None, "problem": None} for call in asked.calls],
            "order": [],
        }

    @property
    def calls(self) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = self.output["calls"]
        return calls

    def ended(self, index: int, result: Any = None, problem: Problem | None = None) -> None:
        """A call has its answer, or its problem."""
        call = self.calls[index]
        if problem is None:
            call.update(status=DONE, result=msgspec.to_builtins(result))
        else:
            call.update(status=FAILED, problem=msgspec.to_builtins(problem))
        self.output["order"].append(index)

    def give_up(self, problem: Problem) -> None:
        """The calls that have not ended get this problem: none is left without an answer."""
        for index, call in enumerate(self.calls):
            if call["status"] == WAITING:
                self.ended(index, problem=problem)

    @property
    def values(self) -> dict[str, Any]:
        """What the run has come to by now."""
        return values_at(self.output, len(self.output["order"]))


def steps(output: dict[str, Any] | None) -> int:
    """Calls that have ended."""
    return len(output["order"]) if output else 0


def values_at(output: dict[str, Any] | None, step: int) -> dict[str, Any]:
    """The values at a step: ``{"calls": [...], "messages": [...]}``; none before the run starts."""
    if output is None:
        return {}
    order: Sequence[int] = output["order"][:step]
    over = set(order)
    calls = [
        shown(call) if index in over else {**shown(call), "status": WAITING, "result": None, "problem": None}
        for index, call in enumerate(output["calls"])
    ]
    told = [message for index in order if (message := message_of(output["calls"][index]))]
    return {"calls": calls, "messages": [*output["messages"], *told][-MOST_MESSAGES:]}


def shown(call: dict[str, Any]) -> dict[str, Any]:
    """A call as the values have it."""
    return {name: call[name] for name in _SHOWN}


def message_of(call: dict[str, Any]) -> dict[str, Any] | None:
    """The message that answers a call that came in one, in the form that it came in; else None."""
    if not call["reply"]:
        return None
    content = msgspec.json.encode(call["result"] if call["status"] == DONE else call["problem"]).decode()
    if call["reply"] == "role":
        return {"role": "tool", "tool_call_id": call["id"], "name": call["tool"], "content": content}
    return {
        "type": "tool",
        "tool_call_id": call["id"],
        "name": call["tool"],
        "content": content,
        "status": "success" if call["status"] == DONE else "error",
    }


def merged(messages: list[dict[str, Any]], new: list[dict[str, Any]], run_id: str) -> list[dict[str, Any]]:
    """The messages with new ones: one of an id that is there takes its place, the others follow.

    Those without an id get one of the run's.
    """
    kept = {str(message.get("id") or f"{number}"): message for number, message in enumerate(messages)}
    for number, message in enumerate(new):
        name = message.get("id") or f"{run_id}-{number}"
        kept[str(name)] = {**message, "id": name}
    return list(kept.values())
