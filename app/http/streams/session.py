"""One WebSocket connection: commands in, events of its subscriptions out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from app.core.access import Principal
from app.core.errors import Conflict, HaeError, NotFound, Unavailable
from app.http.engine import Engine
from app.http.streams import messages, sse
from app.http.streams.follower import Follower, Lagged
from app.http.streams.messages import Ping, Said, Subscribe, Unsubscribe
from app.http.streams.records import Filter
from app.services import feed, jobs, plans

log = logging.getLogger(__name__)

SUBSCRIPTIONS: Final = 50
"""That one connection may have."""
HEARTBEAT_S = 15.0
STALLED_S = 60.0
"""A client that takes nothing for so long is disconnected."""
LAST_S = 1.0
"""What is being sent when the connection is to end has so long to be taken."""

FAILED: Final = 1011
RESTART: Final = 1012
TRY_LATER: Final = 1013
"""Close codes of the registry of RFC 6455; below, those of this API."""
UNAUTHORISED: Final = 4401
FORBIDDEN: Final = 4403
SLOW: Final = 4408
TOO_MANY: Final = 4429

Send = Callable[[bytes], Awaitable[None]]
Receive = Callable[[], Awaitable[bytes | None]]


class Ended(Exception):
    """The connection is to be closed with ``code``, after a ``last`` message."""

    def __init__(self, code: int, reason: HaeError) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason
        self.last = b""


class Session:
    """The subscriptions of one caller. ``send`` writes one message, and returns once the connection has taken it; it
    raises ConnectionError when the client has left."""

    def __init__(self, engine: Engine, principal: Principal, send: Send) -> None:
        self._engine = engine
        self._principal = principal
        self._write = send
        self._sending = asyncio.Lock()
        self._followers: dict[str, Follower] = {}
        self._telling: dict[str, asyncio.Task[None]] = {}
        self._untold: dict[str, int] = {}
        """Where subscriptions were before they took what is not sent yet."""
        self._ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    @property
    def positions(self) -> dict[str, int]:
        """Up to where each subscription has been told everything."""
        return {name: self._untold.get(name, one.position) for name, one in self._followers.items()}

    async def run(self, receive: Receive) -> Ended | None:
        """Obey the client until it leaves (None) or has to. ``receive``: its next message, None when it has left."""
        with self._engine.fanout.kept():
            client = [asyncio.create_task(part) for part in (self._obey(receive), self._beat(), self._stop())]
            waited: set[asyncio.Future[Any]] = {*client, self._ended}
            try:
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if self._engine.draining.is_set() or self._engine.stopping.is_set():
                    # To who receives, a stop looks as if the client had left.
                    self._end(RESTART, Unavailable("the server stops: connect again", code="shutting_down"))
                for task in client:
                    if task.done() and not task.cancelled():
                        with contextlib.suppress(ConnectionError):
                            task.result()
            finally:
                ended = await self._silence([*client, *self._telling.values()])
        return ended

    async def _stop(self) -> None:
        # With the first notice: once the server stops, close codes do not always get through.
        stops = [asyncio.create_task(event.wait()) for event in (self._engine.draining, self._engine.stopping)]
        try:
            await asyncio.wait(stops, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for stop in stops:
                stop.cancel()

    async def _silence(self, tasks: list[asyncio.Task[None]]) -> Ended | None:
        """Cancel the tasks, between two messages where the client takes what is being sent in time."""
        ended = self._ended.result() if self._ended.done() else None
        between = False
        if ended is not None:
            try:
                between = await asyncio.wait_for(self._sending.acquire(), LAST_S)
            except TimeoutError:
                between = False
            if between:
                ended.last = messages.closing(ended.reason, self.positions)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return ended

    async def _obey(self, receive: Receive) -> None:
        while (text := await receive()) is not None:
            said, subscription = messages.parse(text)
            try:
                if isinstance(said, HaeError):
                    raise said
                await self._do(said)
            except HaeError as error:
                await self._send(messages.error(error, subscription))

    async def _do(self, said: Said) -> None:
        if isinstance(said, Ping):
            await self._send(messages.pong())
        elif isinstance(said, Subscribe):
            await self._subscribe(said)
        elif isinstance(said, Unsubscribe):
            await self._unsubscribe(said.id)
        else:
            raise Conflict("this connection has given its key already", code="already_authenticated", field="op")

    async def _subscribe(self, said: Subscribe) -> None:
        if said.id in self._followers:
            raise Conflict(
                f"there is a subscription {said.id} on this connection",
                code="already_subscribed",
                field="id",
                next_action='Give this one another id, or end that one: {"op":"unsubscribe","id":"…"}',
            )
        if len(self._followers) >= SUBSCRIPTIONS:
            raise Conflict(
                f"a connection has {SUBSCRIPTIONS} subscriptions at most",
                code="too_many_subscriptions",
                field="id",
                next_action="Put more jobs and plans into one subscription, or end others.",
            )
        if not said.plans:
            self._principal.rights.require_following()
        await self._check_visible("jobs", said.jobs)
        await self._check_visible("plans", said.plans)
        db = self._engine.db
        start = await (feed.latest(db) if said.after < 0 else feed.start(db, said.after))
        asked = Filter(
            kinds=frozenset(kind.value for kind in said.kinds) or None,
            jobs=frozenset(said.jobs) or None,
            plans=frozenset(said.plans) or None,
        )
        follower = Follower(self._engine.fanout, db, self._principal, asked, start, messages.joined)
        self._followers[said.id] = follower
        await self._send(messages.subscribed(said.id, start))
        self._telling[said.id] = asyncio.create_task(self._tell(said.id, follower))

    async def _check_visible(self, field: str, ids: list[str]) -> None:
        if ids:
            if field == "jobs":
                self._principal.rights.require_following()
            else:
                self._principal.rights.require_tool("get_plan")
        for index, one in enumerate(ids):
            try:
                if field == "jobs":
                    await jobs.get(self._engine.db, self._principal, one)
                else:
                    await plans.check_visible(self._engine.db, self._principal, one)
            except NotFound as error:
                error.field = f"{field}[{index}]"
                raise

    async def _unsubscribe(self, name: str) -> None:
        if name not in self._followers:
            raise NotFound(
                f"there is no subscription {name} on this connection",
                code="no_such_subscription",
                field="id",
                next_action=f"There are: {', '.join(sorted(self._followers)) or 'none'}.",
            )
        task = self._telling.pop(name)
        async with self._sending:
            # Between two messages: what it has taken is sent, or is not told of as if it were.
            position = self.positions[name]
            del self._followers[name]
            self._untold.pop(name, None)
            task.cancel()
        await asyncio.wait({task})
        await self._send(messages.unsubscribed(name, position))

    async def _tell(self, name: str, follower: Follower) -> None:
        try:
            while not self._engine.fanout.closed:
                before = follower.position
                chunk = await follower.take(HEARTBEAT_S)
                if chunk:
                    self._untold[name] = before
                    message = messages.events(name, chunk, follower.position)
                    await self._send(message, told=name)
        except Lagged as error:
            self._end(SLOW, sse.slow_reader(error.position))
        except HaeError as error:
            self._end(TRY_LATER, error)
        except ConnectionError:
            return
        except Exception:
            log.exception("a subscription failed")
            self._end(FAILED, Unavailable("the server failed: connect again", code="internal_error"))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await self._send(None)

    async def _send(self, message: bytes | None, told: str = "") -> None:
        """Send one message, None = a heartbeat of this moment. ``told``: the subscription whose events it holds."""
        async with self._sending:
            try:
                async with asyncio.timeout(STALLED_S):
                    await self._write(messages.heartbeat(self.positions) if message is None else message)
            except TimeoutError:
                self._end(SLOW, sse.slow_reader(min(self.positions.values(), default=0)))
                # The message may be half written: nothing may follow it.
                await asyncio.Event().wait()
            if told:
                self._untold.pop(told, None)

    def _end(self, code: int, reason: HaeError) -> None:
        if not self._ended.done():
            self._ended.set_result(Ended(code, reason))
