"""The OpenAPI document at /schema: what it says of this API as a whole, and the three pages that show it."""

from __future__ import annotations

import copy
from importlib import metadata
from typing import Any

import msgspec
from litestar import Request, Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, YamlRenderPlugin
from litestar.openapi.spec import Components, License, SecurityScheme, Tag

from app.http.pages.viewers import PAGE_HEADERS, SCHEMA_PATH, static_router, viewers
from app.http.problems import MEDIA_TYPE, Problem

__all__ = ["openapi_config", "static_router"]

_DESCRIPTION = """\
Submit GPU jobs; the engine matches each one to a Hypernode node and drives it to its end.

## First call
Create a key with `hae keys create`, then send it with every request:
```
curl -H "Authorization: Bearer $HYPERNODE_API_KEY" "$HYPERNODE_API_URL/v1/availability"
```
A key has scopes: `agent` submits and follows jobs, `node` takes offers, `operator` sees everything, `webhook`
calls by signed message instead of the key.

## Submit once, even over a bad network
Send `Idempotency-Key: <your own id>` with every write. The same key with the same body gets the same answer
again; with another body it gets 409 `idempotency_key_reused`.

## Follow a job
* **Wait**: `GET /v1/jobs/{job_id}/wait?wait_s=30` answers when the job is over, or after that many seconds (at
  most 45) with the state it has. Give your client a time-out above 45 s.
* **Stream**: the job's `events` are server-sent events; reconnect with `Last-Event-ID` and none is missed.
* **Feed**: `GET /v1/events?after=…&wait_s=30` tells of all your jobs at once, each event at a position of its own.

A server that restarts ends streams and answers waits at once: ask again while `final` is false.

## Errors
Every error is `application/problem+json` (RFC 9457). Programs decide by `code` and `retryable`, and wait
`retry_after` seconds where it is given; people read `detail` and `next_action`; `errors` names every wrong
field.

| status | meaning |
|---|---|
| 400 | not readable: no JSON, not UTF-8, nested deeper than 64 levels |
| 401, 403 | no valid key; the key lacks the scope, or may not do this |
| 402 | it may cost more than the key may spend: `figures` says how much is left |
| 404 | no such thing, or not yours |
| 409 | the state of the thing does not allow it, or an idempotency key was used for another body |
| 410 | its time is over, as for an offer after its expiry |
| 413, 415 | the body is larger than 1 MiB (a batch of jobs: 16 MiB); its Content-Type is not JSON |
| 422 | readable, but wrong: unknown field, wrong type, value out of range |
| 429, 503 | wait `retry_after` seconds and send the same request again |
| 500 | our fault; the `reference` finds it in the log |
| 502 | a plugin for agents failed; the `detail` names it |

## Values
* Amounts of HYPER are decimal strings; they are exact, floats are not.
* Ids say what they are of (`job_…`, `node_…`, `offer_…`, `evt_…`) and sort by time. Treat them as opaque.
* Times are RFC 3339 in UTC. Unknown fields and query parameters of a request are refused; expect new fields in
  answers.
* Text holds no NUL characters; integers fit in 64 bits.
"""

_TAGS = [
    Tag("tools", "What an AI agent can call: one definition each, also as OpenAI, Anthropic and MCP schemas."),
    Tag("agents", "For agents that speak in a form of their own: plugins, their requests and events."),
    Tag("jobs", "Submit, read, list, follow and cancel jobs."),
    Tag("events", "What happens, in one feed without gaps."),
    Tag("webhooks", "URLs of agents that are told of what happens to their jobs."),
    Tag("schedules", "Jobs that are submitted again and again."),
    Tag("availability", "What the network could run now, and at which price."),
    Tag("nodes", "For nodes: register, stay online, take offers, report progress and results."),
    Tag("operators", "For the people who run the engine."),
    Tag("compatibility", "The routes of the earlier engine and its workers, with their shapes."),
    Tag("public", "Health and public figures; no key needed."),
]

_PROBLEM_RESPONSE = {
    "description": "Every error: a problem document (RFC 9457).",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def openapi_config(opt: dict[str, Any] | None = None) -> OpenAPIConfig:
    """The configuration for ``Litestar(openapi_config=…)``; ``opt`` goes to the pages' router."""
    return OpenAPIConfig(
        title="Hypernode Automation Engine",
        version=metadata.version("hypernode-automation-engine"),
        summary="Matches GPU jobs to Hypernode nodes and drives every job to its end.",
        description=_DESCRIPTION,
        license=License(name="MIT", identifier="MIT"),
        tags=list(_TAGS),
        use_handler_docstrings=True,
        components=Components(
            security_schemes={
                "apiKey": SecurityScheme(
                    type="http",
                    scheme="bearer",
                    description="An API key from `hae keys create`, sent as `Authorization: Bearer <key>`.",
                )
            }
        ),
        security=[{"apiKey": []}],
        render_plugins=[*viewers(), _JsonDocument(), _YamlDocument()],
        openapi_router=Router(
            SCHEMA_PATH,
            route_handlers=[],
            include_in_schema=False,
            response_headers=PAGE_HEADERS,
            opt=opt or {},
        ),
    )


class _JsonDocument(JsonRenderPlugin):
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return self.render_json(request, with_problems(openapi_schema))


class _YamlDocument(YamlRenderPlugin):
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, with_problems(openapi_schema))


def with_problems(schema: dict[str, Any]) -> dict[str, Any]:
    """A copy of the document that tells the truth about errors.

    Litestar's own 400s are out, a default problem is in; tags that no operation has are left out too.
    """
    document = copy.deepcopy(schema)
    used: set[str] = set()
    for item in document.get("paths", {}).values():
        for operation in item.values():
            if isinstance(operation, dict) and "responses" in operation:
                operation["summary"] = operation["operationId"].replace("_", " ").capitalize()
                operation["responses"].pop("400", None)
                operation["responses"].setdefault("default", _PROBLEM_RESPONSE)
                used.update(operation.get("tags", ()))
    document["tags"] = [tag for tag in document.get("tags", ()) if tag["name"] in used]
    _, components = msgspec.json.schema_components([Problem], ref_template="#/components/schemas/{name}")
    document.setdefault("components", {}).setdefault("schemas", {}).update(components)
    return document
