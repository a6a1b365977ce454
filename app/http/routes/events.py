"""The feed of events: pages and long-polls of it, a stream, and cursors kept for those who read it."""

import asyncio
from collections.abc import Sequence
from functools import partial
from operator import lt
from typing import Annotated, Any, cast

import msgspec
from litestar import Request, Response, Router, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from msgspec import Meta

from app.core.access import Principal, Scope
from app.core.errors import InvalidInput
from app.core.events import EventKind
from app.http.engine import Engine
from app.http.security import scoped
from app.http.streams import sse
from app.http.streams.follower import Follower
from app.http.streams.records import Filter, Told, told_of
from app.http.streams.sse import EventStream
from app.http.waiting import while_connected
from app.services import feed
from app.store.feed import Page
from tools.schemas import Input

_FARTHEST = 2**63 - 1


class FeedPage(msgspec.Struct, kw_only=True):
    """``next_after``: pass it as ``after`` to go on; it may move on though no event was for you. ``latest``: the
    position at which the feed ended."""

    events: list[Told]
    next_after: int
    latest: int


class FeedCursor(msgspec.Struct, kw_only=True):
    """How far a consumer has come, and the position at which the feed ended."""

    name: str
    position: int
    latest: int


class MoveCursor(Input, kw_only=True):
    """Everything up to ``position`` is dealt with. A cursor only goes back with ``force``."""

    position: Annotated[int, Meta(ge=0, le=_FARTHEST)]
    force: bool = False


@get("/v1/events", operation_id="read_events")
async def read(
    request: Request[Any, Any, Any],
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    after: Annotated[
        str,
        QueryParameter(
            pattern=r"^(latest|[0-9]{1,18})?$",
            description="The position you have come to; latest = only what comes; empty = all that is kept",
        ),
    ] = "",
    consumer: Annotated[
        str, QueryParameter(max_length=40, description="Instead of after: read from where this consumer is")
    ] = "",
    kind: Annotated[
        list[EventKind] | None, QueryParameter(description="Only these kinds of events; may be repeated")
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 100,
    wait_s: Annotated[float, QueryParameter(ge=0, le=45, description="Longest wait for an event in seconds")] = 0.0,
    last_event_id: Annotated[
        str, HeaderParameter(name="Last-Event-ID", max_length=20, description="Of a stream: the last id you saw")
    ] = "",
) -> Response[FeedPage]:
    """What happened to your jobs, oldest first; operators see everything. No event is missed or told twice by someone
    who passes on next_after, and those of a job come in their order.

    With ``Accept: text/event-stream`` the same events as they happen, with their positions as ids; who reads too slowly
    is cut off with an event ``cut_off``, and goes on with Last-Event-ID. A position whose successors are not kept any
    more is answered 410 ``cursor_expired``.
    """
    principal.rights.require_following()
    streaming = "text/event-stream" in request.headers.get("accept", "")
    start = await _start(engine, principal, after, consumer, last_event_id if streaming else "")
    kinds = [one.value for one in kind or []]
    if streaming:
        return cast("Response[FeedPage]", _stream(engine, principal, start, kinds))
    page = await while_connected(request.receive, _wait(engine, principal, start, limit, kinds, wait_s))
    if page is None:
        page = Page([], start, start)
    return Response(FeedPage(events=[told_of(one) for one in page.events], next_after=page.read_to, latest=page.latest))


async def _start(engine: Engine, principal: Principal, after: str, consumer: str, last_event_id: str) -> int:
    if last_event_id:
        if not (last_event_id.isascii() and last_event_id.isdecimal()):
            raise InvalidInput("Last-Event-ID must be an id that this stream sent", field="Last-Event-ID")
        return await feed.start(engine.db, min(int(last_event_id), _FARTHEST))
    if consumer and after:
        raise InvalidInput("give after or consumer, not both", field="consumer")
    if consumer:
        return await feed.start(engine.db, (await feed.cursor(engine.db, principal, consumer)).position)
    if after == "latest":
        return await feed.latest(engine.db)
    return await feed.start(engine.db, int(after) if after else None)


async def _wait(
    engine: Engine, principal: Principal, after: int, limit: int, kinds: Sequence[str], wait_s: float
) -> Page:
    clock = asyncio.get_running_loop()
    until = clock.time() + wait_s
    while True:
        left = until - clock.time()
        page = await feed.page(engine.db, principal, after, limit, kinds)
        if page.events or left <= 0 or engine.stopping.is_set():
            return page
        after = page.read_to
        if after >= page.latest:
            await engine.feed_desk.wait(principal.sees or "", partial(lt, after), left)


def _stream(engine: Engine, principal: Principal, after: int, kinds: Sequence[str]) -> EventStream:
    seat = engine.seats.take(principal)
    asked = Filter(kinds=frozenset(kinds) or None)
    follower = Follower(engine.fanout, engine.db, principal, asked, after, sse.joined)
    return EventStream(sse.told(engine.fanout, follower), seat, engine.stopping)


@get("/v1/events/consumers/{name:str}", operation_id="get_consumer")
async def consumer(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], name: FromPath[str]
) -> FeedCursor:
    """How far your consumer of this name has come."""
    return _cursor(await feed.cursor(engine.db, principal, name))


@put("/v1/events/consumers/{name:str}", operation_id="move_consumer")
async def move(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    name: FromPath[str],
    data: JSONBody[MoveCursor],
) -> FeedCursor:
    """Note how far your consumer has come; the first time makes it. Answers where it is: a position behind that
    changes nothing, unless forced."""
    return _cursor(await feed.move_cursor(engine.db, principal, name, data.position, force=data.force))


def _cursor(found: feed.Cursor) -> FeedCursor:
    return FeedCursor(name=found.name, position=found.position, latest=found.latest)


events_router = Router(
    "/", route_handlers=[read, consumer, move], tags=["events"], opt=scoped(Scope.AGENT, Scope.OPERATOR)
)
