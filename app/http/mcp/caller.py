"""Who calls over MCP: a live key, in a header or in the URL, from a place that may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from mcp.server.context import ServerRequestContext

from app.core.access import Principal, Scope
from app.core.errors import Forbidden
from app.http.engine import Engine
from app.http.security import secret_of

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Caller:
    """The server that was called and by whom; see ``caller_of``."""

    engine: Engine
    principal: Principal


def caller_of(ctx: ServerRequestContext[Any, Any]) -> Caller:
    """The caller of a request that a handler is given."""
    return cast("Caller", ctx.request)


async def admit(engine: Engine, scope: Mapping[str, Any], headers: Mapping[str, str], key: str) -> Caller:
    """The caller of a request. ``key``: the one in its URL, empty = it is in a header.

    Raises Forbidden for a foreign origin or a key without the scopes, Unauthorised for a key that is none.
    """
    check_origin(scope, headers)
    principal = await engine.auth.principal(key or secret_of(headers))
    principal.require(Scope.AGENT, Scope.OPERATOR)
    return Caller(engine, principal)


def check_origin(scope: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """Raise Forbidden for a browser's page from elsewhere: its name may have been rebound to this server's address.

    Programs send no Origin. Pages of this machine may call; others only where the server listens beyond loopback, and
    then only those that it is itself the host of (https://modelcontextprotocol.io/specification/2025-11-25/basic/
    transports, security warning).
    """
    origin = headers.get("origin")
    if origin is None:
        return
    named = urlsplit(origin)
    if named.scheme in ("http", "https") and named.hostname in _LOOPBACK:
        return
    listens = (scope.get("server") or ("",))[0]
    if listens not in _LOOPBACK and named.netloc and named.netloc.lower() == headers.get("host", "").lower():
        return
    raise Forbidden(
        "pages of this origin may not call",
        code="origin_not_allowed",
        next_action="Call from a program, which sends no Origin header, or from a page on this machine.",
    )
