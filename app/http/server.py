"""Composition root of the HTTP side: the Litestar application and its process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide

from app.core.errors import Unavailable
from app.http.a2a.routes import a2a_mount, agent_card
from app.http.body import MAX_BODY, StrictRequest, TextGuard
from app.http.engine import Engine, build_engine
from app.http.langgraph_api.assistants import assistants_router
from app.http.langgraph_api.runs import runs_router
from app.http.langgraph_api.threads import threads_router
from app.http.mcp.mount import mcp_routes
from app.http.openapi import openapi_config
from app.http.pages.viewers import static_router
from app.http.problems import exception_handlers
from app.http.queries import known_queries
from app.http.routes.agents import agents_router
from app.http.routes.batches import batches_router
from app.http.routes.chain import chain_router
from app.http.routes.dead import dead_router
from app.http.routes.deliveries import deliveries_router
from app.http.routes.events import events_router
from app.http.routes.health import health_router
from app.http.routes.hooks import hooks_router
from app.http.routes.internal import internal_router
from app.http.routes.jobs import jobs_router
from app.http.routes.legacy import legacy_routers
from app.http.routes.market import market_router
from app.http.routes.nodes import nodes_router
from app.http.routes.plans import plans_router
from app.http.routes.schedules import schedules_router
from app.http.routes.specs import specs_router
from app.http.routes.stream import stream_router
from app.http.routes.tools import tools_router
from app.http.run import serve
from app.http.security import PUBLIC, provide_principal, requires_key
from app.settings import Settings
from app.store import revision

log = logging.getLogger(__name__)


def build_app(engine: Engine) -> Litestar:
    """The application on ``engine``, which starts and closes with it."""

    @asynccontextmanager
    async def running(app: Litestar) -> AsyncIterator[None]:
        await engine.start()
        try:
            yield
        finally:
            await engine.close()

    async def provide_engine() -> Engine:
        return engine

    return Litestar(
        route_handlers=[
            health_router,
            tools_router,
            agents_router,
            jobs_router,
            events_router,
            stream_router,
            batches_router,
            schedules_router,
            plans_router,
            specs_router,
            market_router,
            nodes_router,
            internal_router,
            dead_router,
            deliveries_router,
            hooks_router,
            agent_card,
            a2a_mount(engine),
            *mcp_routes(engine),
            chain_router,
            assistants_router,
            threads_router,
            runs_router,
            *legacy_routers,
            static_router(PUBLIC),
        ],
        guards=[requires_key, known_queries],
        dependencies={"engine": Provide(provide_engine), "principal": Provide(provide_principal)},
        exception_handlers=exception_handlers(),
        openapi_config=openapi_config(PUBLIC),
        request_class=StrictRequest,
        request_max_body_size=MAX_BODY,
        middleware=[TextGuard()],
        lifespan=[running],
        logging_config=None,
        state=State({"engine": engine}),
        signature_types=[Engine],
    )


async def run_server(settings: Settings, stop: asyncio.Event, on_ready: Callable[[int], None] | None = None) -> None:
    """Serve until ``stop``, then unready for ``server.drain_s`` more, then end within ``server.grace_s`` and a moment.

    A database that does not answer yet is waited for: requests get a 503 until it does. Raises OSError when the address
    cannot be bound, and WrongMigrations when the database is older or newer than this code, at first or later.
    """
    engine = build_engine(settings)
    closing = asyncio.Event()
    try:
        (await revision.status_async(settings.database.url)).check()
    except Unavailable as error:
        log.warning("the database does not answer yet: %s", error.detail)
        engine.db.held = True

    async def admit() -> None:
        if engine.db.held and await revision.until_checked(settings.database.url, stop):
            engine.db.held = False

    async def drain() -> None:
        await stop.wait()
        engine.draining.set()
        await asyncio.sleep(settings.server.drain_s)
        # The engine's own flag ends streams and long-polls at once, before the server starts to wait for them.
        engine.stopping.set()
        closing.set()

    admitting, draining = asyncio.create_task(admit()), asyncio.create_task(drain())
    admitting.add_done_callback(lambda task: stop.set() if not task.cancelled() and task.exception() else None)
    try:
        await serve(
            build_app(engine),
            settings.server.host,
            settings.server.port,
            stop=closing,
            grace_s=settings.server.grace_s,
            on_ready=on_ready,
        )
        await admitting
    finally:
        admitting.cancel()
        draining.cancel()
