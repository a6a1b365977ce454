"""The transport of 2024-11-05, for clients that know no other: a stream of events down, a POST for each message up.

https://modelcontextprotocol.io/specification/2024-11-05/basic/transports. A session lives in this process and ends with
its stream; behind a balancer, messages must come to the process that has the stream.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from litestar.types import Receive, Send
from mcp.server.runner import serve_loop
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp_types import jsonrpc_message_adapter
from pydantic import ValidationError

from app.core.errors import NotFound
from app.http.mcp.caller import Caller
from app.http.mcp.messages import PING, PING_S, STREAM_HEADERS, answer, parse, read_body
from app.http.mcp.server import SERVER
from app.http.problems import BadRequest


@dataclass(frozen=True, slots=True)
class Session:
    """An open stream. ``key_id``: only messages under the same key reach it."""

    key_id: str
    inbox: MemoryObjectSendStream[SessionMessage | Exception]


Sessions = dict[str, Session]


async def stream(caller: Caller, sessions: Sessions, endpoint: str, receive: Receive, send: Send) -> None:
    """Serve one session until its client goes away or the server stops. ``endpoint``: where its messages go."""
    inbox, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, outbox = anyio.create_memory_object_stream[SessionMessage](0)
    session_id = secrets.token_urlsafe(24)
    sessions[session_id] = Session(caller.principal.key_id, inbox)
    try:
        await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
        first = f"event: endpoint\r\ndata: {endpoint}?session_id={session_id}\r\n\r\n".encode()
        await send({"type": "http.response.body", "body": first, "more_body": True})
        tasks = {
            asyncio.create_task(serve_loop(SERVER, read, write, lifespan_state={})),
            asyncio.create_task(_told(outbox, send)),
            asyncio.create_task(_until_gone(receive)),
            asyncio.create_task(caller.engine.stopping.wait()),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        del sessions[session_id]
        for one in (inbox, read, write, outbox):
            one.close()


async def _told(outbox: MemoryObjectReceiveStream[SessionMessage], send: Send) -> None:
    while True:
        chunk = PING
        with anyio.move_on_after(PING_S):
            message = (await outbox.receive()).message
            plain = message.model_dump(by_alias=True, exclude_unset=True, mode="json")
            chunk = b"event: message\r\ndata: " + msgspec.json.encode(plain) + b"\r\n\r\n"
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def message(caller: Caller, sessions: Sessions, session_id: str, receive: Receive, send: Send) -> None:
    """Hand a message to its session; what it answers comes over the stream.

    Raises NotFound without such a session under the caller's key, BadRequest and ValidationException on what is no
    message, HTTPException on a body that is too large.
    """
    session = sessions.get(session_id)
    if session is None or session.key_id != caller.principal.key_id:
        raise NotFound(
            "there is no such session",
            code="session_not_found",
            next_action="Open a new stream with GET /sse, or use /mcp, which needs no session.",
        )
    plain, wrong = parse(await read_body(receive))
    if wrong is not None:
        raise wrong
    try:
        parsed = jsonrpc_message_adapter.validate_python(plain, by_name=False)
    except ValidationError:
        raise BadRequest("malformed_message", "The body must be one message of JSON-RPC 2.0.") from None
    await answer(send, 202)
    try:
        await session.inbox.send(SessionMessage(parsed, metadata=ServerMessageMetadata(request_context=caller)))
    except (anyio.ClosedResourceError, anyio.BrokenResourceError):
        # The stream has ended since.
        return
