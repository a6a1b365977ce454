"""The log subscriptions against nodes that drop, fall silent, refuse and flood, over real sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from solders.signature import Signature
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from app.chain import feed as feed_module
from app.chain.feed import LogsFeed
from app.core.errors import InvalidInput
from tests.support.rpc_server import LogsServer, notification

WAIT_S = 20.0
SIGNATURES = [str(Signature(bytes([n] * 64))) for n in range(100)]


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT_S):
        # Nothing tells of everything that is waited for here.
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


class Listening:
    """A feed in a task of its own, and what it said."""

    def __init__(self, url: str, programs: tuple[str, ...] = ("a", "b"), **options: Any) -> None:
        self.states: list[bool] = []
        self.hints: list[tuple[str, str, int]] = []
        self.stop = asyncio.Event()
        self.feed = LogsFeed(url, programs, self._hint, on_state=self.states.append, **options)
        self.task = asyncio.create_task(self.feed.run(self.stop))

    def _hint(self, program: str, signature: str, slot: int) -> None:
        self.hints.append((program, signature, slot))

    async def until(self, true: Callable[[], Any]) -> None:
        assert not self.task.done(), self.task.exception()
        await until(true)

    async def until_states(self, *states: bool) -> None:
        await self.until(lambda: self.states == list(states))


@asynccontextmanager
async def listening(url: str, programs: tuple[str, ...] = ("a", "b"), **options: Any) -> AsyncIterator[Listening]:
    made = Listening(url, programs, **options)
    try:
        yield made
    finally:
        made.stop.set()
        async with asyncio.timeout(WAIT_S):
            await made.task


@pytest.fixture
async def node() -> AsyncIterator[LogsServer]:
    async with LogsServer() as started:
        yield started


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "BACKOFF_BASE_S", 0.005)
    monkeypatch.setattr(feed_module, "BACKOFF_CAP_S", 0.05)


async def test_hints_of_every_program_come_with_its_name(node: LogsServer) -> None:
    async with listening(node.url, commitment="processed") as heard:
        await heard.until_states(True)
        await node.notify("a", SIGNATURES[1], 10)
        await node.notify("b", SIGNATURES[2], 11, err={"Unheard": [1]})
        await node.notify("a", SIGNATURES[1], 10)
        await heard.until(lambda: len(heard.hints) == 3)
    assert heard.hints == [("a", SIGNATURES[1], 10), ("b", SIGNATURES[2], 11), ("a", SIGNATURES[1], 10)]
    assert heard.states == [True, False]
    assert heard.feed.hints == 3
    assert [(each["method"], each["params"]) for each in node.asked] == [
        ("logsSubscribe", [{"mentions": [program]}, {"commitment": "processed"}]) for program in ("a", "b")
    ]
    assert node.accepted == 1


async def test_up_means_that_every_subscription_is_acknowledged(node: LogsServer) -> None:
    go = asyncio.Event()

    async def half(connection: ServerConnection) -> None:
        first, second = json.loads(await connection.recv()), json.loads(await connection.recv())
        await connection.send(json.dumps({"jsonrpc": "2.0", "id": second["id"], "result": 5}))
        await connection.send(notification(5, SIGNATURES[1]))
        await go.wait()
        await connection.send(json.dumps({"jsonrpc": "2.0", "id": first["id"], "result": 6}))
        await connection.wait_closed()

    node.script.append(half)
    async with listening(node.url) as heard:
        await heard.until(lambda: heard.hints == [("b", SIGNATURES[1], 1)])
        assert heard.states == []
        go.set()
        await heard.until_states(True)


async def test_a_flood_neither_kills_the_connection_nor_fills_memory(node: LogsServer) -> None:
    count, peak = 0, 0
    done = asyncio.Event()
    signature = SIGNATURES[1]

    def counted(program: str, signature: str, slot: int) -> None:
        nonlocal count
        count += 1
        if count == 30_000:
            done.set()

    up = asyncio.Event()
    feed = LogsFeed(node.url, ["a"], counted, on_state=lambda state: up.set(), ping_s=0.05)
    stop = asyncio.Event()
    task = asyncio.create_task(feed.run(stop))
    async with asyncio.timeout(WAIT_S):
        await up.wait()
        connection, number = node.subscribed["a"]
        payload = notification(number, signature).encode()
        frames = (b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload) * 100
        tracemalloc.start()
        try:
            for _ in range(300):
                connection.transport.write(frames)
                while connection.transport.get_write_buffer_size() > 500_000:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            await done.wait()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (count, feed.losses, node.accepted) == (30_000, 0, 1)
    assert peak < 5_000_000
    stop.set()
    async with asyncio.timeout(WAIT_S):
        await task


async def cut(connection: ServerConnection) -> None:
    connection.transport.abort()


async def close(connection: ServerConnection) -> None:
    await connection.close()


async def go_away(connection: ServerConnection) -> None:
    await connection.close(1001)


async def fail(connection: ServerConnection) -> None:
    await connection.close(1011, "internal error")


async def shout(connection: ServerConnection) -> None:
    await connection.send("x" * (5 * 1024 * 1024))


async def talk_nonsense(connection: ServerConnection) -> None:
    connection.transport.write(b"\xff" * 100)


@pytest.mark.parametrize("loss", [cut, close, go_away, fail, shout, talk_nonsense])
async def test_every_loss_is_told_and_made_good(node: LogsServer, loss: Callable[[ServerConnection], Any]) -> None:
    async with listening(node.url) as heard:
        await heard.until_states(True)
        await loss(node.open[0])
        await heard.until_states(True, False, True)
        await node.notify("b", SIGNATURES[3], 12)
        await heard.until(lambda: heard.hints == [("b", SIGNATURES[3], 12)])
    assert heard.feed.losses == 1
    assert heard.states == [True, False, True, False]


async def test_a_half_open_connection_is_found_by_its_pings(node: LogsServer) -> None:
    async with listening(node.url, ping_s=0.1) as heard:
        await heard.until_states(True)
        # The other end is there for TCP and for nobody else.
        node.open[0].transport.pause_reading()
        await heard.until_states(True, False, True)


async def test_a_connection_that_answers_pings_and_nothing_else_is_found_by_its_silence(node: LogsServer) -> None:
    async with listening(node.url, silence_s=0.2) as heard:
        await heard.until(lambda: heard.states[:3] == [True, False, True])
        assert node.asked[2]["method"] == "slotSubscribe"


async def test_slots_keep_a_quiet_connection_alive(node: LogsServer) -> None:
    async with listening(node.url, silence_s=0.5) as heard:
        await heard.until_states(True)
        connection, number = node.subscribed["slots"]
        params = {"result": {"parent": 1, "root": 0, "slot": 2}, "subscription": number}
        message = json.dumps({"jsonrpc": "2.0", "method": "slotNotification", "params": params})
        for _ in range(14):
            await connection.send(message)
            await asyncio.sleep(0.05)
        assert heard.states == [True]
        assert heard.feed.malformed == 0


async def test_where_slots_are_refused_silence_says_nothing(node: LogsServer) -> None:
    node.refuse_slots = True
    async with listening(node.url, silence_s=0.05) as heard:
        await heard.until_states(True)
        await asyncio.sleep(0.2)
        await node.notify("a", SIGNATURES[1])
        await heard.until(lambda: len(heard.hints) == 1)
    assert heard.states == [True, False]


async def refuse(connection: ServerConnection) -> None:
    request = json.loads(await connection.recv())
    said = {"error": {"code": -32602, "message": "Invalid param", "data": {"unheard": 1}}}
    await connection.send(json.dumps({"jsonrpc": "2.0", "id": request["id"], **said}))
    await connection.wait_closed()


async def ignore(connection: ServerConnection) -> None:
    await connection.wait_closed()


async def hang_up(connection: ServerConnection) -> None:
    await connection.recv()


@pytest.mark.parametrize("denial", [refuse, ignore, hang_up])
async def test_a_subscription_that_is_not_granted_is_tried_again(
    node: LogsServer, denial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "OPEN_S", 0.3)
    node.script += [denial, denial]
    async with listening(node.url) as heard:
        await heard.until_states(True)
    assert node.accepted == 3
    assert heard.feed.losses == 2


async def test_a_node_that_is_away_is_waited_for() -> None:
    async with LogsServer() as first:
        url, port = first.url, first.port
    async with listening(url) as heard:
        await heard.until(lambda: heard.feed.losses >= 3)
        assert heard.states == []
        async with LogsServer(port=port):
            await heard.until_states(True)


@pytest.mark.parametrize("status", [401, 403, 429, 502])
async def test_a_refused_handshake_is_tried_again(node: LogsServer, status: int) -> None:
    refused: list[str] = []

    def deny(connection: ServerConnection, request: Request) -> Response | None:
        if len(refused) == 2:
            return None
        refused.append(request.path)
        denial = connection.respond(status, "no\n")
        denial.headers["Retry-After"] = "0.01"
        return denial

    node.process_request = deny
    async with listening(node.url) as heard:
        await heard.until_states(True)
    assert heard.feed.losses == 2


async def test_messages_that_make_no_sense_are_counted_and_told_once_a_while(
    node: LogsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(node.url) as heard:
        await heard.until_states(True)
        connection, number = node.subscribed["a"]
        for message in ("", "null", "{", "[]", "{}", '{"id":99,"result":1}', b"\xff\x00"):
            await connection.send(message)
        for bad in (None, 5, "", "1111", SIGNATURES[1] * 2, "\x00"):
            await connection.send(notification(number, bad))
        for slot in (None, -1, "5", 2**64):
            await connection.send(notification(number, SIGNATURES[1], slot))
        await connection.send(notification(number + 77, SIGNATURES[1]))
        await node.notify("a", SIGNATURES[2], 9)
        await heard.until(lambda: heard.hints == [("a", SIGNATURES[2], 9)])
    assert heard.feed.malformed == 18
    told = [record for record in caplog.records if "make no sense" in record.getMessage()]
    assert len(told) == 1


async def test_stopping_closes_the_connection_properly(node: LogsServer) -> None:
    codes: list[int | None] = []

    async def served(connection: ServerConnection) -> None:
        await node.acknowledge(connection)
        codes.append(connection.close_code)

    node.script.append(served)
    async with listening(node.url) as heard:
        await heard.until_states(True)
    await until(lambda: codes)
    assert codes == [1000]


async def test_stopping_does_not_wait_for_a_node_that_is_stuck(
    node: LogsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "CLOSE_S", 0.1)
    async with listening(node.url) as heard:
        await heard.until_states(True)
        node.open[0].transport.pause_reading()
    assert heard.states == [True, False]


async def test_what_the_receiver_raises_ends_the_feed(node: LogsServer) -> None:
    states: list[bool] = []

    def wrong(program: str, signature: str, slot: int) -> None:
        raise LookupError(signature)

    feed = LogsFeed(node.url, ["a"], wrong, on_state=states.append)
    task = asyncio.create_task(feed.run(asyncio.Event()))
    async with asyncio.timeout(WAIT_S):
        await until(lambda: states)
        await node.notify("a", SIGNATURES[1])
        with pytest.raises(LookupError):
            await task
    assert states == [True, False]


async def test_a_cancelled_feed_leaves_nothing_open(node: LogsServer) -> None:
    heard = Listening(node.url)
    await heard.until_states(True)
    heard.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await heard.task
    await until(lambda: not node.open)
    assert heard.states == [True, False]


async def test_neither_proxies_nor_keys_leak(
    node: LogsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "WS_PROXY", "ws_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    caplog.set_level(logging.DEBUG)
    node.script += [refuse]
    async with listening(node.url + "s3cr3t?api-key=s3cr3t") as heard:
        await heard.until_states(True)
        await cut(node.open[0])
        await heard.until_states(True, False, True)
    async with LogsServer() as gone:
        url = gone.url
    async with listening(url + "s3cr3t") as heard:
        await heard.until(lambda: heard.feed.losses > 1)
    assert "Solana logs from 127.0.0.1" in caplog.text
    assert "s3cr3t" not in caplog.text


@pytest.mark.parametrize("url", ["", "http://n.example/s3cr3t", "ws://", "wss://n.example/#s3cr3t"])
def test_a_bad_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        LogsFeed(url, ["a"], lambda *_: None)
    assert caught.value.detail == "solana.ws_url: expected a URL that begins with wss:// or ws:// and names a host"
