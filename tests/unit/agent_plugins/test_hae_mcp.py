"""The stdio bridge over a transport of its own: what goes up, what comes down, and what it makes of trouble."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from agent_plugins.hae_mcp import Bridge, BridgeConfig, ConfigError, from_environment, upstream
from agent_plugins.hae_mcp.command import HELP, main
from agent_plugins.hae_mcp.upstream import Upstream

Answering = Callable[[httpx.Request], Awaitable[httpx.Response]]
MODERN = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}


class Client:
    """The client's side of a bridge: lines in, messages out."""

    def __init__(self, answering: Answering) -> None:
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()
        self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.complaints: list[str] = []
        self.requests: list[httpx.Request] = []

        async def noting(request: httpx.Request) -> httpx.Response:
            self.requests.append(request)
            return await answering(request)

        config = BridgeConfig("http://engine/mcp", "hae_key")
        self.upstream = Upstream(config, transport=httpx.MockTransport(noting))
        self.bridge = Bridge(self.upstream, self.said.put_nowait, self.complaints.append)

    def say(self, message: Any) -> None:
        self.lines.put_nowait(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        self.say(message)
        return await self.said.get()

    async def __aenter__(self) -> Client:
        self.task = asyncio.create_task(self.bridge.run(self.lines.get))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.lines.put_nowait(b"")
        async with asyncio.timeout(5):
            await self.task
        await self.upstream.close()


def request(number: int, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, **({"params": params} if params else {})}


def result(of: httpx.Request, **said: Any) -> httpx.Response:
    return httpx.Response(200, json={"jsonrpc": "2.0", "id": json.loads(of.content)["id"], "result": said})


async def echo(request: httpx.Request) -> httpx.Response:
    message = json.loads(request.content)
    if "id" not in message:
        return httpx.Response(202)
    return result(request, protocolVersion="2025-11-25", method=message["method"])


async def test_sends_what_each_revision_wants_in_headers() -> None:
    async with Client(echo) as client:
        answer = await client.ask(request(1, "initialize", protocolVersion="2025-11-25"))
        assert answer["result"]["protocolVersion"] == "2025-11-25"
        client.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        await client.ask(request(2, "tools/list"))
        await client.ask(request(3, "tools/call", name="get_job", **MODERN))
        await client.ask(request(4, "resources/read", uri="job://ü", **MODERN))
    sent = [
        {name: one.headers[name] for name in ("mcp-protocol-version", "mcp-method", "mcp-name") if name in one.headers}
        for one in client.requests
    ]
    assert sent[0] == {}
    handshake = {"mcp-protocol-version": "2025-11-25"}
    assert sent.count(handshake) == 2
    modern = {"mcp-protocol-version": "2026-07-28"}
    assert {**modern, "mcp-method": "tools/call", "mcp-name": "get_job"} in sent
    assert {**modern, "mcp-method": "resources/read", "mcp-name": "=?base64?am9iOi8vw7w=?="} in sent
    assert {one.headers["authorization"] for one in client.requests} == {"Bearer hae_key"}


async def test_passes_on_a_stream_message_by_message() -> None:
    progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
    answer = {"jsonrpc": "2.0", "id": 1, "result": {}}

    async def stream(request: httpx.Request) -> httpx.Response:
        body = f": ping\r\n\r\nevent: message\r\ndata: {json.dumps(progress)}\r\n\r\ndata: {json.dumps(answer)}\r\n\r\n"
        return httpx.Response(200, text=body, headers={"content-type": "text/event-stream"})

    async with Client(stream) as client:
        assert await client.ask(request(1, "tools/call", name="wait_job")) == progress
        assert await client.said.get() == answer


async def test_a_wait_holds_up_nothing_and_ends_when_it_is_cancelled() -> None:
    ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    waiting = asyncio.Event()

    async def answering(request: httpx.Request) -> httpx.Response:
        if json.loads(request.content)["method"] == "tools/call":
            try:
                waiting.set()
                await asyncio.Event().wait()
            finally:
                ended.set_result(True)
        return await echo(request)

    async with Client(answering) as client:
        client.say(request(1, "tools/call", name="wait_job"))
        await waiting.wait()
        assert (await client.ask(request(2, "ping")))["id"] == 2
        client.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        assert await ended
        assert (await client.ask(request(3, "ping")))["id"] == 3
    assert client.said.empty()


async def test_a_server_that_is_away_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "_PAUSES_S", (0.0,))
    left = [1, 2, 3]

    async def answering(request: httpx.Request) -> httpx.Response:
        if left:
            left.pop()
            raise httpx.ConnectError("refused")
        return await echo(request)

    async with Client(answering) as client:
        assert (await client.ask(request(1, "tools/call", name="submit_job")))["result"]["method"] == "tools/call"
    assert len(client.requests) == 4


