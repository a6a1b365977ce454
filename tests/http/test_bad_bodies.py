"""Bodies, paths and queries that no route may take: a clear problem, nothing changed, never a 500."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.http.catalogue import JSON, Route, each_body, each_keyed, each_strict, nothing_changes, refused
from tests.http.conftest import as_
from tests.support.live_engine import Hae
from tools.registry import TOOLS

pytestmark = pytest.mark.asyncio(loop_scope="module")


NEEDS_NOTHING = [
    f"/v1/tools/{tool.name}" for tool in TOOLS.values() if tool.read_only and not tool.input_schema["required"]
]


@each_strict
async def test_an_unknown_field_is_named(still: Hae, route: Route) -> None:
    async with nothing_changes(still):
        told = await refused(still, route, 422, json={**(route.body or {}), "colour": "red"})
    assert told["field"] == "colour"
    assert told["errors"][0]["field"] == "colour"


@pytest.mark.parametrize(
    "path", ["/v1/jobs", "/v1/plans", "/v1/schedules", "/v1/quotes", "/v1/match", "/v1/availability"]
)
async def test_a_valid_body_is_shown_and_is_valid(still: Hae, path: str) -> None:
    bodies: tuple[Any, ...] = ({"colour": "red"}, [])
    for wrong in bodies:
        told = await refused(still, Route("POST", path, "alice"), 422, json=wrong)
        example = json.loads(told["next_action"].removeprefix("A valid body: "))
        answer = await as_(still, "alice").post(path, json=example)
        assert answer.status_code in (200, 201), answer.text


@each_body
async def test_a_body_that_is_no_object(still: Hae, route: Route) -> None:
    async with nothing_changes(still):
        for body in ("[]", '"text"', "7", "true", "null", ""):
            if route.path in NEEDS_NOTHING and body in ("null", ""):
                # No arguments at all, and none is needed.
                assert (await as_(still, route.who).post(route.path, content=body, headers=JSON)).status_code == 200
                continue
            await refused(still, route, 422, content=body, headers=JSON)


@each_body
async def test_malformed_json(still: Hae, route: Route) -> None:
    async with nothing_changes(still):
        for body in (b"{", b"{'a': 1}", b"}", b"\xff\xfe", b'{"walletAddress": "\\ud800"}', b"NaN", b"\0"):
            # A field that is wrong before the place where the JSON breaks may be what is told.
            told = await refused(still, route, 400, 422, content=body, headers=JSON)
            assert told["code"] == "malformed_json" or b"walletAddress" in body


@each_body
async def test_json_that_nests_1200_deep(still: Hae, route: Route) -> None:
    async with nothing_changes(still):
        for inner in ("[" * 1200 + "]" * 1200, '{"a":' * 1200 + "0" + "}" * 1200, "[" * 100 + "]" * 100):
            valid = json.dumps(route.body)[:-1] + (", " if route.body else "")
            for body in (inner, f'{valid}"result": {inner}}}', f'{valid}"input": {inner}}}'):
                told = await refused(still, route, 400, 422, content=body, headers=JSON)
                assert body is inner or told["code"] == "json_too_deep" or told["field"] in ("result", "input")


@each_body
async def test_a_body_that_is_too_large(still: Hae, route: Route) -> None:
    body = b'{"prompt": "' + b"x" * route.most + b'"}'

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    async with nothing_changes(still):
        for content in (body, chunks()):
            told = await refused(still, route, 413, code="body_too_large", content=content, headers=JSON)
            assert f"{route.most >> 20} MiB" in told["next_action"]


@each_body
async def test_another_content_type(still: Hae, route: Route) -> None:
    content = json.dumps(route.body)
    async with nothing_changes(still):
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x"):
            told = await refused(still, route, 415, content=content, headers={"content-type": kind})
            assert told["code"] == "unsupported_media_type"
            assert "application/json" in told["next_action"]


async def test_a_body_without_a_content_type_is_taken_for_json(still: Hae) -> None:
    for headers in ({}, {"content-type": "application/json; charset=utf-8"}, {"content-type": "application/x+json"}):
        answer = await as_(still, "alice").post("/v1/quotes", content=b"{}", headers=headers)
        assert answer.status_code == 200


@each_body
async def test_nul_characters_anywhere_in_the_body(still: Hae, route: Route) -> None:
    async with nothing_changes(still):
        for name in [*(route.body or {}), "input", "result", "metrics"]:
            for value in ("a\0b", ["a\0b"], {"a": {"b\0": 1}}):
                await refused(still, route, 422, json={**(route.body or {}), name: value})


@each_body
async def test_integers_past_int64(still: Hae, route: Route) -> None:
    async with nothing_changes(still):
        for number in (2**63, -(2**63) - 1, 10**40):
            for name in [*(route.body or {}), "gpus", "input", "result"]:
                for value in (number, {"deep": [{"er": number}]}):
                    await refused(still, route, 422, json={**(route.body or {}), name: value})


@each_keyed
async def test_nul_characters_and_no_utf8_in_paths_and_queries(still: Hae, route: Route) -> None:
    async with nothing_changes(still):
        for wrong in ("?state=%00", "?%00=1", "?cursor=%ff", "?a=%ed%a0%80"):
            told = await refused(still, Route(route.method, route.path + wrong, route.who), 400)
            assert told["code"] == "bad_query"
        for wrong in ("%00", "%ff"):
            # Behind a fixed last segment, that is a path that nothing, or something else, is served at.
            await refused(still, Route(route.method, route.path + wrong, route.who), 400, 404, 405)


@pytest.mark.parametrize("path", ["/v1/jobs/%00", "/v1/jobs/a%ff/wait", "/v1/node/%00/offers", "/v1/tools/%00"])
async def test_nul_characters_and_no_utf8_in_ids(still: Hae, path: str) -> None:
    method, who = ("POST", "alice") if "tools" in path else ("GET", "miner" if "node" in path else "alice")
    await refused(still, Route(method, path, who), 400, code="bad_path")


async def test_an_answer_does_not_grow_with_the_request(still: Hae) -> None:
    wrong: dict[str, Any] = {"x" * 5_000: 1, **{f"field{number}": 1 for number in range(5_000)}}
    for path in ("/v1/jobs", "/v1/tools/submit_job"):
        # problem_of holds the answer against a size.
        await refused(still, Route("POST", path, "alice"), 422, json=wrong)
