"""A node's JSON-RPC on loopback, over HTTP and websocket, that answers as told, well or badly."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.support.receiver import Answer, Received, Receiver

Method = Callable[..., Any]

# Tests look for what clients write into their logs, not for what this server does.
_quiet = logging.getLogger(f"{__name__}.websocket")
_quiet.setLevel(logging.CRITICAL)


class RpcFault(Exception):
    """Raised by a method: a JSON-RPC error."""

    def __init__(self, code: Any, message: str = "told so", **rest: Any) -> None:
        super().__init__(code)
        self.error = {"code": code, "message": message, **rest}


def ok(body: Any, status: int = 200, **headers: str) -> Answer:
    """``body`` as JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"content-type": "application/json", **named}, json.dumps(body).encode())


def error(body: Any, code: Any, message: str = "told so", status: int = 200, **rest: Any) -> Answer:
    """One JSON-RPC error object in answer to ``body``, a request or a batch."""
    number = body["id"] if isinstance(body, dict) else None
    return ok({"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message, **rest}}, status)


class RpcServer:
    """An async context manager. ``script``: what the next requests get, each once; later ones are answered by
    ``methods``. ``always``, if set, comes before both.
    """

    def __init__(self, methods: Mapping[str, Method] | None = None) -> None:
        self.methods: dict[str, Method] = dict(methods or {})
        self.script: deque[Answer | Callable[[Any], Answer]] = deque()
        self.always: Answer | Callable[[Any], Answer] | None = None
        self.bodies: list[Any] = []
        self.receiver = Receiver(self._answer)

    async def __aenter__(self) -> RpcServer:
        await self.receiver.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.receiver.__aexit__(kind, error, trace)

    @property
    def url(self) -> str:
        return self.receiver.url("/")

    @property
    def asked(self) -> list[str]:
        """Methods asked for, batches spread out."""
        return [each["method"] for body in self.bodies for each in (body if isinstance(body, list) else [body])]

    @property
    def sizes(self) -> list[int]:
        """Requests in each batch, 0 for what was none."""
        return [len(body) if isinstance(body, list) else 0 for body in self.bodies]

    def well(self, body: Any) -> Answer:
        """The proper answer to a request or a batch."""
        return ok([self.reply(each) for each in body] if isinstance(body, list) else self.reply(body))

    def reply(self, request: Any) -> dict[str, Any]:
        method = self.methods.get(request["method"])
        said: dict[str, Any]
        try:
            if method is None:
                raise RpcFault(-32601, "Method not found")
            said = {"result": method(*request["params"])}
        except RpcFault as fault:
            said = {"error": fault.error}
        return {"jsonrpc": "2.0", "id": request["id"], **said}

    def _answer(self, request: Received) -> Answer:
        body = request.json
        self.bodies.append(body)
        told = self.always or (self.script.popleft() if self.script else self.well)
        return told if isinstance(told, Answer) else told(body)


class LogsServer:
    """A websocket node; an async context manager. ``script``: how the next connections are served, each once; later
    ones are subscribed to what they ask for. ``process_request``: refuses handshakes, if set. ``port``: 0 for any.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.process_request: Callable[[ServerConnection, Request], Response | None] | None = None
        self.script: deque[Callable[[ServerConnection], Awaitable[None]]] = deque()
        self.open: list[ServerConnection] = []
        self.accepted = 0
        self.subscribed: dict[str, tuple[ServerConnection, int]] = {}
        self.asked: list[Any] = []
        self.refuse_slots = False
        self._server: Server | None = None
        self._next = 100

    async def __aenter__(self) -> LogsServer:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self.port,
            compression=None,
            ping_interval=None,
            close_timeout=1.0,
            logger=_quiet,
            process_request=lambda connection, request: (
                self.process_request(connection, request) if self.process_request else None
            ),
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        for connection in self.open:
            connection.transport.abort()
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    async def acknowledge(self, connection: ServerConnection) -> None:
        """Answer subscriptions until the connection ends."""
        async for text in connection:
            request = json.loads(text)
            self.asked.append(request)
            said: dict[str, Any] = {"result": (number := self._number())}
            if request["method"] == "slotSubscribe":
                if self.refuse_slots:
                    said = {"error": {"code": -32601, "message": "Method not found"}}
                self.subscribed["slots"] = connection, number
            else:
                self.subscribed[request["params"][0]["mentions"][0]] = connection, number
            await connection.send(json.dumps({"jsonrpc": "2.0", "id": request["id"], **said}))

    async def notify(self, program: str, signature: Any, slot: Any = 1, *, err: Any = None) -> None:
        """Tell of a transaction that mentions ``program``."""
        connection, number = self.subscribed[program]
        await connection.send(notification(number, signature, slot, err=err))

    async def _serve(self, connection: ServerConnection) -> None:
        self.accepted += 1
        self.open.append(connection)
        try:
            with suppress(ConnectionClosed):
                await (self.script.popleft() if self.script else self.acknowledge)(connection)
        finally:
            self.open.remove(connection)

    def _number(self) -> int:
        self._next += 1
        return self._next


def notification(number: int, signature: Any, slot: Any = 1, *, err: Any = None) -> str:
    value = {"signature": signature, "err": err, "logs": ["Program log: \\"] * 20}
    params = {"result": {"context": {"slot": slot}, "value": value}, "subscription": number}
    return json.dumps({"jsonrpc": "2.0", "method": "logsNotification", "params": params})
