"""The paths of A2A and its card, on which the protocol is loaded when the first request comes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from litestar import Request, Response, asgi, get
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from app.core.access import Scope as KeyScope
from app.http.a2a.places import CARD_PATH, RPC_PATH
from app.http.engine import Engine
from app.http.lazily import Lazily
from app.http.security import PUBLIC, scoped

if TYPE_CHECKING:
    from app.http.a2a.mount import Handler

_SUMMARY: Final = "A2A 1.0: JSON-RPC here, HTTP+JSON below /v1."
_card: Lazily[Any] = Lazily(lambda: import_module("app.http.a2a.card"))


@get([CARD_PATH, f"{RPC_PATH}{CARD_PATH}"], opt=PUBLIC, include_in_schema=False)
async def agent_card(request: Request[Any, Any, Any]) -> Response[Any]:
    """What this agent can do and how it is talked to, by the address under which it was asked."""
    answer: Response[Any] = (await _card.get()).answer(request)
    return answer


def a2a_mount(engine: Engine) -> ASGIRouteHandler:
    """The handler for everything at RPC_PATH and below, to be routed beside the card."""

    def load() -> Handler:
        from app.http.a2a import mount

        return mount.handler(engine)

    handler = Lazily(load)

    @asgi(
        RPC_PATH, is_mount=True, copy_scope=True, opt={**scoped(KeyScope.AGENT, KeyScope.OPERATOR), "summary": _SUMMARY}
    )
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await (await handler.get())(scope, receive, send)

    return serve
