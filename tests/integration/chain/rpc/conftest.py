"""Two nodes, clients of them, and what can be wrong with a node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from app.chain.rpc import Endpoint, RpcClient, caller, endpoints
from tests.support.receiver import Answer
from tests.support.rpc_server import RpcServer, error, ok

Clients = Callable[..., RpcClient]


@pytest.fixture(autouse=True)
def _short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "REST_BASE_S", 0.005)
    monkeypatch.setattr(caller, "PAUSE_BASE_S", 0.005)


@pytest.fixture
async def node() -> AsyncIterator[RpcServer]:
    async with RpcServer({"getSlot": lambda _=None: 7, "echo": lambda value=None: value}) as started:
        yield started


@pytest.fixture
async def other() -> AsyncIterator[RpcServer]:
    async with RpcServer({"getSlot": lambda _=None: 8, "echo": lambda value=None: value}) as started:
        yield started


@pytest.fixture
async def client_of() -> AsyncIterator[Clients]:
    """Clients of servers or endpoints, in order of preference; closed after the test."""
    async with AsyncExitStack() as stack:

        def make(*nodes: RpcServer | Endpoint, **options: Any) -> RpcClient:
            given = [each if isinstance(each, Endpoint) else Endpoint(each.url) for each in nodes]
            made = RpcClient(given, **options)
            stack.push_async_callback(made.close)
            return made

        yield make


TROUBLES: dict[str, Answer | Callable[[Any], Answer]] = {
    "HTTP 429": Answer(429),
    "HTTP 429 with a wait": Answer(429, {"retry-after": "0"}),
    "HTTP 429 with HTML": Answer(429, body=b"<html>Too Many Requests</html>"),
    "429 inside HTTP 200": lambda body: error(body, 429, "Too many requests"),
    "429 as text": lambda body: error(body, "429"),
    "-32005 without data": lambda body: error(body, -32005, "Node is unhealthy"),
    "-32005 with data": lambda body: error(body, -32005, data={"numSlotsBehind": 42}),
    "-32005 with null": lambda body: error(body, -32005, data=None),
    "-32016": lambda body: error(body, -32016, data={"contextSlot": 1}),
    "-32603": lambda body: error(body, -32603, "Internal error"),
    "HTTP 500": Answer(500),
    "HTTP 502 with HTML": Answer(502, {"content-type": "text/html"}, b"<html>Bad Gateway</html>"),
    "HTTP 503": Answer(503, {"retry-after": "0"}, b"no upstream"),
    "a redirect": Answer(307, {"location": "http://127.0.0.1:1/"}),
    "HTML": Answer(200, {"content-type": "text/html"}, b"<html>"),
    "nothing": Answer(200),
    "half of JSON": Answer(200, body=b'{"jsonrpc":"2.0","id":'),
    "not UTF-8": Answer(200, body=b'{"jsonrpc":"2.0","result":"\xff"}'),
    "another's answer": lambda body: ok({"jsonrpc": "2.0", "id": body["id"] + 1, "result": 3}),
    "text for a number": lambda body: ok({"jsonrpc": "2.0", "id": body["id"], "result": "7"}),
    "a list": Answer(200, body=b"[]"),
    "an error that is text": lambda body: ok({"jsonrpc": "2.0", "id": body["id"], "error": "overloaded"}),
    "a gzip that is none": Answer(200, {"content-encoding": "gzip"}, b"{}"),
    "a dropped connection": Answer(raw=b""),
    "a connection dropped half-way": Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"),
    "no HTTP": Answer(raw=b"220 smtp.example ESMTP\r\n"),
}
