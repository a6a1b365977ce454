"""MCP over raw HTTP: what is refused before it is a message, and what the server's stop does to open streams."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import httpx
import pytest

from app.telemetry import RedactionFilter
from tests.http.conftest import as_, make_keys
from tests.http.test_mcp import told, until
from tests.support.live_engine import Hae, problem_of, running_engine, settings_for
from tests.support.mcp_clients import Progress, connected
from tests.support.servers import Servers

pytestmark = pytest.mark.asyncio(loop_scope="module")

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


async def test_a_live_key_is_needed_wherever_it_is(still: Hae) -> None:
    nobody, gone = still.client(), still.secrets["gone"]
    for path, method in (("/mcp", "POST"), ("/sse", "GET"), ("/sse/messages", "POST")):
        for headers in ({}, {"authorization": f"Bearer {gone}"}, {"authorization": "Bearer nonsense"}):
            answer = await nobody.request(method, path, headers=headers, content=b"{")
            problem = problem_of(answer, 401, code="unauthorised")
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert problem["instance"] == path
        face, _, rest = path[1:].partition("/")
        for key in (gone, "nonsense"):
            answer = await nobody.request(method, f"/{face}/k/{key}" + (f"/{rest}" if rest else ""), content=b"{")
            # The URL holds a key: it is not repeated.
            assert key not in answer.text and problem_of(answer, 401)["instance"] == path
    answer = await as_(still, "miner").post("/mcp", json=PING)
    assert "scope" in problem_of(answer, 403, code="forbidden")["detail"]


async def test_pages_from_elsewhere_may_not_call(still: Hae) -> None:
    alice = as_(still, "alice")
    port = still.url.rsplit(":", 1)[1]
    for origin in (
        "http://evil.example.com",
        f"http://evil.example.com:{port}",
        "null",
        "",
        "http://127.0.0.1.evil.com",
    ):
        for host in (None, "evil.example.com"):
            headers = {"origin": origin, **({"host": host} if host else {})}
            problem_of(await alice.post("/mcp", json=PING, headers=headers), 403, code="origin_not_allowed")
    for origin in (still.url, "http://localhost:6274", "http://[::1]:80"):
        answer = await alice.post("/mcp", json=PING, headers={"origin": origin})
        assert answer.json() == {"jsonrpc": "2.0", "id": 1, "result": {}}


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS"])
async def test_only_posts_are_taken(still: Hae, method: str) -> None:
    answer = await as_(still, "alice").request(method, "/mcp")
    problem_of(answer, 405)
    assert answer.headers["allow"] == "POST"


async def test_limits_and_types_are_those_of_every_route(still: Hae) -> None:
    alice = as_(still, "alice")
    json_ = {"content-type": "application/json"}
    problem_of(await alice.post("/mcp", content=b" " * (1 << 20) + b"{}", headers=json_), 413)
    problem_of(await alice.post("/mcp", content=b"{}", headers={"content-type": "text/plain"}), 415)
    problem_of(await alice.post("/mcp", content=b"{}"), 415)
    problem_of(await alice.post("/mcp", json=PING, headers={"accept": "text/html"}), 406)
    assert (await alice.post("/mcp", json=PING, headers={"accept": "application/json"})).json()["result"] == {}
    only_stream = await alice.post("/mcp", json=PING, headers={"accept": "text/event-stream"})
    assert only_stream.text.startswith("event: message\r\ndata: {")
    for path in ("/mcp/k", "/mcp/k/", "/mcp/k/x/y", "/sse/k/x/y"):
        problem_of(await alice.post(path, json=PING), 404)


NO_MESSAGES: list[tuple[Any, int]] = [
    ("{", -32700),
    ("\xff", -32700),
    ("[" * 100 + "]" * 100, -32700),
    ([PING], -32600),
    ("", -32700),
    (1, -32600),
    ({**PING, "jsonrpc": "1.0"}, -32600),
    ({**PING, "id": None}, -32600),
    ({**PING, "id": True}, -32600),
    ({**PING, "id": 1.5}, -32600),
    ({**PING, "method": 7}, -32600),
    ({**PING, "method": ""}, -32600),
    ({**PING, "params": [1]}, -32600),
    ({"jsonrpc": "2.0", "id": 1}, -32600),
]


@pytest.mark.parametrize(("body", "code"), NO_MESSAGES, ids=str)
async def test_what_is_no_message(still: Hae, body: Any, code: int) -> None:
    content = body.encode("latin-1") if isinstance(body, str) else json.dumps(body).encode()
    answer = await as_(still, "alice").post("/mcp", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    said = answer.json()
    assert (said["id"], said["error"]["code"]) == (None, code)
    assert said["error"]["message"]


async def test_revisions_and_their_errors(still: Hae) -> None:
    alice = as_(still, "alice")

    async def said(message: dict[str, Any], **headers: str) -> tuple[int, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await alice.post("/mcp", json=message, headers=named)
        return answer.status_code, answer.json() if answer.content else None

    asked = {**PING, "method": "tools/list", "params": {"_meta": ENVELOPE}}
    modern = {"mcp_protocol_version": "2026-07-28", "mcp_method": "tools/list"}
    status, answer = await said(asked, **modern)
    assert status == 200 and answer["result"]["resultType"] == "complete" and answer["result"]["ttlMs"] > 0
    # Headers that say otherwise than the body, none, and revisions that there are not.
    for headers in ({**modern, "mcp_method": "tools/call"}, {}, {"mcp_protocol_version": "2026-07-28"}):
        status, answer = await said(asked, **headers)
        assert (status, answer["error"]["code"], answer["id"]) == (400, -32020, 1)
    status, answer = await said(PING, mcp_protocol_version="1999-01-01")
    assert status == 400 and answer["error"]["code"] == -32602
    newer = {**ENVELOPE, "io.modelcontextprotocol/protocolVersion": "2099-01-01"}
    status, answer = await said(
        {**asked, "params": {"_meta": newer}}, **{**modern, "mcp_protocol_version": "2099-01-01"}
    )
    assert status == 400 and answer["error"]["data"]["supported"] == ["2026-07-28"]

    unknown = {**PING, "method": "no/such"}
    assert (await said(unknown))[1]["error"]["code"] == -32601
    status, answer = await said({**unknown, "params": {"_meta": ENVELOPE}}, **{**modern, "mcp_method": "no/such"})
    assert (status, answer["error"]["code"]) == (404, -32601)
    status, answer = await said({**PING, "method": "prompts/get", "params": {"name": 5}})
    assert (status, answer["error"]["code"]) == (200, -32602)
    status, answer = await said({**PING, "method": "prompts/get", "params": {"name": "\0"}})
    assert (status, answer["error"]["code"]) == (200, -32602)

    for silent in (
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
        {"jsonrpc": "2.0", "id": 9, "result": {}},
    ):
        assert await said(silent) == (202, None)


@pytest.mark.parametrize("arguments", [[], "x", 7, True])
async def test_arguments_that_are_no_object(still: Hae, arguments: Any) -> None:
    message = {**PING, "method": "tools/call", "params": {"name": "get_job", "arguments": arguments}}
    said = (await as_(still, "alice").post("/mcp", json=message)).json()["result"]
    assert said["isError"] and said["structuredContent"]["field"] == "arguments"
    assert '{"job_id":' in said["structuredContent"]["next_action"]
    message["params"] = {"name": arguments}
    said = (await as_(still, "alice").post("/mcp", json=message)).json()["result"]
    assert said["isError"] and said["structuredContent"]["code"] in ("invalid_input", "tool_not_found")


async def test_a_session_takes_messages_of_its_own_key_only(still: Hae) -> None:
    alice = as_(still, "alice")
    async with alice.stream("GET", "/sse") as stream:
        lines = stream.aiter_lines()
        assert await anext(lines) == "event: endpoint"
        endpoint = (await anext(lines)).removeprefix("data: ")
        problem_of(await as_(still, "bob").post(endpoint, json=PING), 404, code="session_not_found")
        problem_of(await alice.post("/sse/messages?session_id=x", json=PING), 404, code="session_not_found")
        problem_of(await alice.post("/sse/messages", json=PING), 404, code="session_not_found")
        problem_of(await alice.post(endpoint, json={"jsonrpc": "2.0"}), 400, code="malformed_message")
        problem_of(await alice.post(endpoint, json={**PING, "method": "\0"}), 422, code="invalid_input")
        problem_of(await alice.post(endpoint, content=b"{"), 400, code="malformed_json")
        assert (await alice.post(endpoint, json=PING)).status_code == 202
        assert [await anext(lines) for _ in range(2)] == ["", "event: message"]
        assert json.loads((await anext(lines)).removeprefix("data: ")) == {"jsonrpc": "2.0", "id": 1, "result": {}}
    await until_gone(alice, endpoint)


async def until_gone(alice: httpx.AsyncClient, endpoint: str) -> None:
    async with asyncio.timeout(10):
        while (await alice.post(endpoint, json=PING)).status_code != 404:
            pass


async def test_a_dropped_connection_ends_its_wait(still: Hae) -> None:
    alice = as_(still, "alice")
    job_id = (await alice.post("/v1/jobs", json={"type": "render"})).json()["job_id"]
    message = {**PING, "method": "tools/call", "params": {"name": "wait_job", "arguments": {"job_id": job_id}}}
    waiting = asyncio.create_task(alice.post("/mcp", json=message))
    await until(lambda: {job_id} <= {*still.engine.job_desk.keys()})
    waiting.cancel()
    await asyncio.wait({waiting})
    await until(lambda: not {job_id} & {*still.engine.job_desk.keys()})


async def test_the_stop_ends_streams_and_answers_waits(database_url: str, servers: Servers) -> None:
    stop = asyncio.Event()
    settings = settings_for(database_url, servers.redis_url)
    async with running_engine(settings, worker=False, stop=stop) as hae:
        await make_keys(hae)
        secret, engine = hae.secrets["alice"], hae.engine

        async with (
            connected(hae.url, secret, "modern") as modern,
            connected(hae.url, secret, "handshake") as handshake,
            as_(hae, "alice").stream("GET", "/sse") as stream,
        ):
            for client in (modern, handshake):
                # Clients look results up in it, when nobody may be there any more.
                await client.list_tools()
            made = [told(await modern.call_tool("submit_job", {"type": "render"}))["job_id"] for _ in range(2)]
            waits = [
                asyncio.create_task(modern.call_tool("wait_job", {"job_id": made[0], "wait_s": 45})),
                asyncio.create_task(
                    handshake.call_tool("wait_job", {"job_id": made[1], "wait_s": 45}, progress_callback=Progress())
                ),
            ]
            await until(lambda: set(made) == set(engine.job_desk.keys()))
            stop.set()
            for job_id, answer in zip(made, await asyncio.gather(*waits), strict=True):
                job = told(answer)
                assert (job["job_id"], job["state"], job["final"]) == (job_id, "pending", False)
            assert (await stream.aread()).startswith(b"event: endpoint")


async def test_keys_in_urls_are_not_logged(still: Hae, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = still.secrets["alice"]
    # Off again at the end: the handler is there for all tests.
    masking = RedactionFilter()
    caplog.handler.addFilter(masking)
    try:
        async with connected(still.url, secret, "modern, key in URL") as client:
            await client.list_tools()
    finally:
        caplog.handler.removeFilter(masking)
    ours = [record for record in caplog.records if record.name.partition(".")[0] not in ("httpx", "httpx2", "mcp")]
    assert ours and not [record for record in ours if secret in record.getMessage()]
