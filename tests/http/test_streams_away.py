"""The database is away under open streams: those that wait go on, the others end cleanly, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

from app.chaos.proxy import Link, Trouble
from app.core.access import Scope
from app.core.events import EventKind
from app.http.engine import Engine, build_engine
from app.http.server import build_app
from app.services import feed, keys
from app.store import events
from app.store.db import Database
from app.store.events import NewEvent
from app.store.feed import Page
from tests.http.catalogue import JOB
from tests.http.live import serving
from tests.support.event_stream import events_in
from tests.support.live_engine import settings_for
from tests.support.servers import Servers
from tests.support.told_events import lines_of, narrow_socket, narrow_stream, write

pytestmark = pytest.mark.asyncio(loop_scope="module")

Told = list[dict[str, Any]]
KINDS = (EventKind.JOB_OFFERED, EventKind.JOB_MATCHED, EventKind.JOB_STARTED, EventKind.JOB_CANCELLED)


@dataclass
class Away:
    """A server process that reaches PostgreSQL through ``link``; ``db`` reaches it always."""

    url: str
    secret: str
    http: httpx.AsyncClient
    engine: Engine
    link: Link
    db: Database

    async def lose(self) -> None:
        """Take the database away, and wait until the server has found out."""
        self.link.trouble(Trouble.CUT)
        assert (await self.http.get("/v1/events")).status_code == 503

    def find(self) -> None:
        self.link.trouble(Trouble.NONE)

    async def write(self, count: int, seed: int, text: str = "") -> int:
        """Write so many events of alice's, in any case; the feed's end."""
        await write(self.db, ["alice"], count, seed=seed, text=text)
        done = await feed.sequence(self.db)
        while done is None or done.more or done.waiting:
            done = await feed.sequence(self.db)
        return await feed.latest(self.db)

    async def feed(self, after: int) -> Told:
        """All events after a position, from pages."""
        found: Told = []
        latest = after + 1
        async with asyncio.timeout(20):
            while after < latest:
                answer = await self.http.get("/v1/events", params={"after": after, "limit": 500})
                if answer.status_code == 200:
                    page = answer.json()
                    found += page["events"]
                    after, latest = page["next_after"], page["latest"]
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def away(module_database_url: str, servers: Servers) -> AsyncIterator[Away]:
    place = urlsplit(module_database_url)
    directory = parse_qs(place.query).get("host")
    upstream = Path(directory[0]) / ".s.PGSQL.5432" if directory else place.port or 5432
    db = Database(module_database_url)
    _, secret = await keys.create(db, "alice", [Scope.AGENT.value])
    async with Link(upstream) as link:
        through = f"postgresql://{place.netloc.rpartition('@')[0]}@127.0.0.1:{link.port}{place.path}?sslmode=disable"
        engine = build_engine(settings_for(through, servers.redis_url))
        async with serving(build_app(engine)) as url:
            headers = {"authorization": f"Bearer {secret}"}
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False) as http:
                yield Away(url, secret, http, engine, link, db)
            link.trouble(Trouble.NONE)
    await db.close()


async def by_sse(away: Away, path: str, last: str, limit: int) -> Told:
    """Events of one stream, with their ids, up to its end or so many."""
    headers = {"accept": "text/event-stream", "last-event-id": last}
    async with away.http.stream("GET", path, headers=headers) as answer:
        return await events_in(answer.aiter_lines(), limit) if answer.status_code == 200 else []


async def by_socket(client: ClientConnection, after: int, limit: int) -> tuple[Told, dict[str, Any]]:
    """Events of one subscription up to the connection's end or so many, and the last message."""
    await client.send(json.dumps({"op": "subscribe", "id": "x", "after": after}))
    return await rest_of(client, limit)


async def rest_of(client: ClientConnection, limit: float = math.inf) -> tuple[Told, dict[str, Any]]:
    found: Told = []
    message: dict[str, Any] = {}
    with suppress(ConnectionClosedError):
        while len(found) < limit:
            message = json.loads(await client.recv())
            found += message.get("events", ())
    return found, message


