"""The HTTP side on the wire: framing, limits, and faults that break connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.chain.devchain import Served
from app.chain.devchain.http import MAX_BODY_BYTES
from tests.integration.chain.devchain.clients import DEADLINE_S, ask, call, manual


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with manual() as served:
        yield served


@pytest.fixture
async def client(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=served.url, timeout=DEADLINE_S) as client:
        yield client


async def raw(served: Served, data: bytes, *, closed: bool = True) -> bytes:
    """What comes back for these bytes on a new connection, until it is closed or an answer is complete."""
    host, port = served.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        async with asyncio.timeout(DEADLINE_S):
            if closed:
                return await reader.read()
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            return head + await reader.readexactly(length)
    finally:
        writer.close()


def request(body: bytes, *headers: bytes) -> bytes:
    lines = (b"POST / HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *headers, b"", b"")
    return b"\r\n".join(lines) + body


async def test_one_connection_carries_many_calls_and_batches(client: httpx.AsyncClient, served: Served) -> None:
    assert await ask(client, "getHealth") == "ok"
    batch = [call("getSlot", {"commitment": "processed"}, number=number) for number in range(1500)]
    answers = (await client.post("/", json=batch)).json()
    assert [answer["id"] for answer in answers] == list(range(1500))
    assert {answer["result"] for answer in answers} == {served.chain.slot}
    assert len(client._transport._pool.connections) == 1  # type: ignore[attr-defined]


async def test_large_and_chunked_bodies_are_taken(client: httpx.AsyncClient) -> None:
    body = json.dumps([call("getHealth", "x" * 5_000_000), call("getHealth")]).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    answer = await client.post("/", content=chunks())
    assert (answer.status_code, [each["result"] for each in answer.json()]) == (200, ["ok", "ok"])


async def test_bodies_without_end_are_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/", content=b" " * (MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert await ask(client, "getHealth") == "ok"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000, b"431"),
    ],
)
async def test_what_is_no_request_is_refused_and_cut(served: Served, data: bytes, status: bytes) -> None:
    assert (await raw(served, data)).startswith(b"HTTP/1.1 " + status)


async def test_other_methods(client: httpx.AsyncClient, served: Served) -> None:
    assert (await client.get("/")).status_code == 405
    assert (await client.get("/health")).text == "ok"
    preflight = await client.options("/")
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, "*")
    served.faults.add("lag", value=7)
    assert "7" in (await client.get("/health")).text


async def test_requests_in_a_row_are_answered_in_a_row(served: Served) -> None:
    two = request(json.dumps(call("getHealth", number="a")).encode())
    two += request(json.dumps(call("getHealth", number="b")).encode(), b"Connection: close")
    said = await raw(served, two)
    assert said.count(b"HTTP/1.1 200") == 2 and said.index(b'"id":"a"') < said.index(b'"id":"b"')


async def test_who_asks_whether_to_go_on_is_told_to(served: Served) -> None:
    body = json.dumps(call("getHealth")).encode()
    head = request(body, b"Expect: 100-continue", b"Connection: close")[: -len(body)]
    host, port = served.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    async with asyncio.timeout(DEADLINE_S):
        writer.write(head)
        assert (await reader.readline()).startswith(b"HTTP/1.1 100")
        writer.write(body)
        assert b'"result":"ok"' in await reader.read()
    writer.close()


async def test_a_body_that_is_no_json_is_an_error_answer(client: httpx.AsyncClient) -> None:
    answer = await client.post("/", content=b"{")
    assert (answer.status_code, answer.json()["error"]["code"]) == (200, -32700)


# Faults


async def statuses(client: httpx.AsyncClient, times: int) -> list[int]:
    return [(await client.post("/", json=call("getSlot"))).status_code for _ in range(times)]


async def test_http_429_says_when_to_come_again(client: httpx.AsyncClient) -> None:
    await ask(client, "devchain_setFaults", {"kind": "http_429", "count": 2, "value": 3})
    answer = await client.post("/", json=call("getSlot"))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert await statuses(client, 2) == [429, 200]


@pytest.mark.parametrize(("kind", "status"), [("http_500", 500), ("http_502", 502)])
async def test_servers_that_fail_say_so_in_html(client: httpx.AsyncClient, kind: str, status: int) -> None:
    await ask(client, "devchain_setFaults", {"kind": kind, "count": 1, "methods": ["getSlot"]})
    assert await ask(client, "getHealth") == "ok"
    answer = await client.post("/", json=[call("getHealth"), call("getSlot")])
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html")
    assert answer.text.startswith("<html>")
    assert await statuses(client, 1) == [200]


async def test_429_and_32005_hide_in_http_200(client: httpx.AsyncClient) -> None:
    for kind, code in (("rpc_429", 429), ("rpc_32005", -32005)):
        await ask(client, "devchain_setFaults", {"kind": kind, "count": 1})
        answer = await client.post("/", json=call("getSlot"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, code)
        assert "data" not in answer.json()["error"]


async def test_connections_are_dropped_before_an_answer(client: httpx.AsyncClient) -> None:
    await ask(client, "devchain_setFaults", {"kind": "drop", "count": 1})
    with pytest.raises(httpx.TransportError):
        await client.post("/", json=call("getSlot"))
    assert await statuses(client, 1) == [200]


async def test_connections_are_dropped_in_the_middle_of_an_answer(client: httpx.AsyncClient) -> None:
    await ask(client, "devchain_setFaults", {"kind": "drop_mid", "count": 1})
    async with client.stream("POST", "/", json=call("getBlock", 0)) as answer:
        assert answer.status_code == 200
        pieces = answer.aiter_raw()
        assert (await anext(pieces)).startswith(b'{"jsonrpc"')
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(pieces)
    assert await statuses(client, 1) == [200]


async def test_slow_answers_come_late_and_hold_nobody_else_up(client: httpx.AsyncClient, served: Served) -> None:
    await ask(client, "devchain_setFaults", {"kind": "slow", "count": 1, "value": 30, "methods": ["getBlock"]})
    slow = asyncio.create_task(client.post("/", json=call("getBlock", 0)))
    async with asyncio.timeout(DEADLINE_S):
        # The fault is used up once the slow call has arrived.
        while served.faults.listed()[0]["left"]:
            assert await statuses(client, 1) == [200]
    assert not slow.done()
    slow.cancel()
    await ask(client, "devchain_setFaults", {"kind": "slow", "count": 1, "value": 0.01})
    assert await statuses(client, 2) == [200, 200]


async def test_faults_strike_by_chance_alike_for_the_same_seed() -> None:
    async def run() -> list[Any]:
        async with manual(seed=4) as served, httpx.AsyncClient(base_url=served.url) as client:
            served.faults.add("http_429", probability=0.4)
            return await statuses(client, 30)

    first = await run()
    assert first == await run()
    assert set(first) == {200, 429}
