"""Where MCP is served: ``/mcp`` and ``/sse``, and the same with the key in the path for clients that send no headers.

A key in a URL is a key that lands in the logs of proxies and shells: ours never write it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote

from litestar.exceptions import HTTPException
from litestar.types import Receive, Scope, Send

from app.http.engine import Engine
from app.http.mcp import sse, streamable
from app.http.mcp.caller import Caller, admit
from app.http.mcp.messages import refuse

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]
Serve = Callable[[Caller, str, Mapping[str, str], Any, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Place:
    """A path and what serves it; ``method``: the one that it takes."""

    path: str
    method: str
    serve: Serve


def handlers(engine: Engine) -> dict[str, Handler]:
    """The handlers by path, those ending in ``/k`` for all that is below. They admit callers themselves: the key may
    be in the path."""
    sessions: sse.Sessions = {}

    async def posts(
        caller: Caller, key: str, headers: Mapping[str, str], scope: Any, receive: Receive, send: Send
    ) -> None:
        await streamable.post(caller, headers, receive, send)

    async def streams(
        caller: Caller, key: str, headers: Mapping[str, str], scope: Any, receive: Receive, send: Send
    ) -> None:
        endpoint = f"/sse/k/{quote(key, safe='')}/messages" if key else "/sse/messages"
        await sse.stream(caller, sessions, endpoint, receive, send)

    async def messages(
        caller: Caller, key: str, headers: Mapping[str, str], scope: Any, receive: Receive, send: Send
    ) -> None:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("session_id", [""])
        await sse.message(caller, sessions, given[0], receive, send)

    mcp, stream, message = (
        Place("/mcp", "POST", posts),
        Place("/sse", "GET", streams),
        Place("/sse/messages", "POST", messages),
    )
    return {
        **{place.path: _plain(engine, place) for place in (mcp, stream, message)},
        "/mcp/k": _keyed(engine, "/mcp/k", {"": mcp}),
        "/sse/k": _keyed(engine, "/sse/k", {"": stream, "messages": message}),
    }


def _plain(engine: Engine, place: Place) -> Handler:
    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        await _answer(engine, place, "", scope, receive, send)

    return handle


def _keyed(engine: Engine, path: str, places: Mapping[str, Place]) -> Handler:
    """What is below ``path``: a key, and behind it one of ``places``."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        key, _, rest = scope["path"].strip("/").partition("/")
        place = places.get(rest)
        if place is None or not key:
            await refuse(send, HTTPException(status_code=404), path)
            return
        await _answer(engine, place, key, scope, receive, send)

    return handle


async def _answer(engine: Engine, place: Place, key: str, scope: Any, receive: Receive, send: Send) -> None:
    noted = _Noted(send)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    try:
        caller = await admit(engine, scope, headers, key)
        if scope["method"] != place.method:
            raise HTTPException(status_code=405, headers={"Allow": place.method})
        await place.serve(caller, key, headers, scope, receive, noted)
    except Exception as error:
        if noted.begun:
            raise
        await refuse(send, error, place.path)


class _Noted:
    """``send`` that knows whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def __call__(self, message: Any) -> None:
        self.begun = True
        await self._send(message)
