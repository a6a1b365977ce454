"""Threads, runs and states in the form in which `langgraph-sdk` reads them (its schema.py)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from app.http.langgraph_api.events import NODE, error_of
from app.http.langgraph_api.progress import steps, values_at
from app.store.agent_runs import RunRow
from app.store.threads import ThreadRow
from tools.answers import stamp

GRAPH = "agent"
ASSISTANT = str(uuid.uuid5(uuid.NAMESPACE_DNS, "agent.hypernode"))
"""The id of the one assistant there is; requests may also call it by the name of its graph."""


def thread_answer(row: ThreadRow) -> dict[str, Any]:
    return {
        "thread_id": row.id,
        "created_at": stamp(row.created_at),
        "updated_at": stamp(row.updated_at),
        "metadata": row.about,
        "status": row.status,
        "values": row.state or None,
        "interrupts": {},
    }


def thread_of(row: RunRow) -> str:
    """The thread under which a run is addressed: that of a run alone is called as the run itself."""
    return row.thread_id or row.id


def run_answer(row: RunRow) -> dict[str, Any]:
    return {
        "run_id": row.id,
        "thread_id": thread_of(row),
        "assistant_id": ASSISTANT,
        "created_at": stamp(row.created_at),
        "updated_at": stamp(row.updated_at),
        "status": row.status,
        "metadata": row.request.get("metadata", {}),
        "multitask_strategy": row.request.get("multitask_strategy", "enqueue"),
        "cancel_reason": row.error if row.status == "interrupted" else None,
    }


def final_values(row: RunRow) -> dict[str, Any]:
    """What a run has come to; after an error with ``__error__``, as the SDK's wait looks for it."""
    values = values_at(row.output, steps(row.output))
    return {**values, "__error__": error_of(row)} if row.status == "error" else values


def state_answer(thread_id: str, row: RunRow | None, older: RunRow | None) -> dict[str, Any]:
    """The state that a run left on its thread, or leaves so far; ``older``: the run before it."""
    going = row is not None and not row.over
    return {
        "values": {} if row is None else values_at(row.output, steps(row.output)),
        "next": [NODE] if going else [],
        "tasks": [] if row is None or row.status != "error" else [_failed(row)],
        "checkpoint": _checkpoint(thread_id, row),
        "metadata": {} if row is None else {"run_id": row.id, "source": "loop", **row.request.get("metadata", {})},
        "created_at": None if row is None else _time(row.updated_at),
        "parent_checkpoint": None if older is None else _checkpoint(thread_id, older),
        "interrupts": [],
    }


def picked(answer: dict[str, Any], select: Sequence[str] | None) -> dict[str, Any]:
    """The fields of an answer that are wanted, all without a wish."""
    if not select:
        return answer
    wanted = {name.split(".", 1)[0] for name in select}
    return {name: value for name, value in answer.items() if name in wanted}


def _checkpoint(thread_id: str, row: RunRow | None) -> dict[str, Any]:
    return {
        "thread_id": thread_id,
        "checkpoint_ns": "",
        "checkpoint_id": None if row is None else row.id,
        "checkpoint_map": None,
    }


def _failed(row: RunRow) -> dict[str, Any]:
    return {
        "id": row.id, "name": NODE, "error": row.error, "interrupts": [], "checkpoint": None, "state": None,
        "result": None,
    }  # fmt: skip


def _time(at: datetime) -> str:
    return stamp(at)
