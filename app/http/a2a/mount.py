"""The protocol's JSON-RPC and HTTP+JSON bindings, served by its SDK below this server's keys and limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from a2a.server.context import ServerCallContext
from a2a.server.jsonrpc_models import JSONParseError
from a2a.server.request_handlers.response_helpers import build_error_response
from a2a.server.routes.common import ServerCallContextBuilder
from a2a.server.routes.jsonrpc_routes import create_jsonrpc_routes
from a2a.server.routes.rest_routes import create_rest_routes
from a2a.utils.error_handlers import build_rest_error_payload
from a2a.utils.errors import InvalidParamsError
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import Receive, Scope, Send
from starlette.applications import Starlette
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.http import problems
from app.http.a2a.errors import error_of
from app.http.a2a.handler import Tasks
from app.http.a2a.places import REST_PATH, RPC_PATH
from app.http.body import MAX_BODY, decode
from app.http.engine import Engine
from app.http.problems import BadRequest

# The SDK logs what clients send, at the level of errors and with tracebacks; what is ours is logged by error_of.
for _name in ("a2a.server.routes", "a2a.utils.error_handlers", "a2a.utils.version_validator"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]


class _Callers(ServerCallContextBuilder):
    """Hands on who calls: the guard has put it into the scope."""

    def build(self, request: Request) -> ServerCallContext:
        return ServerCallContext(state={"principal": request.scope["user"], "headers": dict(request.headers.items())})


def handler(engine: Engine) -> Handler:
    """The handler for everything at RPC_PATH and below."""
    tasks, callers = Tasks(engine), _Callers()
    app = Starlette(
        routes=[
            *create_jsonrpc_routes(tasks, "/", callers),
            *create_rest_routes(tasks, callers, path_prefix=REST_PATH),
        ],
        exception_handlers={StarletteHTTPException: _problem},
    )

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        # Routes are found without the slash that some clients put at the end of a URL.
        path = scope["path"].rstrip("/") or "/"
        inner = cast("dict[str, Any]", {**scope, "path": path, "raw_path": path.encode(), "root_path": ""})
        body = await _read(receive)
        refusal = _refusal(body, rpc=path == "/") if body else None
        if refusal is not None:
            await refusal(inner, cast("Any", receive), cast("Any", send))
            return
        await app(inner, _replayed(body, receive, engine), cast("Any", send))

    return serve


async def _read(receive: Receive) -> bytes:
    """The body. Raises HTTPException (413) past the limit that every request has."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise HTTPException(status_code=413)
        if not message.get("more_body"):
            return bytes(body)


def _replayed(body: bytes, receive: Receive, engine: Engine) -> Any:
    """``receive`` of an app that reads a body which has been read.

    While this server stops, streams end by themselves: told that their clients had gone, they would be broken off.
    """
    told = False

    async def replay() -> Any:
        nonlocal told
        if not told:
            told = True
            return {"type": "http.request", "body": body, "more_body": False}
        message = await receive()
        if message["type"] == "http.disconnect" and engine.stopping.is_set():
            await asyncio.Event().wait()
        return message

    return replay


def _refusal(body: bytes, *, rpc: bool) -> Response | None:
    """What is answered to what is no JSON, and to JSON that no request may hold: NUL characters, huge integers, deep
    nesting."""
    try:
        decode(body)
    except (BadRequest, ValidationException) as error:
        refused = error_of(error)
    else:
        return None
    told = InvalidParamsError(refused.message, refused.data)
    if rpc and (refused.data or {}).get("code") == "malformed_json":
        return JSONResponse(build_error_response(None, JSONParseError(message=told.message)))
    if rpc:
        return JSONResponse(build_error_response(None, told))
    return JSONResponse(build_rest_error_payload(told), status_code=400)


async def _problem(request: Request, exc: Exception) -> Response:
    """Paths and methods that there are not, as everywhere else on this server."""
    assert isinstance(exc, StarletteHTTPException)
    headers = dict(exc.headers or {})
    document = problems.problem_from(
        HTTPException(status_code=exc.status_code, detail=exc.detail, headers=headers),
        instance=RPC_PATH + request.scope["path"].rstrip("/"),
    )
    return Response(
        problems.encode(document),
        status_code=document.status,
        media_type=problems.MEDIA_TYPE,
        headers={**headers, **problems.headers_of(document)},
    )
