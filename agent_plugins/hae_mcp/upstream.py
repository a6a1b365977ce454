"""The engine's side of the bridge: one POST a message, whose answer is a JSON object or a stream of events.

https://modelcontextprotocol.io/specification/2025-11-25/basic/transports
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx

from .config import BridgeConfig

CONNECT_S = 10.0
READ_S = 90.0
"""Above the longest wait of a tool (45 s), and the pings of a stream."""
AWAY_S = 20.0
"""A server that takes no connections, as while it restarts, is tried for that long."""
_PAUSES_S = (0.1, 0.2, 0.5, 1.0)
_VERSION = "io.modelcontextprotocol/protocolVersion"
_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_PLAIN = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


class UpstreamError(Exception):
    """The engine refused a message or did not answer; ``problem``: its problem document, or one of the same form."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(problem["detail"])
        self.problem = problem


class Upstream:
    """A connection to the engine. ``revision``: what the handshake has agreed on; sent along from then on."""

    def __init__(self, config: BridgeConfig, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._endpoint = config.endpoint
        self.revision = ""
        self._http = httpx.AsyncClient(
            headers={
                "authorization": f"Bearer {config.key}",
                "accept": "application/json, text/event-stream",
                "content-type": "application/json",
            },
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
            transport=transport,
        )

    async def close(self) -> None:
        """Close the connections; answers still awaited are lost."""
        await self._http.aclose()

    async def send(self, message: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Post a message; yields what comes back: notifications, then the answer. Raises UpstreamError."""
        content = json.dumps(message, separators=(",", ":")).encode()
        tries, until = 0, asyncio.get_running_loop().time() + AWAY_S
        while True:
            try:
                async with self._http.stream(
                    "POST", self._endpoint, content=content, headers=self._headers(message)
                ) as answer:
                    async for one in _messages(answer):
                        yield one
                return
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                # Nothing was sent: it may be tried again without being done twice.
                if asyncio.get_running_loop().time() >= until:
                    raise UpstreamError(self._unreachable(error)) from error
            except httpx.HTTPError as error:
                raise UpstreamError(self._cut_off(error)) from error
            await asyncio.sleep(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])
            tries += 1

    def _headers(self, message: dict[str, Any]) -> dict[str, str]:
        params = message.get("params") or {}
        meta = params.get("_meta") if isinstance(params, dict) else None
        modern = meta.get(_VERSION) if isinstance(meta, dict) else None
        if not isinstance(modern, str):
            return {"mcp-protocol-version": self.revision} if self.revision else {}
        method = message.get("method", "")
        headers = {"mcp-protocol-version": modern, "mcp-method": method}
        named = params.get(_NAMED.get(method, ""))
        if isinstance(named, str):
            headers["mcp-name"] = _header_value(named)
        return headers

    def _unreachable(self, error: Exception) -> dict[str, Any]:
        return {
            "code": "unreachable",
            "detail": f"the engine at {self._endpoint} does not answer ({type(error).__name__})",
            "retryable": True,
            "retry_after": 5.0,
            "next_action": "Check HYPERNODE_API_URL and that the engine runs, then call again.",
        }

    def _cut_off(self, error: Exception) -> dict[str, Any]:
        return {
            "code": "connection_lost",
            "detail": f"the connection to {self._endpoint} broke before the answer came ({type(error).__name__})",
            "retryable": True,
            "retry_after": 1.0,
            "next_action": "Call again; a submission only with the same idempotency_key, as it may have been taken.",
        }


async def _messages(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/event-stream" and answer.is_success:
        async for data in _events(answer):
            yield data
        return
    body = await answer.aread()
    try:
        told = json.loads(body) if body else None
    except ValueError:
        told = None
    if isinstance(told, dict) and told.get("jsonrpc") == "2.0":
        # Errors of the protocol come with a status of their own, and are answers all the same.
        yield told
    elif not answer.is_success or body:
        raise UpstreamError(told if isinstance(told, dict) and {"code", "detail"} <= told.keys() else _strange(answer))


def _strange(answer: httpx.Response) -> dict[str, Any]:
    return {
        "code": "unexpected_answer",
        "detail": f"{answer.url.copy_with(query=None)} answered {answer.status_code}, which is no answer of the engine",
        "retryable": answer.status_code in (429, 502, 503, 504),
        "retry_after": 5.0,
        "next_action": "Check that HYPERNODE_API_URL is the engine's address.",
    }


async def _events(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """The messages of an event stream (WHATWG HTML, section 9.2)."""
    data: list[str] = []
    async for line in answer.aiter_lines():
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield json.loads("\n".join(data))
            data.clear()


def _header_value(value: str) -> str:
    """As the revision of 2026-07-28 writes values that no header may hold."""
    if _PLAIN.fullmatch(value) and not value.startswith("=?base64?"):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="
