"""The feed as a plugin shows it to its agents, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import msgspec

from agent_plugins.host import Host, SeenEvent
from agent_plugins.protocol import AgentEvent
from app.core.errors import HaeError
from app.http.streams.fanout import Fanout
from app.http.streams.follower import Follower, Lagged
from app.http.streams.records import Record, Told
from app.http.streams.sse import HEARTBEAT, HEARTBEAT_S, last_message, slow_reader

_events = msgspec.json.Decoder(list[Told])


def as_array(records: Iterable[Record]) -> bytes:
    """Records as one JSON array."""
    return b"[" + b",".join([record.json for record in records]) + b"]"


async def shown_by(host: Host, fanout: Fanout, follower: Follower) -> AsyncIterator[bytes]:
    """What the plugin shows of the events that the follower reads ``as_array``; an event that it fails on is told of as
    ``plugin_failed`` in its place.

    Ends as the feed's own stream does, and when the plugin hangs: the client comes back to before what it hung on.
    """
    with fanout.kept():
        while True:
            before = follower.position
            try:
                chunk = await follower.take(HEARTBEAT_S)
                seen = await host.show([_event(one) for one in _events.decode(chunk)]) if chunk else []
            except Lagged as error:
                yield last_message(slow_reader(error.position), error.position)
                return
            except HaeError as error:
                yield last_message(error, before)
                return
            if fanout.closed:
                return
            # An id without data moves the client's Last-Event-ID on, past what is not for it.
            passed = b"id: %d\r\n\r\n" % follower.position
            yield b"".join([_message(one) for one in seen]) + (passed if chunk else HEARTBEAT + passed)


def _event(told: Told) -> AgentEvent:
    return AgentEvent(told.position, told.id, told.kind, told.at, told.job_id, told.node_id, told.data)


def _message(seen: SeenEvent) -> bytes:
    event, kind, body = seen.event, seen.event.kind, seen.body
    if seen.failed:
        kind, body = "plugin_failed", msgspec.json.encode({"code": "plugin_failed", "kind": kind, "id": event.id})
    return b"" if body is None else b"id: %d\r\nevent: %s\r\ndata: %s\r\n\r\n" % (event.position, kind.encode(), body)
