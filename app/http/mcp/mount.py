"""The paths of MCP, on which its server is loaded when the first request comes (app/http/mcp/routes.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from app.http.engine import Engine
from app.http.lazily import Lazily
from app.http.security import PUBLIC

if TYPE_CHECKING:
    from app.http.mcp.routes import Handler

_PATHS = {"/mcp": False, "/sse": False, "/sse/messages": False, "/mcp/k": True, "/sse/k": True}
"""By path, whether it takes all that is below."""


def mcp_routes(engine: Engine) -> list[ASGIRouteHandler]:
    """The handlers, to be routed."""

    def load() -> dict[str, Handler]:
        from app.http.mcp import routes

        return routes.handlers(engine)

    handlers = Lazily(load)
    return [_routed(path, below, handlers) for path, below in _PATHS.items()]


def _routed(path: str, below: bool, handlers: Lazily[dict[str, Handler]]) -> ASGIRouteHandler:
    @asgi(path, is_mount=below, copy_scope=False, opt={**PUBLIC})
    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        await (await handlers.get())[path](scope, receive, send)

    return handle
