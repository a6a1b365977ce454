"""Streamable HTTP without sessions: one POST, one message, one answer.

https://modelcontextprotocol.io/specification/2025-11-25/basic/transports and, of the revision without a handshake,
https://modelcontextprotocol.io/specification/2026-07-28/basic/transports. An answer is a JSON object unless there is
something to tell before it, or it takes long: then it is the last event of a stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar.exceptions import HTTPException
from litestar.types import Receive, Send
from mcp.server.connection import Connection
from mcp.server.runner import serve_one
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    MCP_PROTOCOL_VERSION_HEADER,
    InboundLadderRejection,
    InboundModernRoute,
    classify_inbound_request,
    unsupported_protocol_version_rejection,
)
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    DEFAULT_NEGOTIATED_VERSION,
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    PROTOCOL_VERSION_META_KEY,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from app.http.mcp.caller import Caller
from app.http.mcp.calling import refused
from app.http.mcp.messages import PING, PING_S, STREAM_HEADERS, Exchange, answer, error_of, event, parse, read_body
from app.http.mcp.server import SERVER
from app.http.problems import BadRequest
from tools.registry import TOOLS

_END_S = 2.0
"""What waits has that long to answer when the server stops."""


async def post(caller: Caller, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
    """Answer one message. Raises HTTPException on what is refused before it is read as one."""
    takes_json, takes_stream = _accepted(headers)
    _check_type(headers)
    body = await read_body(receive)
    try:
        message, wrong = parse(body)
    except BadRequest as error:
        await _reply(send, 400, {"id": None, "error": {"code": PARSE_ERROR, "message": error.detail}})
        return
    refusal = _malformed(message)
    if refusal is not None:
        await _reply(send, 400, {"id": None, "error": {"code": INVALID_REQUEST, "message": refusal}})
        return
    version = headers.get(MCP_PROTOCOL_VERSION_HEADER)
    modern = (version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS) or _has_envelope(message)
    if "id" not in message or "method" not in message:
        await _acknowledge(send, message, version or "", modern)
        return
    route: InboundModernRoute | InboundLadderRejection | None = None
    if modern:
        route = classify_inbound_request(message, headers=headers)
        if isinstance(route, InboundLadderRejection):
            await _reject(send, message["id"], route)
            return
    if wrong is not None:
        if message["method"] == "tools/call":
            told = refused(wrong) | ({"resultType": "complete"} if modern else {})
            await _reply(send, 200, {"id": message["id"], "result": told})
        else:
            told = {"code": INVALID_PARAMS, "message": refused(wrong)["structuredContent"]["detail"]}
            await _reply(send, 400 if modern else 200, {"id": message["id"], "error": told})
        return
    connection = (
        Connection.from_envelope(route.protocol_version, route.client_info, route.client_capabilities)
        if isinstance(route, InboundModernRoute)
        else Connection.from_envelope(version or DEFAULT_NEGOTIATED_VERSION, None, None)
    )
    exchange = Exchange(message["id"], ServerMessageMetadata(request_context=caller), _progress_token(message))
    if _is_quick(message) or not takes_stream:
        reply = await _served(exchange, message, connection)
        await (_reply(send, _status(reply, modern), reply) if takes_json else _stream_one(send, reply))
        return
    exchange.outbox = asyncio.Queue()
    await _served_slowly(caller, exchange, message, connection, modern, receive, send)


def _accepted(headers: Mapping[str, str]) -> tuple[bool, bool]:
    """Whether the client takes JSON and streams; one that says nothing takes both. Raises HTTPException (406)."""
    kinds = {one.partition(";")[0].strip().lower() for one in headers.get("accept", "*/*").split(",")}
    found = (
        bool(kinds & {"*/*", "application/*", "application/json"}),
        bool(kinds & {"*/*", "text/*", "text/event-stream"}),
    )
    if not any(found):
        raise HTTPException(
            status_code=406, detail="Send 'Accept: application/json, text/event-stream': answers are one or the other."
        )
    return found


def _check_type(headers: Mapping[str, str]) -> None:
    told = headers.get("content-type", "").partition(";")[0].strip().lower()
    if told != "application/json":
        raise HTTPException(
            status_code=415,
            detail=f"The body must be JSON, sent with 'Content-Type: application/json', not {told[:80] or 'without'}.",
        )


def _malformed(message: Any) -> str | None:
    """What keeps the JSON from being a message of JSON-RPC 2.0, without batches."""
    if isinstance(message, list):
        return "Batches are not taken: send each message in a request of its own"
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return 'The body must be an object with "jsonrpc": "2.0"'
    identifier, method = message.get("id", ""), message.get("method", "")
    if isinstance(identifier, bool) or not isinstance(identifier, str | int):
        return "id must be a string or an integer"
    if not isinstance(method, str) or not (method or {"result", "error"} & message.keys()):
        return "method must be a name, such as tools/call"
    if not isinstance(message.get("params", {}), dict):
        return "params must be an object"
    return None


def _has_envelope(message: Mapping[str, Any]) -> bool:
    meta = message.get("params", {}).get("_meta")
    return isinstance(meta, dict) and PROTOCOL_VERSION_META_KEY in meta and message.get("method") != "initialize"


def _progress_token(message: Mapping[str, Any]) -> Any:
    meta = message.get("params", {}).get("_meta")
    token = meta.get("progressToken") if isinstance(meta, dict) else None
    return token if isinstance(token, str | int) and not isinstance(token, bool) else None


def _is_quick(message: Mapping[str, Any]) -> bool:
    """Whether it is answered at once. What is not is watched: it ends when its client goes away."""
    if message["method"] != "tools/call":
        return True
    name = message.get("params", {}).get("name")
    tool = TOOLS.get(name) if isinstance(name, str) else None
    return tool is None or not tool.waits


async def _acknowledge(send: Send, message: Mapping[str, Any], version: str, modern: bool) -> None:
    """Take a notification, or an answer to a request that nobody sent. Nothing here waits for either."""
    if modern and (rejection := unsupported_protocol_version_rejection(version)) is not None:
        await _reject(send, None, rejection)
        return
    await answer(send, 202)


async def _served(exchange: Exchange, message: Mapping[str, Any], connection: Connection) -> dict[str, Any]:
    """The reply to a request: its result, or what went wrong."""
    try:
        result = await serve_one(
            SERVER, exchange, message["method"], message.get("params"), connection=connection, lifespan_state={}
        )
    except Exception as error:
        return {"id": exchange.request_id, "error": error_of(error)}
    return {"id": exchange.request_id, "result": result}


async def _served_slowly(
    caller: Caller,
    exchange: Exchange,
    message: Mapping[str, Any],
    connection: Connection,
    modern: bool,
    receive: Receive,
    send: Send,
) -> None:
    work = asyncio.create_task(_served(exchange, message, connection))
    gone = asyncio.create_task(_until_gone(receive))
    streaming = False
    try:
        while True:
            told = asyncio.ensure_future(exchange.outbox.get())
            try:
                await asyncio.wait({work, gone, told}, timeout=PING_S, return_when=asyncio.FIRST_COMPLETED)
                if gone.done() and not work.done():
                    if not caller.engine.stopping.is_set():
                        return
                    # The stop reaches streams as if their client had gone; the wait ends by itself, with the state.
                    await asyncio.wait({work}, timeout=_END_S)
                if work.done():
                    break
                chunk = told.result() if told.done() else PING
            finally:
                told.cancel()
            if not streaming:
                await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
                streaming = True
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        left = b"" if not told.done() or told.cancelled() else told.result()
        while not exchange.outbox.empty():
            left += exchange.outbox.get_nowait()
        reply = work.result()
        if not streaming and not left:
            await _reply(send, _status(reply, modern), reply)
            return
        if not streaming:
            await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
        body = left + event({"jsonrpc": "2.0", **reply})
        await send({"type": "http.response.body", "body": body, "more_body": False})
    finally:
        work.cancel()
        gone.cancel()
        await asyncio.wait({work, gone})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _status(reply: Mapping[str, Any], modern: bool) -> int:
    """Up to 2025-11-25 an error of the protocol is an answer (200); since, its status goes with its code."""
    code = reply.get("error", {}).get("code")
    return ERROR_CODE_HTTP_STATUS.get(code, 200) if modern and code is not None else 200


async def _reject(send: Send, identifier: Any, rejection: InboundLadderRejection) -> None:
    error = {"code": rejection.code, "message": rejection.message}
    if rejection.data is not None:
        error["data"] = rejection.data
    await _reply(send, ERROR_CODE_HTTP_STATUS.get(rejection.code, 400), {"id": identifier, "error": error})


async def _reply(send: Send, status: int, reply: Mapping[str, Any]) -> None:
    await answer(send, status, msgspec.json.encode({"jsonrpc": "2.0", **reply}))


async def _stream_one(send: Send, reply: Mapping[str, Any]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
    await send({"type": "http.response.body", "body": event({"jsonrpc": "2.0", **reply}), "more_body": False})
