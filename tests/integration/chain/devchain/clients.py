"""Raw clients of a served chain: JSON-RPC over HTTP and WebSocket without a library's opinion in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from app.chain.devchain import ChainConfig, Served, serve

DEADLINE_S = 10.0


@asynccontextmanager
async def manual(**settings: Any) -> AsyncIterator[Served]:
    """A served chain that advances by hand; final after four slots."""
    async with serve(ChainConfig(**{"slot_ms": 0, "finalize_depth": 4, **settings})) as served:
        yield served


def call(method: str, *params: Any, number: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}


async def ask(client: httpx.AsyncClient, method: str, *params: Any) -> Any:
    """The result of a call."""
    answer = (await client.post("/", json=call(method, *params))).json()
    assert "result" in answer, answer
    return answer["result"]


class Socket:
    """One WebSocket, read frame by frame."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.early: list[Any] = []

    async def ask(self, method: str, *params: Any) -> Any:
        """The answer to a call; notifications that come before it are kept."""
        await self.connection.send(json.dumps(call(method, *params)))
        while True:
            message = await self._receive()
            if "id" in message:
                return message.get("result", message.get("error"))
            self.early.append(message)

    async def next(self) -> Any:
        """The next notification's parameters."""
        message = self.early.pop(0) if self.early else await self._receive()
        return message["params"]

    async def _receive(self) -> Any:
        async with asyncio.timeout(DEADLINE_S):
            return json.loads(await self.connection.recv())


@asynccontextmanager
async def socket(served: Served) -> AsyncIterator[Socket]:
    async with connect(served.ws_url, ping_interval=None, close_timeout=1) as connection:
        yield Socket(connection)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something has become true."""
    async with asyncio.timeout(DEADLINE_S):
        # What is waited for happens in this loop, on a socket.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
