"""The feed over WebSocket: subscriptions to jobs, plans, kinds of events or the whole account, on one connection."""

import asyncio
import contextlib
from functools import partial
from typing import Any

from litestar import Router, WebSocket, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect

from app.core.access import Principal, Scope
from app.core.errors import Forbidden, HaeError, InvalidInput, QuotaExceeded, Unauthorised
from app.http.engine import Engine
from app.http.security import PUBLIC, secret_of
from app.http.streams import messages, session
from app.http.streams.messages import Auth
from app.http.streams.session import Session
from app.services import feed

AUTH_S = 10.0
"""A client that sends no key with its headers has so long to send one."""
CLOSE_S = 2.0

Socket = WebSocket[Any, Any, Any]


# The key may come in the first message: browsers cannot set headers. It is asked for below.
@websocket("/v1/stream", opt=PUBLIC)
async def stream(socket: Socket, engine: NamedDependency[Engine]) -> None:
    """Commands in, events out, as app/http/streams/messages.py has them."""
    await socket.accept()
    with contextlib.suppress(ConnectionError):
        try:
            principal = await _caller(socket, engine)
            if principal is None:
                return
            seat = engine.seats.take(principal)
        except HaeError as error:
            await _end(socket, messages.closing(error, {}), _code_of(error), error.code)
            return
        try:
            await _follow(socket, engine, principal)
        finally:
            seat.leave()


async def _follow(socket: Socket, engine: Engine, principal: Principal) -> None:
    try:
        latest = await feed.latest(engine.db)
    except HaeError as error:
        await _end(socket, messages.closing(error, {}), session.TRY_LATER, error.code)
        return
    await _send(socket, messages.ready(latest, session.HEARTBEAT_S))
    ended = await Session(engine, principal, partial(_send, socket)).run(partial(_said, socket))
    if ended is None:
        return
    if engine.stopping.is_set():
        # To Litestar a stop is the client's leaving, after which nothing can be sent.
        socket.connection_state = "receive"
    await _end(socket, ended.last, ended.code, ended.reason.code)


async def _caller(socket: Socket, engine: Engine) -> Principal | None:
    """Who connects, None when it has left. Raises as an HTTP route does, and InvalidInput when the first message gives
    no key."""
    try:
        secret = secret_of(socket.headers)
    except Unauthorised:
        try:
            text = await asyncio.wait_for(_said(socket), AUTH_S)
        except TimeoutError:
            raise Unauthorised(
                f"no API key came within {AUTH_S:g} seconds",
                next_action=f"Send it as a header, or in the first message: {messages.EXAMPLES['auth']}",
            ) from None
        if text is None:
            return None
        said, _ = messages.parse(text)
        if not isinstance(said, Auth):
            raise InvalidInput(
                "the first message must give the API key",
                field="op",
                next_action=f"For example: {messages.EXAMPLES['auth']}",
            ) from None
        secret = said.key
    principal = await engine.auth.principal(secret)
    principal.require(Scope.AGENT, Scope.OPERATOR)
    return principal


async def _said(socket: Socket) -> bytes | None:
    """The next message, None when the client has left."""
    message: Any = await socket.receive()
    if message["type"] == "websocket.disconnect":
        return None
    text = message.get("text")
    return text.encode() if text is not None else bytes(message.get("bytes") or b"")


async def _send(socket: Socket, message: bytes) -> None:
    """Raises ConnectionError when the client has left."""
    try:
        await socket.send({"type": "websocket.send", "text": message.decode(), "bytes": None})
    except WebSocketDisconnect:
        raise ConnectionResetError from None
    except asyncio.CancelledError:
        # Granian's way to say it.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise ConnectionResetError from None


async def _end(socket: Socket, last: bytes, code: int, reason: str) -> None:
    """Send the last message, if there is one, and close: as far as the client takes them in time."""
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(CLOSE_S):
            if last:
                await _send(socket, last)
            await socket.close(code, reason)


def _code_of(error: HaeError) -> int:
    if isinstance(error, Unauthorised | InvalidInput):
        return session.UNAUTHORISED
    if isinstance(error, Forbidden):
        return session.FORBIDDEN
    return session.TOO_MANY if isinstance(error, QuotaExceeded) else session.TRY_LATER


stream_router = Router("/", route_handlers=[stream])
