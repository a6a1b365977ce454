"""Who may call what: keys missing, unknown, revoked or of another scope; methods and paths that are not there."""

from __future__ import annotations

import pytest

from tests.http.catalogue import FOREIGN, HASH, KEYED, PUBLIC, SIGNED, Route, each_keyed, nothing_changes
from tests.http.conftest import as_
from tests.support.live_engine import Hae, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

BAD_HEADERS: list[tuple[bytes, bytes] | None] = [
    None,
    (b"authorization", b""),
    (b"authorization", b"Bearer"),
    (b"authorization", b"Basic YTpi"),
    (b"authorization", b"hae_x"),
    (b"authorization", b"Bearer hae_" + b"x" * 43),
    (b"authorization", b"Bearer " + b"x" * 4000),
    (b"authorization", b"Bearer \xff\xfe\x80"),
    (b"authorization", b"Bearer \xc3\xa9"),
    (b"x-api-key", b"hae_unknown"),
    (b"x-api-key", b"\xff"),
]


@each_keyed
async def test_no_key_or_a_wrong_one(still: Hae, route: Route) -> None:
    revoked = (b"authorization", b"Bearer " + still.secrets["gone"].encode())
    async with nothing_changes(still):
        for header in [*BAD_HEADERS, revoked]:
            # The body is no JSON: who may not call is told so, not what is wrong with the body.
            answer = await still.client().request(
                route.method, route.path, headers=[header] if header else [], content=b"{"
            )
            told = problem_of(answer, 401, code="unauthorised")
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "hae keys create" in told["next_action"]


@each_keyed
async def test_a_key_of_another_scope(still: Hae, route: Route) -> None:
    others = {"alice": ["miner"], "miner": ["alice", "ops"], "ops": ["alice", "miner"]}[route.who]
    async with nothing_changes(still):
        for other in others:
            answer = await as_(still, other).request(route.method, route.path, content=b"{")
            told = problem_of(answer, 403, code="forbidden")
            assert "scope" in told["detail"]
            assert "--scope" in told["next_action"]


@pytest.mark.parametrize("path", PUBLIC)
async def test_public_routes_need_no_key(still: Hae, path: str) -> None:
    assert (await still.client().get(path)).status_code == 200
    assert (await still.client().get(path, headers={"authorization": "Bearer nonsense"})).status_code == 200


async def test_every_other_route_needs_one(still: Hae) -> None:
    """The catalogue that these tests go through is complete: it is held against the OpenAPI document."""
    document = (await still.client().get("/schema/openapi.json")).json()
    told = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    mine = [route for route in KEYED if not route.path.startswith(FOREIGN)]
    patterns = {_pattern(route) for route in mine} | {f"GET {path}" for path in PUBLIC}
    assert told == patterns | SIGNED


def _pattern(route: Route) -> str:
    parts = route.path.split("/")
    # Ids are named for what they are of, but for this one.
    parts = ["schedule_01jd3k5m" if part.startswith("sched_") else part for part in parts]
    named = ["{" + part.partition("_")[0] + "_id}" if "_01jd3k5m" in part else part for part in parts]
    path = "/".join(named).replace(HASH, "{requirements_hash}")
    path = path.replace("/v1/agents/eliza", "/v1/agents/{plugin}").replace("{plugin}/actions", "{plugin}/{path}")
    for place in ("/v1/tools", "/v1/events/consumers"):
        path = path.replace(f"{place}/{parts[-1]}", place + "/{name}")
    return f"{route.method} {path}"


async def test_a_key_in_x_api_key_works(still: Hae) -> None:
    answer = await still.client().get("/v1/tools", headers={"x-api-key": still.secrets["alice"]})
    assert answer.status_code == 200


@each_keyed
async def test_other_methods(still: Hae, route: Route) -> None:
    async with nothing_changes(still):
        there = {one.method for one in KEYED if one.path == route.path}
        for other in {"DELETE", "PATCH", "TRACE"} - there:
            answer = await as_(still, route.who).request(other, route.path)
            problem_of(answer, 405, code="method_not_allowed")
            assert route.method in answer.headers["allow"]
        head = await as_(still, route.who).head(route.path)
        assert (head.status_code, head.content) == (405, b"")
        assert (await as_(still, route.who).options(route.path)).status_code == 204


@pytest.mark.parametrize("path", ["/", "/v2/jobs", "/v1/jobs/a/b/c", "/v1/", "/admin", "/%2e%2e/etc", "/v1/job"])
async def test_paths_that_nothing_is_served_at(still: Hae, path: str) -> None:
    for client in (still.client(), as_(still, "alice")):
        problem_of(await client.get(path), 404, code="no_such_route")
