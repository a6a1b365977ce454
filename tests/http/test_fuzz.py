"""Random requests to every route: refused or taken, never a failure of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http.catalogue import JSON, STRICT, WITH_BODY, Route
from tests.http.conftest import as_
from tests.support.live_engine import Hae

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUICK = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["", "0", "-1", "1e9", "\0", "job_1", "llm_inference", "A100", "é", "🚀", "%00", "../..", "null"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)


def bodies(route: Route, names: list[str]) -> st.SearchStrategy[Any]:
    """Valid bodies with some fields changed or added, and anything at all."""
    changed = st.dictionaries(st.sampled_from(names), values, max_size=3)
    return st.one_of(changed.map(lambda change: {**(route.body or {}), **change}), values)


async def ask(running: Hae, route: Route, **request: Any) -> None:
    answer = await as_(running, route.who).request(route.method, route.path, **request)
    assert answer.status_code < 500, (route, request, answer.text)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        told = answer.json()
        assert told["status"] == answer.status_code
        assert told["code"] and told["detail"] and told["next_action"]


@pytest.fixture(scope="module")
def names() -> list[str]:
    """Field names of all bodies, so that random ones meet real types."""
    found = {name for route in WITH_BODY for name in route.body or {}}
    others = "gpus input idempotency_key wait_s logs metrics vram location capabilities requirements percent fresh"
    return sorted(found | set(others.split()) | {"max_price_per_gpu_hour_hyper"})


@pytest.mark.parametrize("route", WITH_BODY, ids=str)
async def test_random_bodies(still: Hae, route: Route, names: list[str]) -> None:
    found: list[Any] = []

    # Hypothesis draws in its own, synchronous way; the requests are sent afterwards, in this loop.
    @QUICK
    @given(body=bodies(route, names))
    def draw(body: Any) -> None:
        found.append(body)

    draw()
    for body in found:
        content = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        await ask(still, route, content=content, headers=JSON)


@pytest.mark.parametrize("route", STRICT[:5], ids=str)
async def test_random_bytes(still: Hae, route: Route) -> None:
    found: list[bytes] = []

    @QUICK
    @given(content=st.one_of(st.binary(max_size=60), st.text('{}[]":,0123e-. \\un', max_size=40).map(str.encode)))
    def draw(content: bytes) -> None:
        found.append(content)

    draw()
    for content in found:
        await ask(still, route, content=content, headers=JSON)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs/{}",
        "/v1/jobs/{}/wait?wait_s=0",
        "/v1/jobs?{}",
        "/v1/jobs/{}/cancel",
        "/v1/tools/{}",
        "/v1/node/{}/offers?wait=0",
        "/api/jobs/available?wallet={}",
    ],
)
async def test_random_paths_and_queries(still: Hae, path: str) -> None:
    found: list[str] = []
    pieces = st.one_of(
        st.text("abc_-0%/?&=;.~", max_size=30), st.sampled_from(["%00", "%ff", "limit=1&limit=2", "state=x", "cursor="])
    )

    @QUICK
    @given(piece=pieces)
    def draw(piece: str) -> None:
        found.append(piece)

    draw()
    method = "POST" if "cancel" in path or "tools" in path else "GET"
    who = "miner" if "node" in path or "api" in path else "alice"
    for piece in found:
        await ask(still, Route(method, path.format(piece), who))
