"""Runs plugins: from an agent's request to its answer, from events to what its agents see of them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from agent_plugins.isolation import Guard
from agent_plugins.loader import Found, Loaded, load
from agent_plugins.protocol import MAX_CALLS, AgentEvent, AgentPlugin, AgentRequest, Outcome, Reply, ToolCall
from app.core.errors import HaeError, InvalidInput, NotFound, PluginFailed, Unavailable

Caller = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Calls a tool by name and arguments, under the agent's key."""
Teller = Callable[[BaseException], Mapping[str, Any]]
"""The problem document of an exception."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An answer as it goes out: JSON under an HTTP status."""

    body: bytes
    status: int


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """An event as a plugin's agents see it; ``body`` is None where it is not for them, or was ``failed`` on."""

    event: AgentEvent
    body: bytes | None
    failed: bool = False


class Host:
    """One plugin, and all that it takes to let it work for agents."""

    def __init__(self, loaded: Loaded, guard: Guard | None = None) -> None:
        self.loaded = loaded
        self.guard = guard or Guard(loaded.plugin)

    async def answer(self, request: AgentRequest, call: Caller, problem_of: Teller) -> Encoded:
        """The plugin's answer to a request. Raises PluginFailed or Unavailable where the plugin gives none."""
        try:
            calls = await self.guard.call("read the request", lambda plugin: _parsed(plugin, request))
        except (PluginFailed, Unavailable):
            raise
        except HaeError as refusal:
            problem = msgspec.to_builtins(problem_of(refusal))
            return await self.guard.call(
                "tell of the error", lambda plugin: _encoded(plugin.render_error(request, problem))
            )
        outcomes = await asyncio.gather(
            *(self._outcome(one, request, number, call, problem_of) for number, one in enumerate(calls))
        )
        return await self.guard.call("write the answer", lambda plugin: _encoded(plugin.render(request, outcomes)))

    async def _outcome(
        self, call: ToolCall, request: AgentRequest, number: int, caller: Caller, problem_of: Teller
    ) -> Outcome:
        arguments = dict(call.arguments)
        if request.request_id:
            arguments = keyed(call.tool, arguments, f"{self.guard.name}/{_short(request.request_id)}/{number}")
        try:
            return Outcome(call, answer=msgspec.to_builtins(await caller(call.tool, arguments)))
        except Exception as error:  # ours too: one call's failure is no reason to keep the others' answers back
            return Outcome(call, problem=msgspec.to_builtins(problem_of(error)))

    async def show(self, events: Sequence[AgentEvent]) -> list[SeenEvent]:
        """The events as the plugin's agents see them; one that it fails on is marked. Raises PluginFailed for one that
        it hangs on, and Unavailable."""
        return await self.guard.call("show events", lambda plugin: [self._seen(plugin, one) for one in events])

    def _seen(self, plugin: AgentPlugin, event: AgentEvent) -> SeenEvent:
        try:
            shown = plugin.event(event)
            return SeenEvent(event, None if shown is None else msgspec.json.encode(shown))
        except BaseException as error:  # in a thread of the plugin's: nothing but the plugin is to be stopped by it
            self.guard.note_failure("show an event", error)
            return SeenEvent(event, None, failed=True)


class Hosts:
    """All plugins of a process by name."""

    def __init__(self, found: Found) -> None:
        self.problems = found.problems
        self.all: Mapping[str, Host] = {name: Host(loaded) for name, loaded in found.plugins.items()}

    def get(self, name: str) -> Host:
        """Raises NotFound, listing the plugins there are."""
        host = self.all.get(name)
        if host is None:
            raise NotFound(
                f"there is no plugin {name[:60]!r}",
                code="plugin_not_found",
                next_action=f"Plugins: {', '.join(self.all) or 'none is installed'}",
            )
        return host


def hosts(names: Collection[str] = ()) -> Hosts:
    """Load all plugins, or those of these names. Raises NotFound, listing the installed ones, for any other name."""
    return Hosts(load(names))


def keyed(tool: str, arguments: dict[str, Any], key: str) -> dict[str, Any]:
    """The arguments with an idempotency key where the tool takes one and has none, so that a repeated request makes
    nothing twice."""
    if tool in _KEYED:
        return {"idempotency_key": key, **arguments}
    if tool == "submit_jobs" and isinstance(arguments.get("jobs"), list):
        jobs = [
            {"idempotency_key": f"{key}/{index}", **job} if isinstance(job, dict) else job
            for index, job in enumerate(arguments["jobs"])
        ]
        return {**arguments, "jobs": jobs}
    return arguments


_KEYED = frozenset({"submit_job", "rerun_job", "create_schedule", "submit_plan"})


def _short(request_id: str) -> str:
    # Room for what stands around it: a key has 200 characters.
    return hashlib.sha256(request_id.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _parsed(plugin: AgentPlugin, request: AgentRequest) -> list[ToolCall]:
    """The plugin's calls as plain data. Raises InvalidInput for too many, TypeError for what is no call."""
    calls = list(islice(plugin.parse(request), MAX_CALLS + 1))
    if len(calls) > MAX_CALLS:
        raise InvalidInput(f"this request comes to more than {MAX_CALLS} calls of tools")
    return [_plain(call) for call in calls]


def _plain(call: Any) -> ToolCall:
    if not isinstance(call, ToolCall) or not isinstance(call.tool, str):
        raise TypeError(f"parse() gave {type(call).__name__}, not a ToolCall with the name of a tool")
    arguments = msgspec.to_builtins(call.arguments)
    if not isinstance(arguments, dict):
        raise TypeError("a ToolCall's arguments must be an object")
    return ToolCall(call.tool, arguments, call.note)


def _encoded(reply: Any) -> Encoded:
    if not isinstance(reply, Reply):
        raise TypeError(f"the answer is {type(reply).__name__}, not a Reply")
    if type(reply.status) is not int or not 200 <= reply.status <= 599 or reply.status in (204, 205, 304):
        raise ValueError(f"{reply.status!r} is no HTTP status of an answer with a body")
    return Encoded(msgspec.json.encode(reply.body), reply.status)
