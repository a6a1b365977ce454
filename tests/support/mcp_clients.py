"""Clients of the MCP SDK, one for each way to reach the engine over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx2
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

MODERN, HANDSHAKE = "2026-07-28", "2025-11-25"
TRANSPORTS = ("modern", "handshake", "handshake, key in URL", "modern, key in URL", "sse", "sse, key in URL")


@asynccontextmanager
async def connected(url: str, secret: str, how: str) -> AsyncIterator[Client]:
    """A client that has shaken hands, or found out that it need not. ``how``: one of TRANSPORTS."""
    in_url = how.endswith("key in URL")
    path = f"/k/{secret}" if in_url else ""
    headers = {} if in_url else {"authorization": f"Bearer {secret}"}
    async with AsyncExitStack() as stack:
        if how.startswith("sse"):
            client = Client(sse_client(f"{url}/sse{path}", headers=headers), mode="legacy")
        else:
            http = await stack.enter_async_context(
                httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(60), trust_env=False)
            )
            transport = streamable_http_client(f"{url}/mcp{path}", http_client=http)
            client = Client(transport, mode="auto" if how.startswith("modern") else "legacy")
        yield await stack.enter_async_context(client)


@dataclass
class Progress:
    """Takes progress notifications."""

    seen: list[tuple[float, str]] = field(default_factory=list)

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        assert total is None and message
        self.seen.append((progress, message))
