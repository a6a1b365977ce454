"""Query strings of the agents' routes: what is misspelt is refused, and what is wrong is told what would be right."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

from litestar.connection import ASGIConnection
from litestar.exceptions import ValidationException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.params import QueryParameter

from app.core.access import Scope
from app.core.errors import InvalidInput
from tools.wording import with_choices

_PLUGINS = "/v1/agents/"
"""Paths below are the plugins' own."""


async def known_queries(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard of the whole application, for agents' routes below /v1: raises InvalidInput for an unknown parameter.

    A filter that is misspelt would otherwise let everything through. Nodes and the routes of what existed before may
    send what they like.
    """
    path: str = connection.scope["path"]
    agents = Scope.AGENT in handler.opt.get("scopes", ())
    # What is mounted, such as A2A's own protocol, reads its queries itself.
    ours = isinstance(handler, HTTPRouteHandler) and path.startswith("/v1/") and not path.startswith(_PLUGINS)
    if not agents or not ours:
        return
    known = query_parameters(handler)
    for name in connection.query_params:
        if name not in known:
            takes = f"this path takes {', '.join(known)}" if known else "this path takes none"
            raise InvalidInput(
                f"there is no query parameter {name[:60]!r}; {takes}",
                field=name[:200],
                next_action=f"Leave it out, or correct its name: {path[:200]}",
            )


@lru_cache(maxsize=1024)
def query_parameters(handler: BaseRouteHandler) -> dict[str, Any]:
    """The types of a route's query parameters, by the names that requests give them."""
    return {
        given.kwarg_definition.name or name: given.annotation
        for name, given in handler.parsed_fn_signature.parameters.items()
        if isinstance(given.kwarg_definition, QueryParameter)
    }


def tell_choices(exc: ValidationException, handler: BaseRouteHandler) -> None:
    """Add to what is said of a parameter's wrong word those that the parameter takes."""
    for item in exc.extra if isinstance(exc.extra, list) else []:
        if isinstance(item, dict) and item.get("source") == "query":
            name, message = str(item.get("key", "")).rstrip("_"), str(item.get("message", ""))
            cast("dict[str, Any]", item)["message"] = with_choices(message, query_parameters(handler).get(name, Any))
