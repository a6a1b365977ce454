from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.node_worker.http1 import Http1, TransportError

GET = ("GET", "/path", {"accept": "application/json"}, b"", 5.0)


class RawServer:
    """Answers the n-th request of all with the n-th of ``answers``, byte by byte when ``drip``; None hangs up."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.drip = False
        self.close_after = False
        self.port = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")), 0)
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers[len(self.requests) - 1]
                if answer is None:
                    return
                for piece in [answer[i : i + 1] for i in range(len(answer))] if self.drip else [answer]:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if self.close_after:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    raw = RawServer()
    listening = await asyncio.start_server(raw.talk, "127.0.0.1", 0)
    raw.port = listening.sockets[0].getsockname()[1]
    yield raw
    listening.close()
    await listening.wait_closed()
    await asyncio.sleep(0.05)


@pytest.fixture
async def client(server: RawServer) -> AsyncIterator[Http1]:
    http = Http1(f"http://127.0.0.1:{server.port}/base", None)
    yield http
    await http.aclose()


@pytest.mark.parametrize("drip", [False, True])
async def test_answers_of_every_form_come_over_one_connection(server: RawServer, client: Http1, drip: bool) -> None:
    server.drip = drip
    server.answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Odd:  a:b \r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\ntrailer: yes\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 Oh no\r\ncontent-length: 0\r\n\r\n",
    ]
    found = [await client.exchange(*GET) for _ in server.answers]
    assert [(one.status, one.content) for one in found] == [
        (200, b"hello"),
        (200, b"hello0123456789"),
        (200, b""),
        (204, b""),
        (500, b""),
    ]
    assert found[0].headers["x-odd"] == "a:b"
    assert server.connections == 1


async def test_what_is_sent(server: RawServer, client: Http1) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] * 2
    await client.exchange(*GET)
    await client.exchange("POST", "/p", {"authorization": "Bearer x"}, b"{}", 5.0)
    host = f"127.0.0.1:{server.port}".encode()
    assert server.requests == [
        b"GET /base/path HTTP/1.1\r\nhost: " + host + b"\r\naccept: application/json\r\n\r\n",
        b"POST /base/p HTTP/1.1\r\nhost: " + host + b"\r\nauthorization: Bearer x\r\ncontent-length: 2\r\n\r\n{}",
    ]


async def test_a_body_may_end_with_its_connection(server: RawServer, client: Http1) -> None:
    server.close_after = True
    server.answers = [b"HTTP/1.1 200 OK\r\n\r\nall of it", b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"]
    assert (await client.exchange(*GET)).content == b"all of it"
    assert (await client.exchange(*GET)).content == b"ok"
    assert server.connections == 2


async def test_a_connection_that_the_server_will_close_is_not_used_again(server: RawServer, client: Http1) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"] * 2
    await client.exchange(*GET)
    await client.exchange(*GET)
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_no_answer_is_a_transport_error(server: RawServer, client: Http1, answer: bytes | None) -> None:
    server.close_after = True
    server.answers = [answer, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]
    with pytest.raises(TransportError):
        await client.exchange(*GET)
    assert (await client.exchange(*GET)).status == 200


async def test_silence_is_a_transport_error(server: RawServer, client: Http1) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]
    with pytest.raises(TransportError, match="no answer within"):
        await client.exchange("GET", "/", {}, b"", 0.05)
    assert (await client.exchange(*GET)).status == 200


async def test_nobody_there_is_a_transport_error() -> None:
    http = Http1("http://127.0.0.1:1", None)
    with pytest.raises(TransportError, match="not connected"):
        await http.exchange(*GET)
    await http.aclose()
