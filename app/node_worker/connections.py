"""HTTP connections of the workers of one process.

Each node has a way of its own to the server, and only the TLS context is shared: one pool for all nodes cost 17 ms of
CPU a request (httpx 0.28, 1,200 open long-polls). Servers are spoken to by the small client in http1; where the
environment asks for a proxy, by httpx, which knows them.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from app.node_worker.http1 import CONNECT_S, Answer, Http1, TransportError

__all__ = ["Answer", "Channel", "Connections", "TransportError"]

_REGISTERING_AT_ONCE = 16

logger = logging.getLogger(__name__)


class _Way(Protocol):
    async def exchange(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes, timeout_s: float
    ) -> Answer: ...

    async def aclose(self) -> None: ...


class Channel:
    """One node's way to one server: a connection for its poll, and one or two more while jobs run."""

    def __init__(self, connections: Connections, base_url: str, way: _Way) -> None:
        self.connections = connections
        self.base_url = base_url.rstrip("/")
        self._way = way

    async def exchange(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes, *, timeout_s: float
    ) -> Answer:
        """Send one request, read its answer within ``timeout_s`` seconds. Raises TransportError."""
        return await self._way.exchange(method, path, headers, content, timeout_s)


class Connections:
    """Channels for any number of nodes; an async context manager that closes them."""

    def __init__(self) -> None:
        self._ways: list[_Way] = []
        self._away: set[str] = set()
        self._context: ssl.SSLContext | None = None
        self.registering = asyncio.Semaphore(_REGISTERING_AT_ONCE)
        """Held while registering, so that a fleet's start does not hit the server all at once."""

    async def __aenter__(self) -> Connections:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for way in self._ways:
            await way.aclose()

    def channel(self, base_url: str) -> Channel:
        """A channel to ``base_url`` for one more node."""
        way = self._open(base_url.rstrip("/"))
        self._ways.append(way)
        return Channel(self, base_url, way)

    def note(self, base_url: str, trouble: str | None) -> None:
        """Log, once for all nodes, that a server does not answer (``trouble``: how) or does again (None)."""
        if trouble is not None and base_url not in self._away:
            self._away.add(base_url)
            logger.warning("%s does not answer (%s); trying again", base_url, trouble)
        elif trouble is None and base_url in self._away:
            self._away.discard(base_url)
            logger.info("%s answers again", base_url)

    def _open(self, base_url: str) -> _Way:
        parts = urlsplit(base_url)
        host = parts.hostname or ""
        tls = self._tls() if parts.scheme == "https" else None
        proxy = None if _loopback(host) or proxy_bypass(host) else getproxies().get(parts.scheme)
        return Http1(base_url, tls) if proxy is None else _Proxied(base_url, tls, proxy)

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            # Loading the certificates takes 20 ms, which every channel would pay again.
            self._context = httpx.create_ssl_context()
        return self._context


class _Proxied:
    """The same through a proxy of the environment."""

    def __init__(self, base_url: str, tls: ssl.SSLContext | None, proxy: str) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=60.0)
        self._base_url = base_url
        self._transport = httpx.AsyncHTTPTransport(verify=tls or False, limits=limits, proxy=proxy)

    async def exchange(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes, timeout_s: float
    ) -> Answer:
        timeout = httpx.Timeout(timeout_s, connect=CONNECT_S).as_dict()
        request = httpx.Request(
            method, self._base_url + path, headers=headers, content=content, extensions={"timeout": timeout}
        )
        try:
            response = await self._transport.handle_async_request(request)
            try:
                return Answer(response.status_code, response.headers, await response.aread())
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise TransportError(f"{type(error).__name__} {error}".rstrip()) from error

    async def aclose(self) -> None:
        await self._transport.aclose()


def _loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
