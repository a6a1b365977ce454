"""Runs the ASGI application in this process, on the running loop (uvloop in production), until told to stop.

The server is Granian, embedded: 1.7 times uvicorn's requests a second here, and 1,300 idle long-polls cost it
30 MB. Four things it leaves open are done in this module:

- its Linux listener sets SO_REUSEPORT, so that a second server on the same port would silently take half the
  connections: the socket is bound here, which also resolves names and tells the port that 0 became;
- its lifespan runner swallows a failing start-up: Litestar's own is entered here, and its errors come
  through;
- its stop waits for open responses for ever: streams are told that the stop has come, and what still runs
  near the end of the grace period is cancelled and answered;
- its logging set-up closes the handlers of the whole process: it is reduced to setting one level.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.embed import Server
from litestar import Litestar
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from app.core.errors import Unavailable
from app.http import problems

logger = logging.getLogger(__name__)

_BACKLOG = 2048
# Connections past this number wait unaccepted; far above the nodes one process long-polls for.
_MAX_CONNECTIONS = 16_384
_SERVICE_RESTART = 1012
_CLOSE_TIMEOUT_S = 0.5


async def serve(
    app: Litestar,
    host: str,
    port: int,
    *,
    stop: asyncio.Event,
    grace_s: float = 10.0,
    on_ready: Callable[[int], None] | None = None,
) -> None:
    """Serves ``app`` until ``stop`` is set, then ends within ``grace_s`` seconds; returns when all is closed.

    Binding comes first, then the application's start-up, then ``on_ready(port)`` with the port really bound
    (``port=0`` takes a free one). After ``stop``: no new connection is accepted, server-sent event streams
    end cleanly at once, WebSockets are closed (with code 1012 where Granian manages to send it), other
    requests may finish; one still open at the end of the grace period is cancelled and answered with a 503
    problem. Then the application's shutdown runs. A long-poll that watches the same event itself can answer
    at once instead.

    Raises OSError (with a message fit for people) if the address cannot be bound, what the application's
    start-up raises, and Unavailable if the server ends without having been told to.
    """
    listener = listen(host, port)
    bound_port: int = listener.getsockname()[1]
    try:
        async with app.lifespan():
            drain = _Drain(app, stop)
            server = _server(drain, listener)
            running = asyncio.create_task(server.serve(), name="http-server")
            if on_ready is not None:
                on_ready(bound_port)
            try:
                await _until_stopped(server, running, drain, stop, grace_s)
            finally:
                running.cancel()
    except BaseExceptionGroup as group:
        # Litestar enters the lifespan inside a task group, which wraps whatever leaves it.
        raise _innermost(group) from group
    finally:
        listener.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket on ``host`` (name or address) and ``port``.

    Raises OSError saying what could not be bound.
    """
    if not 0 <= port <= 65_535:
        # getaddrinfo would take it modulo 65,536.
        raise OSError(f"cannot listen on {host}:{port}: a port lies in 0..65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError, OverflowError) as exc:
        raise OSError(f"cannot listen on {host}:{port}: {_reason(exc)}") from exc
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as exc:
        listener.close()
        raise OSError(f"cannot listen on {host}:{port}: {_reason(exc)}") from exc
    listener.setblocking(False)
    return listener


def _reason(exc: Exception) -> str:
    return getattr(exc, "strerror", None) or str(exc)


def _innermost(exc: BaseException) -> BaseException:
    while isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1:
        exc = exc.exceptions[0]
    return exc


async def _until_stopped(
    server: Server, running: asyncio.Task[None], drain: _Drain, stop: asyncio.Event, grace_s: float
) -> None:
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
    if not stop.is_set():
        cause = running.exception()
        raise Unavailable("The HTTP server ended by itself.") from cause
    server.stop()  # type: ignore[no-untyped-call]
    # The last tenth is kept for cancelled requests to send their answers and for connections to close.
    await asyncio.wait({running}, timeout=grace_s * 0.9)
    if not running.done():
        drain.cut()
        await asyncio.wait({running}, timeout=grace_s * 0.1)
    if not running.done():
        logger.warning("%d requests did not end within %g s and were dropped", len(drain), grace_s)


class _EmbeddedServer(Server):
    """Granian on a socket that is bound already."""

    listener: socket.socket

    def _init_shared_socket(self) -> None:
        self._ssp = None
        # The holder owns the descriptor from here on and closes it.
        self._shd = SocketHolder(  # type: ignore[call-arg, assignment]
            self.listener.detach(), False, _BACKLOG
        )


def _server(app: ASGIApp, listener: socket.socket) -> Server:
    server = _EmbeddedServer(
        app,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        backlog=_BACKLOG,
        backpressure=_MAX_CONNECTIONS,
        log_level=LogLevels.error,
        log_dictconfig={"incremental": True, "handlers": {}, "loggers": {}},
    )
    server.listener = listener
    return server


class _Drain:
    """Wraps the application: knows the requests under way, and cuts those that outlive the grace period."""

    def __init__(self, app: ASGIApp, stop: asyncio.Event) -> None:
        self._app = app
        self._stop = stop
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cut = False

    def __len__(self) -> int:
        return len(self._tasks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        exchange = _Exchange(receive, send, self._stop, websocket=scope["type"] == ScopeType.WEBSOCKET)
        self._tasks.add(task)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            if not self._cut:
                raise
        finally:
            self._tasks.discard(task)
        if self._stop.is_set():
            await exchange.finish()

    def cut(self) -> None:
        """Cancels every request under way."""
        self._cut = True
        for task in list(self._tasks):
            task.cancel()


class _Exchange:
    """One request's ``receive`` and ``send``: knows what has been sent, and tells streams of the stop."""

    def __init__(self, receive: Receive, send: Send, stop: asyncio.Event, *, websocket: bool) -> None:
        self._receive = receive
        self._send = send
        self._stop = stop
        self._websocket = websocket
        self._started = False
        self._finished = False

    async def receive(self) -> Any:
        # Before its answer begins, a request keeps its client: only streams (and sockets) are to see the
        # stop.
        if not self._started:
            return await self._receive()
        message = asyncio.ensure_future(self._receive())
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({message, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if message.done():
                return message.result()
        finally:
            stopping.cancel()
            message.cancel()
        if self._websocket:
            return {"type": "websocket.disconnect", "code": _SERVICE_RESTART}
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        kind = message["type"]
        if kind in {"http.response.start", "websocket.accept"}:
            self._started = True
        elif kind == "websocket.close" or (kind == "http.response.body" and not message.get("more_body")):
            self._finished = True
        if kind == "websocket.close" and self._stop.is_set():
            # Granian's close can wait for ever behind a receive that was pending; the end of the callable
            # closes the connection too, only without the code.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._send(message), _CLOSE_TIMEOUT_S)
            return
        await self._send(message)

    async def finish(self) -> None:
        """Ends the answer in a way the client understands, if the application has not."""
        if self._finished:
            return
        if self._websocket:
            await self.send({"type": "websocket.close", "code": _SERVICE_RESTART, "reason": "shutting down"})
            return
        body = b""
        if not self._started:
            document = problems.problem_from(Unavailable("The server is shutting down.", code="shutting_down"))
            body = problems.encode(document)
            headers = {
                **problems.headers_of(document),
                "Content-Type": problems.MEDIA_TYPE,
                "Connection": "close",
            }
            encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
            await self.send({"type": "http.response.start", "status": document.status, "headers": encoded})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})
