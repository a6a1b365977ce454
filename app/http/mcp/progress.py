"""Progress of a job while a call waits for it, to clients that sent a progress token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from operator import lt
from typing import Any

from mcp.server.context import ServerRequestContext

from app.core.errors import HaeError
from app.http.mcp.caller import caller_of
from app.services import jobs
from app.store.events import StoredEvent
from tools.registry import Tool

_LOOK_S = 45.0


@asynccontextmanager
async def reporting(
    ctx: ServerRequestContext[Any, Any], tool: Tool, arguments: Mapping[str, Any]
) -> AsyncIterator[None]:
    """While the block runs, tell of each event of the job that the call waits for; those before are not told again.

    The last ones, up to what the call answers, are told before the block is left.
    """
    token = (ctx.meta or {}).get("progress_token")
    job_id = arguments.get("job_id")
    if token is None or not (tool.waits and tool.read_only) or not isinstance(job_id, str):
        yield
        return
    told = _Told(ctx, token, job_id)
    await told.begin()
    task = asyncio.create_task(told.follow())
    try:
        yield
        # Not in the middle of telling: what was on its way would be lost.
        await told.telling.acquire()
        told.telling.release()
    finally:
        task.cancel()
        await asyncio.wait({task})
    await told.report()


class _Told:
    """How far the client has been told of a job. ``progress`` of a message is the number of the job's event.

    ``telling``: held while events are read and told of.
    """

    def __init__(self, ctx: ServerRequestContext[Any, Any], token: str | int, job_id: str) -> None:
        self._ctx = ctx
        self._token = token
        self._job_id = job_id
        self._caller = caller_of(ctx)
        self._after = 0
        self.telling = asyncio.Lock()

    async def begin(self) -> None:
        """Leave out what has happened; a job that there is not is the call's to tell of."""
        with suppress(HaeError):
            events = await self._events()
            self._after = events[-1].seq if events else 0

    async def follow(self) -> None:
        """Tell of events as they come, until cancelled, or the database is away."""
        desk = self._caller.engine.event_desk
        while True:
            await desk.wait(self._job_id, partial(lt, self._after), _LOOK_S)
            if self._caller.engine.stopping.is_set() or not await self.report():
                return

    async def report(self) -> bool:
        """Tell of the events since the last time; False if they cannot be read."""
        async with self.telling:
            try:
                events = await self._events()
            except HaeError:
                return False
            for event in events:
                self._after = event.seq
                await self._ctx.session.send_progress_notification(
                    self._token, event.seq, message=_words(event), related_request_id=_text(self._ctx.request_id)
                )
        return True

    async def _events(self) -> list[StoredEvent]:
        return await jobs.events_after(self._caller.engine.db, self._caller.principal, self._job_id, self._after)


def _words(event: StoredEvent) -> str:
    known = [
        f"{name} {event.data[name]}" for name in ("state", "percent", "message", "node_id") if event.data.get(name)
    ]
    return ", ".join([event.kind, *known])


def _text(request_id: Any) -> str | None:
    return None if request_id is None else str(request_id)
