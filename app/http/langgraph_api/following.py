"""What those who follow a run are sent: its events, or its values once it is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar.response import ServerSentEventMessage

from app.core.access import Principal
from app.core.errors import HaeError, Unavailable
from app.http.engine import Engine
from app.http.langgraph_api.answers import final_values, thread_of
from app.http.langgraph_api.events import events_of
from app.services import threads
from app.store.agent_runs import RunRow


async def streamed(
    engine: Engine,
    principal: Principal,
    row: RunRow,
    modes: list[str],
    after: int,
    *,
    cancel_when_left: bool = False,
) -> AsyncIterator[ServerSentEventMessage]:
    """A run's events behind ``after``. Ends without an ``end`` only when the server stops or the database is away: the
    SDK comes back then, with Last-Event-ID."""
    over = False
    try:
        async for seen in engine.runs.follow(principal, row.id, row.thread_id):
            if seen is None:
                yield ServerSentEventMessage(comment="still here")
                continue
            for event in events_of(seen, thread_of(seen), modes, after):
                after = event.id
                yield _message(event.kind, event.id, event.data)
            over = seen.over
        if not over and not engine.stopping.is_set():
            yield _message("end", after + 1, {"run_id": row.id, "status": "interrupted"})
            over = True
    except HaeError:
        return
    finally:
        if cancel_when_left and not over and not engine.stopping.is_set():
            engine.runs.call_off(principal, row.id, row.thread_id)


async def values(
    engine: Engine, principal: Principal, row: RunRow, *, cancel_when_left: bool = False
) -> AsyncIterator[bytes]:
    """The values of a run once it is over, as JSON; line breaks until then, so that nobody takes the line for dead.

    Raises Unavailable, which breaks the connection off, when the server stops or the database is away before that: the
    SDK asks again, at the address that the answer's Location names.
    """
    last: RunRow | None = row
    try:
        async for seen in engine.runs.follow(principal, row.id, row.thread_id):
            last = seen or last
            if seen is None or not seen.over:
                yield b"\n"
        assert last is not None
        if last.over:
            yield msgspec.json.encode(final_values(last))
        elif engine.stopping.is_set():
            raise Unavailable("The server is shutting down.", code="shutting_down")
        else:
            # Rolled back: what is left is what the thread had before.
            yield msgspec.json.encode(await _thread_values(engine, principal, row))
            last = None
    finally:
        if cancel_when_left and last is not None and not last.over and not engine.stopping.is_set():
            engine.runs.call_off(principal, row.id, row.thread_id)


async def _thread_values(engine: Engine, principal: Principal, row: RunRow) -> dict[str, Any]:
    return {} if row.thread_id is None else (await threads.get(engine.db, principal, row.thread_id)).state


def _message(kind: str, number: int, data: Any) -> ServerSentEventMessage:
    return ServerSentEventMessage(data=msgspec.json.encode(data).decode(), event=kind, id=str(number))
