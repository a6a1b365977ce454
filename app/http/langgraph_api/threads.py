"""Threads of the LangGraph-style API, their states and the states before."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from itertools import zip_longest
from typing import Annotated, Any

from litestar import Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from app.core.access import Principal, Scope
from app.core.errors import InvalidInput
from app.http.engine import Engine
from app.http.langgraph_api.answers import picked, state_answer, thread_answer
from app.http.langgraph_api.bodies import (
    ChangeThread,
    CountThreads,
    CreateThread,
    ReadHistory,
    ReadState,
    SearchThreads,
)
from app.http.security import scoped
from app.services import threads
from app.store.agent_runs import RunRow
from app.store.threads import ThreadSearch

Select = Annotated[list[str] | None, QueryParameter(description="Fields that are wanted; may be repeated")]


@post("/threads", operation_id="langgraph_create_thread", status_code=200)
async def create(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], data: JSONBody[CreateThread]
) -> dict[str, Any]:
    """A new thread."""
    data.check()
    thread_id = (data.thread_id or str(uuid.uuid4())).lower()
    may_exist = data.if_exists == "do_nothing"
    row = await threads.create(engine.db, principal, thread_id, data.metadata or {}, may_exist=may_exist)
    return thread_answer(row)


@post("/threads/search", operation_id="langgraph_search_threads", status_code=200)
async def search(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], data: JSONBody[SearchThreads]
) -> list[dict[str, Any]]:
    """Threads of this account."""
    wanted = ThreadSearch(
        data.metadata,
        data.status or "",
        data.ids,
        data.sort_by,
        data.sort_order == "desc",
        data.limit,
        data.offset,
    )
    return [picked(thread_answer(row), data.select) for row in await threads.search(engine.db, principal, wanted)]


@post("/threads/count", operation_id="langgraph_count_threads", status_code=200)
async def count(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], data: JSONBody[CountThreads]
) -> int:
    """How many threads a search finds."""
    return await threads.count(engine.db, principal, ThreadSearch(data.metadata, data.status or ""))


@get("/threads/{thread_id:str}", operation_id="langgraph_thread")
async def read(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], thread_id: FromPath[str]
) -> dict[str, Any]:
    """A thread with the values that its last run left."""
    return thread_answer(await threads.get(engine.db, principal, thread_id.lower()))


@patch("/threads/{thread_id:str}", operation_id="langgraph_change_thread")
async def change(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    thread_id: FromPath[str],
    data: JSONBody[ChangeThread],
) -> dict[str, Any]:
    """Add to a thread's metadata."""
    if data.ttl:
        raise InvalidInput("ttl is not supported", field="ttl", next_action="Leave ttl out.")
    return thread_answer(await threads.describe(engine.db, principal, thread_id.lower(), data.metadata))


@delete("/threads/{thread_id:str}", operation_id="langgraph_delete_thread")
async def remove(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], thread_id: FromPath[str]
) -> None:
    """Delete a thread and its runs; the jobs that they submitted go on."""
    await threads.delete(engine.db, principal, thread_id.lower())


@get("/threads/{thread_id:str}/state", operation_id="langgraph_state")
async def state(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    thread_id: FromPath[str],
    select: Select = None,
) -> dict[str, Any]:
    """The state of a thread: what its last run that has started left, or leaves so far."""
    thread_id = thread_id.lower()
    rows = await threads.history(engine.db, principal, thread_id, 2)
    return picked(_states(thread_id, rows, 1)[0] if rows else state_answer(thread_id, None, None), select)


@get("/threads/{thread_id:str}/state/{checkpoint_id:str}", operation_id="langgraph_state_at")
async def state_at(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    thread_id: FromPath[str],
    checkpoint_id: FromPath[str],
    select: Select = None,
) -> dict[str, Any]:
    """The state that a run left; the id of a checkpoint is that of its run."""
    return picked(await _at(engine, principal, thread_id, checkpoint_id), select)


@post("/threads/{thread_id:str}/state/checkpoint", operation_id="langgraph_state_at_checkpoint", status_code=200)
async def state_at_checkpoint(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    thread_id: FromPath[str],
    data: JSONBody[ReadState],
) -> dict[str, Any]:
    """As above."""
    return picked(await _at(engine, principal, thread_id, _checkpoint_id(data.checkpoint)), data.select)


@post("/threads/{thread_id:str}/history", operation_id="langgraph_history", status_code=200)
async def history(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    thread_id: FromPath[str],
    data: JSONBody[ReadHistory],
) -> list[dict[str, Any]]:
    """The states of a thread, one a run that has started, newest first."""
    thread_id = thread_id.lower()
    before = "" if data.before is None else _checkpoint_id(data.before)
    rows = await threads.history(engine.db, principal, thread_id, data.limit + 1, before=before)
    return [picked(one, data.select) for one in _states(thread_id, rows, data.limit)]


async def _at(engine: Engine, principal: Principal, thread_id: str, checkpoint_id: str) -> dict[str, Any]:
    rows = await threads.history(engine.db, principal, thread_id.lower(), 2, at=checkpoint_id.lower())
    return _states(thread_id.lower(), rows, 1)[0]


def _states(thread_id: str, rows: Sequence[RunRow], limit: int) -> list[dict[str, Any]]:
    """The states that runs left; each but the last of ``rows`` knows the one before it."""
    older = zip_longest(rows, rows[1:])
    return [state_answer(thread_id, row, before) for row, before in older][:limit]


def _checkpoint_id(given: str | dict[str, Any]) -> str:
    found = given if isinstance(given, str) else given.get("checkpoint_id")
    if not isinstance(found, str) or not found:
        raise InvalidInput(
            "a checkpoint has a checkpoint_id", field="checkpoint", next_action="Take the checkpoint of a state."
        )
    return found.lower()


threads_router = Router(
    "/",
    route_handlers=[
        create, search, count, read, change, remove, state, state_at, state_at_checkpoint, history,
    ],
    opt=scoped(Scope.AGENT, Scope.OPERATOR),
    include_in_schema=False,
)  # fmt: skip
