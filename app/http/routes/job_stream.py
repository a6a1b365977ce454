"""A job's events as server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from operator import lt

import msgspec

from app.core.access import Principal
from app.core.errors import HaeError
from app.core.states import JOB_FINAL
from app.http.engine import Engine
from app.http.routes.told import told
from app.http.streams import sse
from app.services import jobs
from app.store.events import StoredEvent
from tools.answers import stamp

_FINAL = {state.value for state in JOB_FINAL}


async def stream(
    engine: Engine, principal: Principal, job_id: str, after: int, *, over: bool = False
) -> AsyncIterator[bytes]:
    """Events with ``seq`` above ``after``, each once and in order, up to the one that ends the job.

    Of a job that is ``over`` when the stream begins, those that there are: nobody waits for its payment here.
    Ends early, and cleanly, when the server stops or the database is away: the client comes back with Last-Event-ID.
    """
    while not engine.stopping.is_set():
        try:
            found = await jobs.events_after(engine.db, principal, job_id, after)
        except HaeError:
            return
        for event in found:
            after = event.seq
            yield _message(event)
            if event.data.get("state") in _FINAL and not over:
                return
        if not found:
            if over:
                return
            newer = await engine.event_desk.wait(job_id, partial(lt, after), sse.HEARTBEAT_S)
            if newer is None and not engine.stopping.is_set():
                yield sse.HEARTBEAT


def _message(event: StoredEvent) -> bytes:
    body = {"event": event.kind, "id": event.id, "at": stamp(event.at), **told(event.data)}
    return b"id: %d\r\nevent: %s\r\ndata: %s\r\n\r\n" % (event.seq, event.kind.encode(), msgspec.json.encode(body))
