"""HTTP connections of the workers of one process.

Two measured facts shape this module (httpx 0.28, 1,200 open long-polls): one pool for all nodes costs 17 ms
of CPU a request, because httpcore walks every connection of a pool on each request, so each node has a small
pool of its own and only the TLS context is shared; and httpx's transport without the client above it saves a
third of a request's CPU. Proxies, which the client would have looked up, are looked up here.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from types import TracebackType
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

CONNECT_S = 10.0
_REGISTERING_AT_ONCE = 16

logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """One HTTP answer, whatever its status."""

    status: int
    headers: httpx.Headers
    content: bytes


class Channel:
    """One node's way to one server: a connection for its poll, and one or two more while jobs run."""

    def __init__(self, connections: Connections, base_url: str, transport: httpx.AsyncHTTPTransport) -> None:
        self.connections = connections
        self.base_url = base_url.rstrip("/")
        self._transport = transport

    async def exchange(
        self, method: str, path: str, headers: dict[str, str], content: bytes, *, timeout_s: float
    ) -> Answer:
        """Send one request, read its answer. ``timeout_s``: longest silence. Raises httpx.TransportError."""
        timeout = httpx.Timeout(timeout_s, connect=CONNECT_S).as_dict()
        request = httpx.Request(
            method, self.base_url + path, headers=headers, content=content, extensions={"timeout": timeout}
        )
        response = await self._transport.handle_async_request(request)
        try:
            return Answer(response.status_code, response.headers, await response.aread())
        finally:
            await response.aclose()


class Connections:
    """Channels for any number of nodes; an async context manager that closes them."""

    def __init__(self) -> None:
        self._pools: list[httpx.AsyncHTTPTransport] = []
        self._away: set[str] = set()
        self._tls: dict[bool, ssl.SSLContext] = {}
        self.registering = asyncio.Semaphore(_REGISTERING_AT_ONCE)
        """Held while registering, so that a fleet's start does not hit the server all at once."""

    async def __aenter__(self) -> Connections:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in self._pools:
            await pool.aclose()

    def channel(self, base_url: str) -> Channel:
        """A channel to ``base_url`` for one more node."""
        self._pools.append(self._open(base_url))
        return Channel(self, base_url, self._pools[-1])

    def note(self, base_url: str, trouble: str | None) -> None:
        """Log, once for all nodes, that a server does not answer (``trouble``: how) or does again (None)."""
        if trouble is not None and base_url not in self._away:
            self._away.add(base_url)
            logger.warning("%s does not answer (%s); trying again", base_url, trouble)
        elif trouble is None and base_url in self._away:
            self._away.discard(base_url)
            logger.info("%s answers again", base_url)

    def _open(self, base_url: str) -> httpx.AsyncHTTPTransport:
        parts = urlsplit(base_url)
        secure = parts.scheme == "https"
        if secure not in self._tls:
            # Loading the certificates takes 20 ms, which every pool would pay again.
            self._tls[secure] = httpx.create_ssl_context(verify=secure)
        host = parts.hostname or ""
        direct = _loopback(host) or proxy_bypass(host)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=60.0)
        return httpx.AsyncHTTPTransport(
            verify=self._tls[secure], limits=limits, proxy=None if direct else getproxies().get(parts.scheme)
        )


def _loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
