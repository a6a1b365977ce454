"""API keys at the door: who calls, before a body is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from app.core.access import Principal, Scope
from app.core.errors import Unauthorised
from app.http.engine import Engine

PUBLIC = {"public": True}
"""``opt`` of the routes that need no key: health and public figures."""

PUBLIC_SECURITY: list[dict[str, list[str]]] = [{}]
"""``security`` of the same routes: the OpenAPI document says of them that they need none."""


async def requires_key(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard of the whole application. Raises Unauthorised, or Forbidden for a key without the route's scopes.

    A route names its scopes in ``opt["scopes"]``; without, any live key will do.
    """
    if handler.opt.get("public"):
        return
    engine: Engine = connection.app.state.engine
    principal = await engine.auth.principal(secret_of(connection.headers))
    scopes: tuple[Scope, ...] = handler.opt.get("scopes", ())
    if scopes:
        principal.require(*scopes)
    connection.scope["user"] = principal


def secret_of(headers: Mapping[str, str]) -> str:
    """The key that a request was sent with; raises Unauthorised without one."""
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret.strip():
        return secret.strip()
    secret = headers.get("x-api-key", "")
    if not secret:
        raise Unauthorised(
            "an API key is needed",
            next_action="Send 'Authorization: Bearer hae_…'; operators make keys with: hae keys create",
        )
    return secret


async def provide_principal(request: ASGIConnection[Any, Any, Any, Any]) -> Principal:
    return cast("Principal", request.scope["user"])


def scoped(*scopes: Scope) -> dict[str, Any]:
    """``opt`` of routes that need a key with one of these scopes."""
    return {"scopes": scopes}
