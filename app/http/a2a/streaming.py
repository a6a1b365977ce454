"""What happens to a task, as A2A's updates: from the events of its job, or the versions of its plan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from operator import lt
from typing import Any

from a2a.types.a2a_pb2 import Task, TaskArtifactUpdateEvent, TaskState, TaskStatusUpdateEvent

from app.core.access import Principal
from app.core.events import EventKind
from app.core.states import JOB_FINAL, JobState
from app.http.a2a.asking import safe
from app.http.a2a.tasks import FINAL, is_plan, read_task, status
from app.http.a2a.wire import from_json
from app.http.engine import Engine
from app.http.routes.told import told
from app.services import jobs
from app.store import events
from app.store.events import StoredEvent
from tools.answers import stamp

HEARTBEAT_S = 15.0
"""How long one look waits; the SSE layer keeps the connection alive meanwhile."""

Update = Task | TaskStatusUpdateEvent | TaskArtifactUpdateEvent
_STATES = {state.value for state in JobState}


def is_over(task: Task) -> bool:
    """Whether nothing more will happen to it."""
    return TaskState.Name(task.status.state) in FINAL


async def follow(engine: Engine, principal: Principal, task_id: str, *, own: bool = False) -> AsyncIterator[Update]:
    """The task as it is, then its updates until it is over: results come before the status that ends it.

    Ends early, and cleanly, when the server stops: the client subscribes again. Raises NotFound.
    """
    seen = 0
    if not is_plan(task_id):
        async with engine.db.unit() as uow:
            # Before the task is read: what happens in between is told once more, and not missed.
            seen = (await events.latest(uow, [task_id])).get(task_id, 0)
    task = await read_task(engine, principal, task_id, own=own)
    yield task
    if is_over(task):
        return
    updates = (
        _of_plan(engine, principal, task, own) if is_plan(task_id) else _of_job(engine, principal, task, seen, own)
    )
    async for update in updates:
        yield update


async def _of_job(
    engine: Engine, principal: Principal, task: Task, after: int, own: bool
) -> AsyncIterator[TaskStatusUpdateEvent | TaskArtifactUpdateEvent]:
    while not engine.stopping.is_set():
        found = await jobs.events_after(engine.db, principal, task.id, after)
        for event in found:
            after = event.seq
            if event.data.get("state") in JOB_FINAL:
                async for last in _ending(engine, principal, task, own):
                    yield last
                return
            if event.kind == EventKind.JOB_PROGRESS or event.data.get("state") in _STATES:
                yield _update(task, event)
        if not found:
            await engine.event_desk.wait(task.id, partial(lt, after), HEARTBEAT_S)


async def _of_plan(
    engine: Engine, principal: Principal, task: Task, own: bool
) -> AsyncIterator[TaskStatusUpdateEvent | TaskArtifactUpdateEvent]:
    version = int(task.metadata["version"])
    while not engine.stopping.is_set():
        newer = await engine.plan_desk.wait(task.id, partial(_is_newer, version), HEARTBEAT_S)
        if newer is None:
            continue
        version, over = newer
        if over:
            async for last in _ending(engine, principal, task, own):
                yield last
            return
        now = await read_task(engine, principal, task.id, own=own)
        yield _moved(now)


def _is_newer(version: int, seen: tuple[int, bool]) -> bool:
    return seen[0] > version or seen[1]


async def _ending(
    engine: Engine, principal: Principal, task: Task, own: bool
) -> AsyncIterator[TaskStatusUpdateEvent | TaskArtifactUpdateEvent]:
    ended = await read_task(engine, principal, task.id, own=own)
    for artifact in ended.artifacts:
        yield TaskArtifactUpdateEvent(task_id=ended.id, context_id=ended.context_id, artifact=artifact, last_chunk=True)
    yield _moved(ended)


def _moved(task: Task) -> TaskStatusUpdateEvent:
    return TaskStatusUpdateEvent(
        task_id=task.id, context_id=task.context_id, status=task.status, metadata=task.metadata
    )


def _update(task: Task, event: StoredEvent) -> TaskStatusUpdateEvent:
    data = told(event.data)
    text = ""
    if event.kind == EventKind.JOB_PROGRESS:
        text = f"{data.get('percent', 0):g} %" + (f": {data['message']}" if data.get("message") else "")
    state = data.get("state") if data.get("state") in _STATES else JobState.RUNNING.value
    shown: dict[str, Any] = {
        "taskId": task.id,
        "contextId": task.context_id,
        "status": status(str(state), stamp(event.at), text),
        "metadata": safe({"event": event.kind, "event_id": event.id, **data}),
    }
    if text:
        shown["status"]["message"] |= {"messageId": event.id, "taskId": task.id, "contextId": task.context_id}
    return from_json(shown, TaskStatusUpdateEvent())
