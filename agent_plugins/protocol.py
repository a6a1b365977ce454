"""The plugin protocol, version 1: how a family of agents speaks to the engine in a form of its own.

A plugin translates, and does nothing else. ``parse`` makes tool calls of a request, the engine carries them out under
the caller's key (rights, budgets and limits apply), ``render`` makes an answer of what came of them. ``event`` shows
the plugin's agents what happened. A plugin keeps no state, does no I/O and changes nothing that it is given; it is
called from several threads, and each call has two seconds. Whatever it raises or returns, the caller gets an answer.

Everything in a request is JSON that the engine has decoded: objects, lists, texts, numbers, true, false, null, nested
64 levels at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

PROTOCOL = 1
"""The version of this protocol. It changes when plugins written for it would break."""
WEBHOOK = "webhook"
"""The path of requests that come as signed messages (Standard Webhooks)."""
MAX_CALLS = 32
"""Tool calls that one request may come to."""


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """What an agent sent to ``POST /v1/agents/{plugin}/{path}``.

    ``path``: without slashes at its ends. ``body``: decoded JSON, None for an empty one. ``request_id``: the same when
    the same request comes again (Idempotency-Key, or the id of a signed message); empty = none was given.
    ``signed``: it came as a signed message, at the path WEBHOOK, and its signature is right.
    """

    path: str
    body: Any = None
    request_id: str = ""
    signed: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool. ``note``: whatever the plugin wants to know again when it renders the answer."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    note: Any = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call: either ``answer``, the tool's output, or ``problem``, a problem document (RFC 9457) with
    ``status, code, detail, field, retryable, retry_after, next_action``."""

    call: ToolCall
    answer: Mapping[str, Any] | None = None
    problem: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What the agent gets: anything that JSON can hold, under an HTTP status."""

    body: Any
    status: int = 200


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """Something that happened to what the agent may see. ``position``: its place in the feed; ``at``: RFC 3339;
    ``job_id`` and ``node_id``: empty where it is of none; ``data``: as ``GET /v1/events`` shows it."""

    position: int
    id: str
    kind: str
    at: str
    job_id: str
    node_id: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """One request that a plugin takes. ``summary``: for people and models to read. ``example``: a valid body.
    ``tools``: those that it may come to."""

    path: str
    summary: str
    example: Any
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class About:
    """What a plugin is for, and what it takes. ``events``: whether ``event`` shows any."""

    summary: str
    requests: tuple[RequestInfo, ...]
    events: bool = True


@runtime_checkable
class AgentPlugin(Protocol):
    """A family of agents. ``protocol``: PROTOCOL, as the plugin was written for it. ``name``: small letters, digits
    and underscores, as it stands in paths. ``version``: of the plugin itself."""

    protocol: int
    name: str
    version: str

    def describe(self) -> About:
        """What it takes. Asked once, when it is loaded."""
        ...

    def parse(self, request: AgentRequest) -> Sequence[ToolCall]:
        """The tool calls that the request comes to; they are made side by side. None at all is right too.

        Raises InvalidInput (``app.core.errors``) that names the field and shows what would have been right, or
        NotFound for a path that it does not know. Arguments need not be checked: the tool does that.
        """
        ...

    def render(self, request: AgentRequest, outcomes: Sequence[Outcome]) -> Reply:
        """The answer, from what came of each call, in the order of ``parse``."""
        ...

    def render_error(self, request: AgentRequest, problem: Mapping[str, Any]) -> Reply:
        """The answer to a request that came to no calls: what ``parse`` raised, as a problem document."""
        ...

    def event(self, event: AgentEvent) -> Any | None:
        """How the event looks to these agents, as JSON; None = it is not for them."""
        ...
