"""Is this process alive, is it ready."""

import asyncio
from datetime import UTC, datetime

import msgspec
from litestar import Response, Router, get
from litestar.di import NamedDependency

from app.http.engine import Engine
from app.http.security import PUBLIC, PUBLIC_SECURITY
from tools.answers import stamp

READY_WITHIN_S = 2.0
"""A server that has not answered by then counts as away: whoever asks does not wait much longer."""


class Alive(msgspec.Struct):
    status: str


class Ready(msgspec.Struct):
    """``database`` and ``valkey``: ok or away."""

    ready: bool
    database: str
    valkey: str


class Health(msgspec.Struct):
    status: str
    timestamp: str


@get("/livez", operation_id="livez", tags=["public"])
async def livez() -> Alive:
    """The process answers. Nothing else is looked at."""
    return Alive("ok")


@get("/readyz", operation_id="readyz", tags=["public"])
async def readyz(engine: NamedDependency[Engine]) -> Response[Ready]:
    """200 when the process can take requests: PostgreSQL answers, and no shutdown has begun. Without Valkey it is
    slower, not unready."""
    database, valkey = await asyncio.gather(
        engine.database_probe.within(READY_WITHIN_S), engine.valkey_probe.within(READY_WITHIN_S)
    )
    ready = bool(database) and not engine.draining.is_set() and not engine.stopping.is_set()
    body = Ready(ready, "ok" if database else "away", "ok" if valkey else "away")
    return Response(body, status_code=200 if ready else 503, headers={} if ready else {"Retry-After": "1"})


@get("/health", operation_id="health", tags=["public", "compatibility"])
async def health() -> Health:
    """As the old engine answered it."""
    return Health("ok", stamp(datetime.now(UTC)))


health_router = Router("/", route_handlers=[livez, readyz, health], opt=PUBLIC, security=PUBLIC_SECURITY)
