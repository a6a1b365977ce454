"""Jobs and plans as A2A tasks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import msgspec
from a2a.types.a2a_pb2 import Message, Task

from app.core.a2a import TASK_STATE, context_of
from app.core.access import ALL, Principal
from app.http.a2a.asking import safe, text_or_data
from app.http.a2a.wire import from_json
from app.http.engine import Engine
from app.store import contexts
from tools.plan_schemas import GetPlan, PlanAnswer, PlanSummary
from tools.schemas import GetJob, JobAnswer, JobSummary

FINAL: Final = frozenset({"TASK_STATE_COMPLETED", "TASK_STATE_FAILED", "TASK_STATE_CANCELED"})
_JOB_FIELDS: Final = JobSummary.__struct_fields__
_PLAN_FIELDS: Final = (*PlanSummary.__struct_fields__, "forecast_hyper")
_TIMES: Final = ("finished_at", "started_at", "assigned_at", "created_at")


def is_plan(task_id: str) -> bool:
    return task_id.startswith("plan_")


async def read_task(engine: Engine, principal: Principal, task_id: str, *, own: bool = False) -> Task:
    """The task as it is now, with its results. Raises NotFound, also for another account's. ``own``: the caller has
    just made it, and may see it whatever tools its key may call."""
    if own:
        principal = replace(principal, rights=ALL)
    answer: JobAnswer | PlanAnswer
    if is_plan(task_id):
        answer = await engine.agents.call(principal, "get_plan", GetPlan(plan_id=task_id))
    else:
        answer = await engine.agents.call(principal, "get_job", GetJob(job_id=task_id))
    found = await contexts_of(engine, [task_id])
    return task_of(answer, found[task_id])


async def contexts_of(engine: Engine, task_ids: Iterable[str]) -> dict[str, str]:
    """The context of each task: that which its client named, or its own."""
    asked = list(task_ids)
    async with engine.db.unit() as uow:
        kept = await contexts.of_tasks(uow, asked)
    return {task_id: kept.get(task_id) or context_of(task_id) for task_id in asked}


def task_of(answer: JobSummary | PlanSummary, context_id: str) -> Task:
    """The task that an answer of get_job or get_plan tells of, with its results; or an entry of a list, without."""
    shown = msgspec.to_builtins(answer)
    planned = isinstance(answer, PlanSummary)
    task_id = shown["plan_id" if planned else "job_id"]
    fields = _PLAN_FIELDS if planned else _JOB_FIELDS
    told: dict[str, Any] = {
        "id": task_id,
        "contextId": context_id,
        "status": status(shown["state"], next(shown[name] for name in _TIMES if shown.get(name)), shown["error"]),
        "metadata": safe({name: shown[name] for name in fields if shown.get(name) not in ("", None)}),
    }
    if isinstance(answer, JobAnswer):
        told["artifacts"] = _of_job(answer)
    elif isinstance(answer, PlanAnswer):
        told["artifacts"] = [_artifact(task.task_id, task.result) for task in answer.tasks if task.result is not None]
    if "message" in told["status"]:
        told["status"]["message"] |= {"messageId": f"{task_id}-error", "taskId": task_id, "contextId": context_id}
    return from_json(told, Task())


def status(state: str, at: str, text: str = "") -> dict[str, Any]:
    """A task's status by the state of its job or plan, with what there is to say of it."""
    found: dict[str, Any] = {"state": TASK_STATE[state], "timestamp": at}
    if text:
        found["message"] = {"messageId": "-", "role": "ROLE_AGENT", "parts": [{"text": text}]}
    return found


def _of_job(job: JobAnswer) -> list[dict[str, Any]]:
    return [] if job.state != "completed" else [_artifact("result", job.result)]


def _artifact(name: str, result: Any) -> dict[str, Any]:
    parts = [text_or_data(result)]
    if isinstance(result, dict) and isinstance(result.get("text"), str) and result["text"]:
        # What a model said, for those who only read text; all that its node reported follows.
        parts.insert(0, {"text": result["text"]})
    return {"artifactId": name, "name": name, "parts": parts}


def reply_to(context_id: str, message_id: str, answer: Any) -> Message:
    """The message that a tool's answer is given in where it makes no task."""
    told = {
        "messageId": message_id,
        "contextId": context_id,
        "role": "ROLE_AGENT",
        "parts": [{"data": safe(msgspec.to_builtins(answer))}],
    }
    return from_json(told, Message())
