from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar, Request, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from app.core import errors
from app.http.body import MAX_BODY, Input, StrictRequest, TextGuard
from app.http.problems import exception_handlers
from tests.http.live import serving


class Job(Input):
    name: str
    gpus: int = 1
    payload: dict[str, Any] = msgspec.field(default_factory=dict)


class Left(Input, tag="left"):
    x: int


class Right(Input, tag="right"):
    y: int


@post("/jobs")
async def submit(data: JSONBody[Job]) -> Job:
    return data


@post("/many")
async def many(data: JSONBody[list[Job]]) -> int:
    return len(data)


@post("/either")
async def either(data: JSONBody[Left | Right]) -> str:
    return type(data).__name__


@post("/maybe")
async def maybe(data: JSONBody[Job | None]) -> str:
    return "nothing" if data is None else data.name


@post("/free")
async def free(request: Request[Any, Any, Any]) -> Any:
    return await request.json()


@get("/jobs/{name:str}")
async def read(name: FromPath[str], limit: FromQuery[int] = 1) -> str:
    return name * limit


@get("/fails/{kind:str}")
async def fails(kind: FromPath[str]) -> None:
    if kind == "bug":
        raise ValueError("the secret")
    raise {
        "gone": errors.Gone("The offer has expired.", code="offer_expired"),
        "away": errors.Unavailable("No database.", retry_after=2.5),
        "key": errors.Unauthorised("No key."),
    }[kind]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = Litestar(
        [submit, many, either, maybe, free, read, fails],
        exception_handlers=exception_handlers(),
        request_class=StrictRequest,
        request_max_body_size=MAX_BODY,
        middleware=[TextGuard()],
        logging_config=None,
        openapi_config=None,
    )
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert {"type", "title", "status", "detail", "code", "retryable", "retry_after", "next_action"} <= set(document)
    assert (document["status"], document["code"]) == (status, code)
    assert document["detail"]
    return document


async def test_good_bodies_arrive_as_their_types(client: httpx.AsyncClient) -> None:
    assert (await client.post("/jobs", json={"name": "a"})).json() == {"name": "a", "gpus": 1, "payload": {}}
    assert (await client.post("/many", json=[{"name": "a"}, {"name": "b"}])).json() == 2
    assert (await client.post("/either", json={"type": "right", "y": 1})).text == "Right"
    assert (await client.post("/maybe", json={"name": "a"})).text == "a"
    assert (await client.post("/maybe", content=b"null")).text == "nothing"
    assert (await client.post("/free", json={"a": [1]})).json() == {"a": [1]}


async def test_wrong_fields_are_all_named(client: httpx.AsyncClient) -> None:
    document = problem(await client.post("/jobs", json={"gpus": "2", "nmae": "a"}), 422, "invalid_input")
    assert {item["field"] for item in document["errors"]} == {"gpus", "nmae", "name"}
    document = problem(await client.post("/many", json=[{"name": "a"}, {"name": 1}]), 422, "invalid_input")
    assert document["field"] == "[1].name"


async def test_a_query_parameter_of_the_wrong_type_is_named(client: httpx.AsyncClient) -> None:
    document = problem(await client.get("/jobs/a?limit=x"), 422, "invalid_input")
    assert document["errors"][0]["field"] == "limit"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid_input"),
        (b"{", 400, "malformed_json"),
        (b'{"name":"\xff"}', 400, "malformed_json"),
        (b'{"name":"a","payload":{"x":' + b"[" * 1_200 + b"]" * 1_200 + b"}}", 400, "json_too_deep"),
        (rb'{"name":"a\u0000"}', 422, "invalid_input"),
        (b'{"name":"a","payload":{"n":9223372036854775808}}', 422, "invalid_input"),
        (b'{"name":"' + b"a" * MAX_BODY + b'"}', 413, "body_too_large"),
    ],
)
async def test_bad_bodies_are_client_errors(
    client: httpx.AsyncClient, body: bytes, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("/jobs", "/free"):
        if not (path == "/free" and body == b""):
            problem(await client.post(path, content=body), status, code)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_chunked_body_is_counted_as_it_comes(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * (MAX_BODY // 16)

    problem(await client.post("/jobs", content=chunks()), 413, "body_too_large")
    assert (await client.post("/jobs", json={"name": "still serving"})).status_code == 201


@pytest.mark.parametrize("path", ["/jobs/%00", "/jobs/a%00b", "/jobs/%ff", "/jobs/a?limit=1&x=%00", "/jobs/a?%fe=1"])
async def test_odd_text_in_paths_and_queries_is_refused(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.status_code == 400
    assert response.json()["code"] in {"bad_path", "bad_query"}


async def test_utf8_in_paths_is_fine(client: httpx.AsyncClient) -> None:
    assert (await client.get("/jobs/%C3%A9?limit=2&note=%E2%82%AC")).text == "éé"


async def test_routing_errors_are_problems(client: httpx.AsyncClient) -> None:
    problem(await client.get("/nothing"), 404, "no_such_route")
    wrong_method = await client.delete("/jobs")
    problem(wrong_method, 405, "method_not_allowed")
    assert "POST" in wrong_method.headers["allow"]


async def test_head_and_options_have_no_body(client: httpx.AsyncClient) -> None:
    head = await client.head("/nothing")
    assert (head.status_code, head.content) == (404, b"")
    options = await client.options("/jobs")
    assert (options.status_code, options.content) == (204, b"")
    assert "POST" in options.headers["allow"]


async def test_domain_errors_are_problems(client: httpx.AsyncClient) -> None:
    problem(await client.get("/fails/gone"), 410, "offer_expired")
    away = await client.get("/fails/away")
    assert problem(away, 503, "unavailable")["retry_after"] == 2.5
    assert away.headers["retry-after"] == "3"
    key = await client.get("/fails/key")
    problem(key, 401, "unauthorised")
    assert key.headers["www-authenticate"].startswith("Bearer")


async def test_a_bug_is_logged_with_its_traceback_and_not_told(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    document = problem(await client.get("/fails/bug"), 500, "internal_error")
    assert "secret" not in msgspec.json.encode(document).decode()
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert document["reference"] in record.getMessage()
    assert record.exc_info is not None
    assert "the secret" in str(record.exc_info[1])


async def test_a_client_that_leaves_in_its_body_is_no_error(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await client.post("/jobs", json={"name": "a"})).status_code == 201
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