PROBLEM = {"code": "unauthorised", "detail": "this API key is unknown", "next_action": "make one", "retryable": False}
TROUBLE: list[tuple[Any, str]] = [
    (httpx.ConnectError("refused"), "unreachable"),
    (httpx.ReadError("reset"), "connection_lost"),
    (httpx.RemoteProtocolError("cut"), "connection_lost"),
    (httpx.Response(401, json=PROBLEM), "unauthorised"),
    (httpx.Response(502, text="<html>"), "unexpected_answer"),
    (httpx.Response(200, text="<html>"), "unexpected_answer"),
    (httpx.Response(200, text=": ping\n\n", headers={"content-type": "text/event-stream"}), "connection_lost"),
]


@pytest.mark.parametrize(("trouble", "code"), TROUBLE, ids=str)
async def test_trouble_is_a_result_of_a_call_and_an_error_of_all_else(
    trouble: Any, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "AWAY_S", 0.0)

    async def answering(request: httpx.Request) -> httpx.Response:
        if isinstance(trouble, Exception):
            raise trouble
        return httpx.Response(trouble.status_code, content=trouble.content, headers=trouble.headers)

    async with Client(answering) as client:
        called = (await client.ask(request(1, "tools/call", name="get_job")))["result"]
        assert called["isError"] and called["structuredContent"]["code"] == code
        assert json.loads(called["content"][0]["text"]) == called["structuredContent"]
        assert {"detail", "retryable", "next_action"} <= called["structuredContent"].keys()
        asked = (await client.ask(request(2, "tools/list")))["error"]
        assert asked["data"]["code"] == code and asked["message"] == asked["data"]["detail"]
        client.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert client.said.empty() and client.complaints
    assert not [line for line in client.complaints if "hae_key" in line]


async def test_errors_of_the_protocol_pass_whatever_their_status() -> None:
    error = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "Method not found"}}

    async def answering(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json=error)

    async with Client(answering) as client:
        assert await client.ask(request(1, "no/such")) == error


@pytest.mark.parametrize("line", [b"{\n", b"\xff\xfe\n", b"[1]\n", b"7\n", b"[" * 100_000 + b"\n"])
async def test_lines_that_are_no_message(line: bytes) -> None:
    async with Client(echo) as client:
        client.say(b"\n")
        client.say(line)
        answer = await client.said.get()
        assert answer["id"] is None and answer["error"]["code"] in (-32700, -32600)
    assert not client.requests


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({}, "HYPERNODE_API_KEY"),
        ({"HYPERNODE_API_KEY": " "}, "HYPERNODE_API_KEY"),
        ({"HYPERNODE_API_KEY": "hae_ü"}, "HYPERNODE_API_KEY"),
        ({"HYPERNODE_API_KEY": "hae_a b"}, "HYPERNODE_API_KEY"),
        ({"HYPERNODE_API_KEY": "k", "HYPERNODE_API_URL": "engine"}, "HYPERNODE_API_URL"),
        ({"HYPERNODE_API_KEY": "k", "HYPERNODE_API_URL": "ftp://engine"}, "HYPERNODE_API_URL"),
        ({"HYPERNODE_API_KEY": "k", "HYPERNODE_API_URL": "http://engine:x"}, "HYPERNODE_API_URL"),
    ],
)
def test_settings_that_are_wrong(
    environment: dict[str, str],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ConfigError, match=named):
        from_environment(environment)
    for name in ("HYPERNODE_API_KEY", "HYPERNODE_API_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main([]) == 2
    told = capsys.readouterr()
    assert named in told.err and not told.out


def test_settings_that_are_right() -> None:
    key = {"HYPERNODE_API_KEY": " hae_k\n"}
    assert from_environment(key) == BridgeConfig("http://127.0.0.1:3002/mcp", "hae_k")
    assert from_environment({**key, "HYPERNODE_API_URL": "https://x/y/"}).endpoint == "https://x/y/mcp"
    assert from_environment({**key, "HYPERNODE_API_URL": "https://x/mcp"}).endpoint == "https://x/mcp"
    assert from_environment({**key, "HYPERNODE_API_URL": "https://x"}, "https://z").endpoint == "https://z/mcp"
    assert "unencrypted" in from_environment(key, "http://10.0.0.1:3002").warning
    assert not from_environment(key, "http://[::1]:3002").warning


def test_the_help_teaches_a_configuration_that_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert "HYPERNODE_API_KEY" in shown and "--check" in shown
    settings = json.loads(HELP[HELP.index('  {"mcpServers"') : HELP.rindex("}}}}") + 4])
    assert settings["mcpServers"]["hypernode"]["args"] == ["hae-mcp"]
