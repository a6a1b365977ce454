"""Agents that speak in a form of their own: plugins read their requests, and show them answers and events."""

import logging
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter

from agent_plugins.protocol import WEBHOOK, AgentRequest
from app.core.access import Principal, Scope
from app.http.body import decode
from app.http.engine import Engine
from app.http.problems import problem_from
from app.http.routes.agent_bodies import (
    PluginAnswer,
    PluginsAnswer,
    PluginStandings,
    PluginWebhook,
    shown,
    standings_of,
)
from app.http.routes.jobs import IdempotencyKey
from app.http.security import PUBLIC, scoped
from app.http.streams.follower import Follower
from app.http.streams.plugins import as_array, shown_by
from app.http.streams.records import ALL
from app.http.streams.sse import EventStream
from app.services import feed, signed_calls

log = logging.getLogger(__name__)


@get("/v1/agents", operation_id="list_agents")
async def list_agents(engine: NamedDependency[Engine]) -> PluginsAnswer:
    """The plugins there are, and the requests that each takes."""
    return PluginsAnswer(plugins=[shown(host) for host in engine.plugins.all.values()])


@get("/v1/agents/{plugin:str}", operation_id="get_agent")
async def get_agent(engine: NamedDependency[Engine], plugin: FromPath[str]) -> PluginAnswer:
    """One plugin, and the requests that it takes."""
    return shown(engine.plugins.get(plugin))


@post("/v1/agents/{plugin:str}/{path:path}", operation_id="call_agent", status_code=200)
async def call_agent(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    plugin: FromPath[str],
    path: FromPath[str],
    data: JSONBody[Any] = None,
    idempotency_key: IdempotencyKey = "",
) -> Response[Any]:
    """Send a request in a plugin's own form; answers in that form, errors too. The rights of your key apply."""
    request = AgentRequest(path.strip("/"), data, request_id=idempotency_key)
    return await _answered(engine, principal, plugin, request)


@get("/v1/agents/{plugin:str}/webhook", operation_id="get_agent_webhook")
async def get_webhook(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], plugin: FromPath[str]
) -> PluginWebhook:
    """Where your key's signed messages go, and their secret. The key needs the scope webhook."""
    engine.plugins.get(plugin)
    secret = await signed_calls.secret_for(engine.db, principal)
    path = f"/v1/agents/{plugin}/webhook?key={principal.key_id}"
    return PluginWebhook(path=path, key_id=principal.key_id, secret=secret)


@post(
    "/v1/agents/{plugin:str}/webhook",
    operation_id="call_agent_by_webhook",
    status_code=200,
    opt=PUBLIC,
)
async def call_by_webhook(
    request: Request[Any, Any, Any],
    engine: NamedDependency[Engine],
    plugin: FromPath[str],
    key: Annotated[str, QueryParameter(max_length=40, description="Id of the key whose secret signed it")] = "",
) -> Response[Any]:
    """Send a request as a signed message (Standard Webhooks) instead of with a key: see `GET` of the same path.
    A message that comes again makes nothing twice."""
    body = await request.body()
    signed = await signed_calls.verified(engine.db, key, dict(request.headers), body)
    signed.principal.require(Scope.AGENT, Scope.OPERATOR)
    content = decode(body) if body else None
    asked = AgentRequest(WEBHOOK, content, request_id=signed.message_id, signed=True)
    return await _answered(engine, signed.principal, plugin, asked)


async def _answered(engine: Engine, principal: Principal, plugin: str, request: AgentRequest) -> Response[Any]:
    host = engine.plugins.get(plugin)

    async def call(tool: str, arguments: dict[str, Any]) -> Any:
        return await engine.agents.call(principal, tool, arguments)

    answer = await host.answer(request, call, _problem_of)
    return Response(answer.body, status_code=answer.status, media_type="application/json")


def _problem_of(error: BaseException) -> Mapping[str, Any]:
    document = problem_from(error)
    if document.status == 500:
        log.error("a tool called by a plugin failed, reference %s", document.reference, exc_info=error)
    found: dict[str, Any] = msgspec.to_builtins(document)
    return found


@get("/v1/agents/{plugin:str}/events", operation_id="stream_agent_events", media_type="text/event-stream")
async def events(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    plugin: FromPath[str],
    after: Annotated[
        str,
        QueryParameter(
            pattern=r"^(latest|[0-9]{1,18})?$",
            description="The position you have come to; empty or latest = only what comes",
        ),
    ] = "",
    last_event_id: Annotated[
        str,
        HeaderParameter(name="Last-Event-ID", pattern=r"^([0-9]{1,18})?$", description="The last id that you saw"),
    ] = "",
) -> EventStream:
    """What happens to your jobs and plans, as server-sent events in the plugin's own form; their ids are positions in
    the feed, and none is missed by who comes back with Last-Event-ID."""
    principal.rights.require_following()
    host = engine.plugins.get(plugin)
    host.guard.check()
    given = last_event_id or after
    start = await (feed.start(engine.db, int(given)) if given.isdecimal() else feed.latest(engine.db))
    seat = engine.seats.take(principal)
    follower = Follower(engine.fanout, engine.db, principal, ALL, start, as_array)
    return EventStream(shown_by(host, engine.fanout, follower), seat, engine.stopping)


@get("/internal/agents", operation_id="list_agent_standings", tags=["operators"], opt=scoped(Scope.OPERATOR))
async def standings(engine: NamedDependency[Engine]) -> PluginStandings:
    """How the plugins do in this process, and which were left out."""
    return standings_of(engine.plugins)


agents_router = Router(
    "/",
    route_handlers=[list_agents, get_agent, call_agent, get_webhook, call_by_webhook, events, standings],
    tags=["agents"],
    opt=scoped(Scope.AGENT, Scope.OPERATOR),
)
