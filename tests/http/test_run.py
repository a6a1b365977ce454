from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar import Litestar, WebSocket, get, websocket
from litestar.params import FromPath
from litestar.response import ServerSentEvent
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from app.http.run import listen, serve
from tests.http.live import serving


@get("/hello")
async def hello() -> str:
    return "hello"


@get("/sleep/{seconds:float}")
async def sleep(seconds: FromPath[float]) -> float:
    await asyncio.sleep(seconds)
    return seconds


@get("/events")
async def events() -> ServerSentEvent:
    async def ticks() -> AsyncIterator[str]:
        while True:
            yield "tick"
            await asyncio.sleep(0.01)

    return ServerSentEvent(ticks())


@websocket("/socket")
async def chat(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.receive_text()


def application(**options: Any) -> Litestar:
    return Litestar([hello, sleep, events, chat], openapi_config=None, logging_config=None, **options)


async def test_startup_and_shutdown_run_around_serving() -> None:
    seen: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        seen.append("up")
        yield
        seen.append("down")

    async with serving(application(lifespan=[lifespan])) as url, httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/hello")).text == "hello"
        assert seen == ["up"]
    assert seen == ["up", "down"]
    with pytest.raises(OSError, match=r"refused|failed"):
        await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))


async def test_a_failing_startup_comes_through_and_frees_the_port() -> None:
    async def fail(_: Litestar) -> None:
        raise RuntimeError("no database")

    with listen("127.0.0.1", 0) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(RuntimeError, match="no database"):
        await serve(application(on_startup=[fail]), "127.0.0.1", port, stop=asyncio.Event())
    listen("127.0.0.1", port).close()


async def test_a_request_under_way_finishes_after_the_stop() -> None:
    stop = asyncio.Event()
    async with serving(application(), stop=stop) as url, httpx.AsyncClient() as client:
        slow = asyncio.create_task(client.get(f"{url}/sleep/0.5"))
        # A second connection's answer shows that the first request has been read.
        assert (await client.get(f"{url}/sleep/0.1")).json() == 0.1
        stop.set()
        assert (await slow).json() == 0.5


async def test_a_stream_ends_cleanly_at_the_stop() -> None:
    stop = asyncio.Event()
    # The grace period is far above the test's patience: the stream must end at once, not be cut at the end.
    async with (
        asyncio.timeout(30),
        serving(application(), stop=stop, grace_s=600) as url,
        httpx.AsyncClient() as client,
        client.stream("GET", f"{url}/events") as response,
    ):
        lines = response.aiter_lines()
        assert await anext(lines) == "data: tick"
        stop.set()
        rest = [line async for line in lines]
    assert set(rest) <= {"data: tick", ""}


async def test_what_outlives_the_grace_period_gets_a_503() -> None:
    stop = asyncio.Event()
    async with serving(application(), stop=stop, grace_s=1) as url, httpx.AsyncClient(timeout=60) as client:
        slow = asyncio.create_task(client.get(f"{url}/sleep/3600"))
        await client.get(f"{url}/sleep/0.1")
        stop.set()
        response = await slow
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["retry-after"]) >= 1
    assert response.json()["code"] == "shutting_down"
    assert response.json()["retryable"] is True


async def test_a_websocket_is_closed_at_the_stop() -> None:
    stop = asyncio.Event()
    async with (
        asyncio.timeout(30),
        serving(application(), stop=stop, grace_s=600) as url,
        connect(url.replace("http", "ws") + "/socket") as connection,
    ):
        assert await connection.recv() == "hello"
        stop.set()
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
    # A stop that meets a receive in its first moment ends the connection without a code.
    assert closed.value.rcvd is None or closed.value.rcvd.code == 1012


async def test_many_idle_requests_leave_the_server_answering() -> None:
    stop = asyncio.Event()
    limits = httpx.Limits(max_connections=None)
    async with (
        serving(application(), stop=stop, grace_s=2) as url,
        httpx.AsyncClient(limits=limits, timeout=60) as client,
    ):
        waiting = [asyncio.create_task(client.get(f"{url}/sleep/3600")) for _ in range(300)]
        assert (await client.get(f"{url}/hello")).text == "hello"
        stop.set()
        statuses = {(await task).status_code for task in waiting}
    assert statuses == {503}


async def test_a_taken_port_is_one_clear_error() -> None:
    async with serving(application()) as url:
        port = int(url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: .*in use"):
            await serve(application(), "127.0.0.1", port, stop=asyncio.Event())


@pytest.mark.parametrize(("host", "port"), [("300.1.1.1", 0), ("192.0.2.1", 0), ("127.0.0.1", 70_000), ("a" * 300, 0)])
def test_a_bad_address_is_one_clear_error(host: str, port: int) -> None:
    with pytest.raises(OSError, match="cannot listen on"):
        listen(host, port)


def test_names_are_resolved() -> None:
    with listen("localhost", 0) as listener:
        assert listener.family in {socket.AF_INET, socket.AF_INET6}
