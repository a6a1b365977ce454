"""WebSockets for subscriptions, and what faults do to them."""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from app.chain.devchain import wire
from app.chain.devchain.errors import METHOD_NOT_FOUND, RpcError
from app.chain.devchain.faults import WS_KINDS, Kind
from app.chain.devchain.node import Node
from app.chain.devchain.records import encode_json
from app.chain.devchain.subscriptions import Subscription, Subscriptions

MAX_QUEUED = 65_536
"""Notifications that may wait for a client; one that is slower still is cut off, as a node does."""


class SocketHub:
    """All WebSockets of one server."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.subscriptions = Subscriptions(node)
        self._clients: set[_Client] = set()

    def open(self) -> None:
        """Follow the chain and the faults."""
        self.node.chain.observers.append(self.subscriptions)
        self.node.faults.on_ws = self.strike

    def close(self) -> None:
        """Cut all clients off."""
        self.node.chain.observers.remove(self.subscriptions)
        self.node.faults.on_ws = None
        for client in list(self._clients):
            client.abort()

    def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """The refusal of a new WebSocket, None to take it."""
        if self.node.faults.strike(Kind.WS_REFUSE):
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "no more WebSockets\n")
        return None

    async def serve(self, connection: ServerConnection) -> None:
        """Serve one WebSocket until it ends."""
        client = _Client(self, connection)
        self._clients.add(client)
        writing = asyncio.create_task(client.write())
        try:
            async for message in connection:
                client.received(message if isinstance(message, bytes) else message.encode())
        except ConnectionClosed:
            pass
        finally:
            self._clients.discard(client)
            self.subscriptions.forget(client)
            writing.cancel()

    def strike(self, kind: Kind) -> None:
        """Do what a fault of ``kind`` does to all open WebSockets."""
        for client in list(self._clients):
            client.strike(kind)


class _Client:
    def __init__(self, hub: SocketHub, connection: ServerConnection) -> None:
        self._hub = hub
        self._connection = connection
        self._queue: deque[bytes] = deque()
        self._filled = asyncio.Event()
        self._dead = False
        self._closing: asyncio.Task[None] | None = None

    def received(self, data: bytes) -> None:
        """Answer a message."""
        try:
            message = wire.parse(data)
        except RpcError as error:
            self._send(wire.failure(None, error))
            return
        for call in message if isinstance(message, list) else [message]:
            self._call(call)

    def _call(self, message: Any) -> None:
        subscriptions = self._hub.subscriptions
        made: Subscription | None = None
        try:
            number, name, params = wire.call_of(message)
            self._hub.node.trouble(name)
            if name.endswith("Unsubscribe"):
                result: Any = subscriptions.unsubscribe(self, name, params)
            elif name.endswith("Subscribe"):
                made = subscriptions.subscribe(self, name, params)
                result = made.number
            else:
                raise RpcError(METHOD_NOT_FOUND, "Method not found")
        except RpcError as error:
            self._send(wire.failure(wire.id_of(message), error))
            return
        self._send(wire.success(number, encode_json(result)))
        if made is not None:
            subscriptions.after_subscribing(made)

    def notify(self, subscription: Subscription, result: Any) -> None:
        """Send a notification, unless a fault has it otherwise."""
        faults = self._hub.node.faults
        if faults:
            for kind in WS_KINDS:
                if faults.strike(kind):
                    self._hub.strike(kind)
            if faults.strike(Kind.SUPPRESS, method=subscription.kind):
                return
        params = {"result": result, "subscription": subscription.number}
        self._send(encode_json({"jsonrpc": "2.0", "method": subscription.notification, "params": params}))

    def strike(self, kind: Kind) -> None:
        """Close, cut off, or play dead."""
        if kind is Kind.WS_CLOSE:
            self._dead = True
            self._closing = asyncio.get_running_loop().create_task(self._connection.close())
        elif kind is Kind.WS_DROP:
            self.abort()
        else:
            self._dead = True
            self._queue.clear()
            # Pings would be answered below this layer: they must not even be read.
            self._connection.transport.pause_reading()

    def abort(self) -> None:
        """Cut it off."""
        self._dead = True
        self._queue.clear()
        self._connection.transport.abort()

    async def write(self) -> None:
        """Send what is queued, until cancelled."""
        try:
            while True:
                await self._filled.wait()
                self._filled.clear()
                while self._queue:
                    await self._connection.send(self._queue.popleft(), text=True)
        except ConnectionClosed:
            self._dead = True

    def _send(self, message: bytes) -> None:
        if self._dead:
            return
        if len(self._queue) >= MAX_QUEUED:
            self.abort()
            return
        self._queue.append(message)
        self._filled.set()
