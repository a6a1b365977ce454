"""For operators: webhook deliveries that were given up, and how far behind the feed and its readers are."""

from typing import Annotated, Literal

import msgspec
from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from app.core.access import Scope
from app.core.errors import InvalidInput
from app.http.engine import Engine
from app.http.security import scoped
from app.services import deliveries, feed
from tools.answers import stamp
from tools.schemas import Input


class DeadDelivery(msgspec.Struct, kw_only=True):
    """A message that an endpoint will not be sent any more. ``status_code``: its last answer, 0 = none; ``at``: when
    the event was."""

    id: str
    event_id: str
    endpoint: str
    kind: str
    job_id: str
    tries: int
    status_code: int
    error: str
    at: str


class DeliveryPage(msgspec.Struct, kw_only=True):
    """``next_cursor``: pass it as ``cursor`` for older ones; empty at the end."""

    deliveries: list[DeadDelivery]
    next_cursor: str


class RequeueDeliveries(Input, kw_only=True):
    """Name deliveries by their ids, or all of an endpoint."""

    ids: Annotated[list[Annotated[str, Meta(max_length=160)]], Meta(max_length=1_000)] = []
    endpoint: Annotated[str, Meta(max_length=80)] = ""


class DeliveriesRequeued(msgspec.Struct, kw_only=True):
    """``ids``: deliveries that are sent again now. ``more``: the endpoint may have others: call again."""

    requeued: int
    ids: list[str]
    more: bool


class ConsumerLag(msgspec.Struct, kw_only=True):
    name: str
    position: int
    behind: int


class FeedLag(msgspec.Struct, kw_only=True):
    """``latest``: the last position. ``waiting``: committed events without one, the oldest for ``waiting_s`` seconds;
    ``consumers``: the engine's own, and how many events they are behind."""

    latest: int
    waiting: int
    waiting_s: float
    consumers: list[ConsumerLag]


@get("/internal/deliveries", operation_id="list_dead_deliveries")
async def listing(
    engine: NamedDependency[Engine],
    state_: Annotated[
        Literal["dead"], QueryParameter(name="state", description="Only those that were given up are listed")
    ] = "dead",
    endpoint: Annotated[str, QueryParameter(max_length=80, description="Only of this endpoint")] = "",
    cursor: Annotated[str, QueryParameter(max_length=160, description="next_cursor of the last page")] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
) -> DeliveryPage:
    """Webhook messages that were given up, those of the newest events first, with the last error."""
    found = await deliveries.dead(engine.db, endpoint, cursor, limit)
    return DeliveryPage(
        deliveries=[
            DeadDelivery(
                id=one.id,
                event_id=one.event_id,
                endpoint=one.endpoint,
                kind=one.kind,
                job_id=one.job_id or "",
                tries=one.tries,
                status_code=one.status_code or 0,
                error=one.error or "",
                at=stamp(one.at),
            )
            for one in found
        ],
        next_cursor=found[-1].id if len(found) == limit else "",
    )


@post("/internal/deliveries/requeue", operation_id="requeue_dead_deliveries", status_code=200)
async def requeue(engine: NamedDependency[Engine], data: JSONBody[RequeueDeliveries]) -> DeliveriesRequeued:
    """Send these messages again under their old ids, as if for the first time."""
    if bool(data.ids) is bool(data.endpoint):
        raise InvalidInput("name deliveries in ids, or an endpoint", field="ids")
    done = await deliveries.requeue(engine.db, data.ids, data.endpoint)
    return DeliveriesRequeued(
        requeued=len(done), ids=done, more=bool(data.endpoint) and len(done) == deliveries.AT_ONCE
    )


@get("/internal/feed", operation_id="feed_lag")
async def lag(engine: NamedDependency[Engine]) -> FeedLag:
    """How far the feed is behind what was committed, and the webhooks behind the feed."""
    found = await feed.lag(engine.db)
    return FeedLag(
        latest=found.latest,
        waiting=found.waiting,
        waiting_s=round(found.waiting_s, 3),
        consumers=[ConsumerLag(name=name, position=at, behind=behind) for name, at, behind in found.consumers],
    )


deliveries_router = Router("/", route_handlers=[listing, requeue, lag], tags=["operators"], opt=scoped(Scope.OPERATOR))
