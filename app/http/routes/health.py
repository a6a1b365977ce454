"""Is this process alive, is it ready."""

from datetime import UTC, datetime

import msgspec
from litestar import Response, Router, get
from litestar.di import NamedDependency

from app.core.errors import HaeError
from app.http.engine import Engine
from app.http.security import PUBLIC, PUBLIC_SECURITY
from tools.answers import stamp


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
    """200 when the process can take requests: PostgreSQL answers. Without Valkey it is slower, not unready."""
    try:
        async with engine.db.unit():
            database = "ok"
    except HaeError:
        database = "away"
    valkey = "ok" if await engine.bus.ping() else "away"
    ready = database == "ok" and not engine.stopping.is_set()
    body = Ready(ready, database, valkey)
    return Response(body, status_code=200 if ready else 503, headers={} if ready else {"Retry-After": "1"})


@get("/health", operation_id="health", tags=["public", "compatibility"])
async def health() -> Health:
    """As the old engine answered it."""
    return Health("ok", stamp(datetime.now(UTC)))


health_router = Router("/", route_handlers=[livez, readyz, health], opt=PUBLIC, security=PUBLIC_SECURITY)
