"""One POST to one endpoint: bounded in time and size, nothing from the environment, no log line.

It is httpx's transport without httpx's client, which writes the URL, and with it the API key, at level INFO. Measured
on one core: 24k transactions of 8 kB a second in batches of 100, 0.45 ms a small call (the client: 19k, 0.7 ms).
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from urllib.parse import unquote

import httpx

from app.chain.rpc.answers import Reply
from app.chain.rpc.trouble import Kind, Trouble

MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_AT_ONCE = 16
"""A request through httpcore's pool costs time that grows with the square of its connections: 5 ms at 200."""
_CONNECT_S = 5.0
_IDLE_S = 15.0


class Target:
    """An endpoint's address, taken apart once."""

    def __init__(self, url: str) -> None:
        parsed = httpx.URL(url)
        self.url = parsed.copy_with(username=None, password=None, fragment=None) if parsed.userinfo else parsed
        self.headers = [
            (b"Host", self.url.netloc),
            (b"Content-Type", b"application/json"),
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"gzip"),
            (b"User-Agent", b"hypernode-automation-engine"),
        ]
        if parsed.userinfo:
            # RFC 7617; the URL's own escapes are not part of the credentials.
            self.headers.append((b"Authorization", b"Basic " + b64encode(unquote(parsed.userinfo.decode()).encode())))


class Transport:
    """Kept connections to one endpoint; close them when done. ``timeout_s`` bounds a whole exchange.

    Give it no more than MAX_AT_ONCE requests at once.
    """

    def __init__(self, target: Target, tls: ssl.SSLContext | None, timeout_s: float) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._waits = {"connect": min(_CONNECT_S, timeout_s), "read": None, "write": None, "pool": None}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_IDLE_S)
        self._http = httpx.AsyncHTTPTransport(verify=tls or False, trust_env=False, limits=limits)

    async def post(self, content: bytes) -> Reply | Trouble:
        """Send, and read the answer to its end. Never raises for what a server does."""
        request = httpx.Request(
            "POST",
            self._target.url,
            headers=[*self._target.headers, (b"Content-Length", b"%d" % len(content))],
            content=content,
            extensions={"timeout": self._waits},
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._exchange(request)
        except (TimeoutError, httpx.TimeoutException):
            return Trouble(Kind.TIMED_OUT, "timed out")
        except httpx.ConnectError:
            return Trouble(Kind.BROKEN, "could not be reached")
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            return Trouble(Kind.DROPPED, "broke off or did not speak HTTP")
        except httpx.HTTPError as error:
            return Trouble(Kind.BROKEN, type(error).__name__)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def _exchange(self, request: httpx.Request) -> Reply | Trouble:
        response = await self._http.handle_async_request(request)
        try:
            chunks, size = [], 0
            async for chunk in response.aiter_bytes():
                chunks.append(chunk)
                size += len(chunk)
                if size > MAX_BODY_BYTES:
                    return Trouble(Kind.REFUSED, "the answer is too large")
            return Reply(response.status_code, response.headers.get("retry-after", ""), b"".join(chunks))
        finally:
            await response.aclose()
