"""Answers that may take their time to end when the server stops.

A server that stops tells streams that their clients are gone. An answer about a run ends by itself within moments of
that, with what the run has come to; cut off, it would look like a whole one without its end.
"""

from __future__ import annotations

import asyncio
from typing import Any

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send


class Steady(ASGIMiddleware):
    """Withholds the news of the stop, told as a disconnect, until the answer is sent."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        stopping: asyncio.Event = scope["litestar_app"].state.engine.stopping
        sent = asyncio.Event()

        async def receiving() -> Any:
            message = await receive()
            if message["type"] == "http.disconnect" and stopping.is_set():
                await sent.wait()
            return message

        async def sending(message: Any) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                sent.set()

        await next_app(scope, receiving, sending)
