"""What existed before, answering as it always did: the operators' worker and the old engine's consumers."""

from app.http.routes.legacy.engine import engine_router, public_router
from app.http.routes.legacy.worker import worker_router

legacy_routers = (engine_router, public_router, worker_router)
