"""Runs of the LangGraph-style API: make them, wait for them, follow them, call them off."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from litestar import Response, Router, delete, get, post
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, FromQuery, HeaderParameter, JSONBody, QueryParameter
from litestar.response import ServerSentEvent, Stream

from app.core.access import Principal, Scope
from app.core.errors import InvalidInput
from app.http.engine import Engine
from app.http.langgraph_api import inputs
from app.http.langgraph_api.answers import picked, run_answer, thread_of
from app.http.langgraph_api.assistants import assistant
from app.http.langgraph_api.bodies import CancelRuns, CreateRun, Status, modes_of
from app.http.langgraph_api.following import streamed, values
from app.http.langgraph_api.steady import Steady
from app.http.security import scoped
from app.services import agent_runs
from app.services.agent_runs import NewRun
from app.store.agent_runs import RunRow

Action = Annotated[
    Literal["interrupt", "rollback"],
    QueryParameter(description="interrupt keeps what the run has come to; rollback deletes the run, not its jobs"),
]


@post(["/runs", "/threads/{thread_id:str}/runs"], operation_id="langgraph_create_run", status_code=200)
async def create(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    data: JSONBody[CreateRun],
    thread: NamedDependency[str | None],
) -> Response[dict[str, Any]]:
    """A run that nobody waits for; join it later."""
    row = await _make(engine, principal, thread, data)
    return Response(run_answer(row), headers=_where(row))


@post(["/runs/wait", "/threads/{thread_id:str}/runs/wait"], operation_id="langgraph_wait_run", status_code=200)
async def create_and_wait(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    data: JSONBody[CreateRun],
    thread: NamedDependency[str | None],
) -> Stream:
    """A run, answered with the values that it has come to in the end."""
    row = await _make(engine, principal, thread, data)
    leaving = data.on_disconnect == "cancel"
    return Stream(
        values(engine, principal, row, cancel_when_left=leaving),
        media_type="application/json",
        headers=_where(row, "join"),
    )


@post(["/runs/stream", "/threads/{thread_id:str}/runs/stream"], operation_id="langgraph_stream_run", status_code=200)
async def create_and_stream(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    data: JSONBody[CreateRun],
    thread: NamedDependency[str | None],
) -> ServerSentEvent:
    """A run, followed as server-sent events."""
    row = await _make(engine, principal, thread, data)
    leaving = data.on_disconnect == "cancel"
    events = streamed(engine, principal, row, modes_of(data.stream_mode), -1, cancel_when_left=leaving)
    return ServerSentEvent(events, headers=_where(row, "stream"))


@get("/threads/{thread_id:str}/runs", operation_id="langgraph_runs")
async def listing(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    thread_id: FromPath[str],
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 10,
    offset: Annotated[int, QueryParameter(ge=0, le=1_000_000)] = 0,
    status: FromQuery[Status | None] = None,
    select: FromQuery[list[str] | None] = None,
) -> list[dict[str, Any]]:
    """Runs of a thread, newest first."""
    found = await agent_runs.listing(engine.db, principal, thread_id.lower(), status or "", limit, offset)
    return [picked(run_answer(row), select) for row in found]


@get("/threads/{thread_id:str}/runs/{run_id:str}", operation_id="langgraph_run")
async def read(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    thread_id: FromPath[str],
    run_id: FromPath[str],
) -> dict[str, Any]:
    """A run."""
    return run_answer(await _known(engine, principal, thread_id, run_id))


@delete("/threads/{thread_id:str}/runs/{run_id:str}", operation_id="langgraph_delete_run")
async def remove(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    thread_id: FromPath[str],
    run_id: FromPath[str],
) -> None:
    """Delete a run that is over."""
    await agent_runs.delete(engine.db, principal, run_id.lower(), _on(thread_id, run_id))


@get("/threads/{thread_id:str}/runs/{run_id:str}/join", operation_id="langgraph_join_run")
async def join(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    thread_id: FromPath[str],
    run_id: FromPath[str],
) -> Stream:
    """The values that a run has come to, when it is over."""
    row = await _known(engine, principal, thread_id, run_id)
    return Stream(values(engine, principal, row), media_type="application/json", headers=_where(row, "join"))


@get("/threads/{thread_id:str}/runs/{run_id:str}/stream", operation_id="langgraph_join_stream")
async def join_stream(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    thread_id: FromPath[str],
    run_id: FromPath[str],
    stream_mode: FromQuery[list[str] | None] = None,
    cancel_on_disconnect: FromQuery[bool] = False,
    last_event_id: Annotated[str, HeaderParameter(name="Last-Event-ID", max_length=20)] = "",
) -> ServerSentEvent:
    """Follow a run: every event of it behind Last-Event-ID, those of the past too."""
    row = await _known(engine, principal, thread_id, run_id)
    if last_event_id and not (last_event_id.isascii() and last_event_id.isdecimal()):
        raise InvalidInput("Last-Event-ID must be an id that this stream sent", field="Last-Event-ID")
    # The SDK sends an empty one for none.
    wished = [mode for mode in stream_mode or () if mode]
    modes = modes_of(wished or row.request.get("stream_mode") or ["values"])
    events = streamed(engine, principal, row, modes, int(last_event_id or -1), cancel_when_left=cancel_on_disconnect)
    return ServerSentEvent(events, headers=_where(row, "stream"))


@post("/threads/{thread_id:str}/runs/{run_id:str}/cancel", operation_id="langgraph_cancel_run", status_code=204)
async def cancel(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    thread_id: FromPath[str],
    run_id: FromPath[str],
    wait: FromQuery[bool] = False,
    action: Action = "interrupt",
) -> None:
    """Call a run off; one that is over stays as it is. The jobs that it submitted go on."""
    run_id, thread = run_id.lower(), _on(thread_id, run_id)
    await engine.runs.cancel(principal, run_id, thread, rollback=action == "rollback")
    if wait:
        async for _ in engine.runs.follow(principal, run_id, thread):
            pass


@post("/runs/cancel", operation_id="langgraph_cancel_runs", status_code=204)
async def cancel_many(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    data: JSONBody[CancelRuns],
    action: Action = "interrupt",
) -> None:
    """Call runs off: those named, of a thread, or all of the account with a status."""
    if bool(data.run_ids) == bool(data.status) or bool(data.run_ids) != bool(data.thread_id):
        raise InvalidInput(
            "give thread_id with run_ids, or status",
            field="run_ids",
            next_action='A valid body: {"status": "pending"}.',
        )
    named = [run_id.lower() for run_id in data.run_ids]
    thread = (data.thread_id or "").lower()
    wanted = await agent_runs.cancel_many(
        engine.db, principal, thread, named, data.status or "all", rollback=action == "rollback"
    )
    engine.runs.desk.wake(wanted)


async def _make(engine: Engine, principal: Principal, thread_id: str | None, data: CreateRun) -> RunRow:
    """Record a run and begin it. Raises InvalidInput, NotFound, Conflict: then nothing is recorded."""
    data.check()
    assistant(data.assistant_id)
    asked = inputs.read(data.input)
    make_thread = thread_id is not None and data.if_not_exists == "create"
    if thread_id is None and data.on_completion == "keep":
        thread_id, make_thread = str(uuid.uuid4()), True
    elif make_thread:
        _check_id(thread_id)
    request = {
        "calls": asked.calls,
        "messages": asked.messages,
        "stream_mode": modes_of(data.stream_mode),
        "metadata": data.metadata,
        "multitask_strategy": data.multitask_strategy,
    }
    thread = None if thread_id is None else thread_id.lower()
    new = NewRun(str(uuid.uuid4()), thread, request, data.multitask_strategy)
    return await engine.runs.add(principal, new, asked, make_thread=make_thread)


def _check_id(thread_id: str | None) -> None:
    try:
        uuid.UUID(thread_id or "")
    except ValueError:
        raise InvalidInput("the id of a thread is a UUID", field="thread_id") from None


async def _known(engine: Engine, principal: Principal, thread_id: str, run_id: str) -> RunRow:
    return await agent_runs.get(engine.db, principal, run_id.lower(), _on(thread_id, run_id))


def _on(thread_id: str, run_id: str) -> str | None:
    """The thread that an address means; a run alone is addressed under its own id."""
    return None if thread_id.lower() == run_id.lower() else thread_id.lower()


def _where(row: RunRow, rest: str = "") -> dict[str, str]:
    """Content-Location tells the SDK the run's id, Location where to go on when the answer breaks off."""
    run = f"/threads/{thread_of(row)}/runs/{row.id}"
    return {"Content-Location": run} | ({"Location": f"{run}/{rest}"} if rest else {})


async def provide_thread(request: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    """The thread that a run is to be on; None where the path names none."""
    thread_id: str | None = request.path_params.get("thread_id")
    return thread_id


runs_router = Router(
    "/",
    dependencies={"thread": Provide(provide_thread)},
    route_handlers=[
        create, create_and_wait, create_and_stream, listing, read, remove, join, join_stream, cancel, cancel_many,
    ],
    middleware=[Steady()],
    opt=scoped(Scope.AGENT, Scope.OPERATOR),
    include_in_schema=False,
)  # fmt: skip