async def of_job(away: Away, job_id: str) -> Told:
    """A job's events up to its end, from as many streams as it takes."""
    found: Told = []
    while not (found and found[-1]["data"]["state"] == "cancelled"):
        found += await by_sse(away, f"/v1/jobs/{job_id}/events", found[-1]["id"] if found else "", 0)
    return found


async def test_streams_that_wait_go_on_as_if_nothing_had_been(away: Away) -> None:
    job_id = (await away.http.post("/v1/jobs", json=JOB)).json()["job_id"]
    start = await away.write(1, 0)
    url, headers = away.url.replace("http", "ws") + "/v1/stream", {"authorization": f"Bearer {away.secret}"}
    engine, rounds = away.engine, 3
    count = rounds * 41
    async with asyncio.timeout(60), connect(url, additional_headers=headers, proxy=None) as client:
        following = asyncio.create_task(by_sse(away, "/v1/events", str(start), count))
        telling = asyncio.create_task(by_socket(client, start, count))
        job = asyncio.create_task(of_job(away, job_id))
        while engine.fanout.waiting < 2 or not engine.event_desk.keys():  # noqa: ASYNC110 (they tell nobody)
            await asyncio.sleep(0.01)
        for number in range(rounds):
            await away.lose()
            await away.write(20, 2 * number)
            kind = KINDS[number - rounds]
            async with away.db.unit() as uow:
                state = kind.value.removeprefix("job_")
                await events.add(uow, [NewEvent(kind, {"job_id": job_id, "state": state}, "alice", job_id)])
            away.find()
            end = await away.write(20, 2 * number + 1)
            while engine.fanout.end < end:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        told, (heard, _), of_it = await asyncio.gather(following, telling, job)
    expected = await away.feed(start)
    assert len(expected) == count
    assert [one["data"] for one in told] == heard == expected
    assert [one["event"] for one in of_it] == ["job_submitted", *(kind.value for kind in KINDS[-rounds:])]


async def test_streams_that_are_behind_end_and_go_on_from_where_they_were(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, read = 150, 0
    read_page = feed.page

    async def counting(*given: Any) -> Page:
        nonlocal read
        page = await read_page(*given)
        read += len(page.events)
        return page

    monkeypatch.setattr(feed, "page", counting)
    start = await away.write(1, 7)
    # Far more than the buffers of a connection take: the rest would have to be read from the database.
    await away.write(count, 8, text="x" * 60_000)
    async with (
        asyncio.timeout(60),
        narrow_stream(away.url, away.secret, str(start)) as reader,
        narrow_socket(away.url, away.secret) as client,
    ):
        lines = lines_of(reader)
        told = await events_in(lines, 1)
        heard, _ = await by_socket(client, start, 1)
        await away.lose()
        told += await events_in(lines)
        rest, last = await rest_of(client)
        heard += rest
    cut = told.pop()
    assert (cut["event"], cut["data"]["status"], cut["data"]["retryable"]) == ("cut_off", 503, True)
    assert int(cut["id"]) >= int(told[-1]["id"])
    assert client.close_code == 1013
    assert (last["op"], last["problem"]["code"]) == ("closing", cut["data"]["code"])
    assert last["positions"]["x"] >= heard[-1]["position"]
    assert max(len(told), len(heard)) < count
    away.find()
    assert len(expected := await away.feed(start)) == count
    read = 0
    async with asyncio.timeout(60), narrow_socket(away.url, away.secret) as client:
        told += await by_sse(away, "/v1/events", cut["id"], count - len(told))
        heard += (await by_socket(client, last["positions"]["x"], count - len(heard)))[0]
    assert [one["data"] for one in told] == expected
    assert heard == expected
    # Large events are not read again and again for the few of them that are sent at once.
    assert read < 8 * count
