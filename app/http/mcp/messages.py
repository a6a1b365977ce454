"""JSON-RPC messages as they come and go over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import mcp_types as types
import msgspec
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import Receive, Send
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.message import MessageMetadata
from mcp.shared.transport_context import TransportContext
from pydantic import ValidationError

from app.http import problems
from app.http.body import MAX_BODY, decode

log = logging.getLogger(__name__)

JSON = b"application/json"
PING = b": ping\r\n\r\n"
STREAM_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
PING_S = 15.0
"""A comment goes out after that much silence, so that proxies do not take the stream for dead."""


@dataclass(eq=False)
class Exchange:
    """One request's way through the SDK's server: what it may know of it, and the way back to the client.

    ``outbox``: takes notifications that belong to the request; None = the answer is no stream, and they are dropped.
    """

    request_id: types.RequestId
    message_metadata: MessageMetadata
    progress_token: types.ProgressToken | None = None
    outbox: Any = None
    transport: TransportContext = field(
        default_factory=lambda: TransportContext(kind="streamable-http", can_send_request=False)
    )
    cancel_requested: anyio.Event = field(default_factory=anyio.Event)
    can_send_request: bool = False

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Refused: without a session, no answer of the client finds its way back."""
        raise NoBackChannelError(method)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Put a notification on the request's stream."""
        if self.outbox is not None:
            self.outbox.put_nowait(event({"jsonrpc": "2.0", "method": method, "params": dict(params or {})}))

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Tell of progress, if the client has asked for it."""
        told = {"progress": progress, "total": total, "message": message}
        if self.progress_token is not None:
            sent = {name: value for name, value in told.items() if value is not None}
            await self.notify("notifications/progress", {"progressToken": self.progress_token, **sent})


async def read_body(receive: Receive) -> bytes:
    """The body. Raises HTTPException: 413 past the limit that every request has, 400 when the client is gone."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise HTTPException(status_code=400, detail="client disconnected prematurely")
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise HTTPException(status_code=413)
        if not message.get("more_body"):
            return bytes(body)


def parse(body: bytes) -> tuple[Any, ValidationException | None]:
    """The JSON of a body, and what is wrong with values in it (NUL characters, integers past 64 bits).

    Raises BadRequest on what is no JSON, or nests too deeply.
    """
    try:
        return decode(body), None
    except ValidationException as error:
        return msgspec.json.decode(body), error


def error_of(error: BaseException) -> dict[str, Any]:
    """The JSON-RPC error for what handling a request has raised; says nothing of what it does not know."""
    if isinstance(error, MCPError):
        return error.error.model_dump(by_alias=True, exclude_none=True)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return {"code": types.INVALID_PARAMS, "message": f"Invalid params: {where}: {first['msg']}"[:300]}
    document = problems.problem_from(error)
    if document.status == 500:
        log.error("an MCP request failed, reference %s", document.reference, exc_info=error)
    return {"code": types.INTERNAL_ERROR, "message": document.detail, "data": msgspec.to_builtins(document)}


def event(message: Mapping[str, Any]) -> bytes:
    """The message as a server-sent event."""
    return b"event: message\r\ndata: " + msgspec.json.encode(message) + b"\r\n\r\n"


async def answer(
    send: Send, status: int, content: bytes = b"", kind: bytes = JSON, headers: Mapping[str, str] | None = None
) -> None:
    """Send a whole response."""
    told = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    if content:
        told.append((b"content-type", kind))
    told.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": content, "more_body": False})


async def refuse(send: Send, error: Exception, instance: str) -> None:
    """Send the problem document of a request that came not as far as the protocol. ``instance`` never holds a key."""
    document = problems.problem_from(error, instance=instance)
    if document.status == 500:
        log.error("%s failed, reference %s", instance, document.reference, exc_info=error)
    await answer(
        send,
        document.status,
        problems.encode(document),
        problems.MEDIA_TYPE.encode(),
        problems.headers_of(document, error),
    )
