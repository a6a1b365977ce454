"""Is this process alive, is it ready."""

from datetime import UTC, datetime
from typing import Any

from litestar import Response, Router, get
from litestar.di import NamedDependency

from app.core.errors import HaeError
from app.http.engine import Engine
from app.http.security import PUBLIC
from tools.answers import stamp


@get("/livez", operation_id="livez", tags=["public"])
async def livez() -> dict[str, str]:
    """The process answers. Nothing else is looked at."""
    return {"status": "ok"}


@get("/readyz", operation_id="readyz", tags=["public"])
async def readyz(engine: NamedDependency[Engine]) -> Response[dict[str, Any]]:
    """200 when the process can take requests: PostgreSQL answers. Without Valkey it is slower, not unready."""
    try:
        async with engine.db.unit():
            database = "ok"
    except HaeError:
        database = "away"
    cache = "ok" if await engine.bus.ping() else "away"
    ready = database == "ok" and not engine.stopping.is_set()
    body = {"ready": ready, "database": database, "valkey": cache}
    return Response(body, status_code=200 if ready else 503, headers={} if ready else {"Retry-After": "1"})


@get("/health", operation_id="health", tags=["public", "compatibility"])
async def health() -> dict[str, str]:
    """As the old engine answered it."""
    return {"status": "ok", "timestamp": stamp(datetime.now(UTC))}


health_router = Router("/", route_handlers=[livez, readyz, health], opt=PUBLIC)
