"""The OpenAPI document of the real application: every route, with its types, as a stranger would read it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.http.catalogue import PUBLIC
from tests.support.live_engine import Hae

_OF_PLUGINS = "/v1/agents/{plugin}/"

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def operations(still: Hae) -> list[tuple[str, str, dict[str, Any]]]:
    document = (await still.client().get("/schema/openapi.json")).json()
    return [(method, path, operation) for path, item in document["paths"].items() for method, operation in item.items()]


async def test_every_operation_says_what_it_is(still: Hae) -> None:
    found = await operations(still)
    ids = [operation["operationId"] for _, _, operation in found]
    assert len(set(ids)) == len(ids)
    for method, path, operation in found:
        where = (method, path)
        assert re.fullmatch(r"[a-z][a-z_]+", operation["operationId"]), where
        assert operation["summary"][0].isupper(), where
        assert "_" not in operation["summary"], where
        assert operation["description"], where
        assert operation["tags"], where
        assert ("security" in operation) is (path in PUBLIC), where
        if path in PUBLIC:
            assert operation["security"] == [{}]
        for parameter in operation.get("parameters", ()):
            assert not parameter["name"].endswith("_"), where


async def test_every_operation_has_types(still: Hae) -> None:
    document = (await still.client().get("/schema/openapi.json")).json()
    schemas = document["components"]["schemas"]
    for method, path, operation in await operations(still):
        where = (method, path)
        if "requestBody" in operation:
            body = operation["requestBody"]["content"]["application/json"]["schema"]
            # These take free-form objects: a tool's arguments, an event of the operator's own, a plugin's requests.
            free = path.startswith(("/v1/tools/", _OF_PLUGINS)) or path.endswith("/webhooks/trigger")
            assert "$ref" in body or free, where
        good = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
        (kind, content), *_ = good["content"].items()
        if kind == "application/json":
            assert content["schema"].keys() & {"$ref", "oneOf", "anyOf"} or path.startswith(_OF_PLUGINS), where
        elif kind == "image/svg+xml":
            assert path == "/v1/plans/{plan_id}/graph.svg", where
        else:
            assert kind == "text/event-stream" and path in ("/v1/jobs/{job_id}/events", _OF_PLUGINS + "events"), where
        assert operation["responses"]["default"]["content"]["application/problem+json"]
    for name, schema in schemas.items():
        assert re.fullmatch(r"[A-Z][A-Za-z]+", name), name
        assert schema.get("properties") or schema.get("enum") or name == "NetworkMetrics", name


async def test_the_document_as_a_whole(still: Hae) -> None:
    document = (await still.client().get("/schema/openapi.json")).json()
    schemas = document["components"]["schemas"]
    assert schemas["SubmitJob"]["properties"]["min_vram_gb"]["description"]
    assert document["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"
    names = {tag["name"] for tag in document["tags"]}
    assert names == {
        "tools",
        "agents",
        "jobs",
        "events",
        "webhooks",
        "schedules",
        "availability",
        "nodes",
        "operators",
        "compatibility",
        "public",
    }
