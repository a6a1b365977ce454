"""The plugin on trial, held to what every single call of it must keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import msgspec

from agent_plugins.isolation import DEADLINE_S, TookTooLong, told, within
from agent_plugins.protocol import MAX_CALLS, About, AgentEvent, AgentPlugin, AgentRequest, Outcome, Reply, ToolCall
from app.core.errors import HaeError, PluginFailed
from tools.registry import Tool

Made = TypeVar("Made")


class Nonconformity(AssertionError):
    """What a plugin does wrong, in a sentence for its author."""


class Hangs(Nonconformity):
    """It does not come back in time."""


class Subject:
    """One plugin with what it says of itself, and the tools that there are."""

    def __init__(self, plugin: AgentPlugin, about: About, tools: Mapping[str, Tool]) -> None:
        self.plugin = plugin
        self.about = about
        self.tools = tools

    def parse(self, request: AgentRequest) -> list[ToolCall] | HaeError:
        """Its calls as plain data, or its refusal."""
        try:
            return self._do(f"parse({shown(request.body)}) at {request.path!r}", lambda: self._calls(request))
        except HaeError as refusal:
            if not refusal.detail:
                raise Nonconformity(f"parse refused {shown(request.body)} and did not say why") from None
            return refusal

    def _calls(self, request: AgentRequest) -> list[ToolCall]:
        calls = list(islice(self.plugin.parse(request), MAX_CALLS + 1))
        require(len(calls) <= MAX_CALLS, f"parse gave more than {MAX_CALLS} calls for {shown(request.body)}")
        for call in calls:
            require(isinstance(call, ToolCall), f"parse gave {type(call).__name__}, not a ToolCall")
            require(isinstance(call.tool, str), "the tool of a ToolCall must be its name")
            arguments = msgspec.to_builtins(call.arguments)
            require(isinstance(arguments, dict), "the arguments of a ToolCall must be an object")
        return calls

    def render(self, request: AgentRequest, outcomes: Sequence[Outcome]) -> tuple[int, bytes]:
        """Status and body of its answer."""
        return self._reply("render", lambda: self.plugin.render(request, outcomes))

    def render_error(self, request: AgentRequest, problem: Mapping[str, Any]) -> tuple[int, bytes]:
        """Status and body of its answer to what came to no calls."""
        return self._reply("render_error", lambda: self.plugin.render_error(request, problem))

    def _reply(self, doing: str, work: Callable[[], Reply]) -> tuple[int, bytes]:
        def reply() -> tuple[int, bytes]:
            made = work()
            require(isinstance(made, Reply), f"{doing} gave {type(made).__name__}, not a Reply")
            status = made.status
            fits = type(status) is int and 200 <= status <= 599 and status not in (204, 205, 304)
            require(fits, f"{doing} gave the status {status!r}: it must be one of an answer with a body")
            return status, msgspec.json.encode(made.body)

        return self._do(doing, reply)

    def event(self, event: AgentEvent) -> bytes | None:
        """What it shows of an event, as JSON."""

        def show() -> bytes | None:
            seen = self.plugin.event(event)
            return None if seen is None else msgspec.json.encode(seen)

        return self._do(f"event() of {event.kind}", show)

    def _do(self, doing: str, work: Callable[[], Made]) -> Made:
        """Raises Nonconformity for anything but an answer or a refusal (HaeError) in time."""
        try:
            return within(DEADLINE_S, work)
        except TookTooLong as late:
            raise Hangs(f"{doing}: {late.detail}") from late
        except PluginFailed as failed:
            raise Nonconformity(f"{doing}: {failed.detail}") from failed
        except (HaeError, Nonconformity):
            raise
        except Exception as error:
            raise Nonconformity(f"{doing} raised {told(error)}") from error

    def calls_of(self, request: AgentRequest) -> list[ToolCall]:
        """Its calls for a request that it has to take."""
        found = self.parse(request)
        if isinstance(found, HaeError):
            raise Nonconformity(f"parse refused {shown(request.body)} at {request.path!r}: {found.detail}")
        return found

    def refusal_of(self, request: AgentRequest) -> HaeError | None:
        """What the plugin, or the tool that it calls, refuses the request with; None when both take it."""
        found = self.parse(request)
        if isinstance(found, HaeError):
            return found
        for call in found:
            try:
                self.tool(call).parse(msgspec.to_builtins(call.arguments))
            except HaeError as refusal:
                return refusal
        return None

    def tool(self, call: ToolCall) -> Tool:
        """The tool that a call is of."""
        tool = self.tools.get(call.tool)
        if tool is None:
            raise Nonconformity(f"it calls {call.tool[:60]!r}, which is no tool; see GET /v1/tools")
        return tool


def require(holds: bool, otherwise: str) -> None:
    """Raise Nonconformity unless it holds."""
    if not holds:
        raise Nonconformity(otherwise)


def shown(body: Any) -> str:
    """A body in a few words."""
    text = repr(body)
    return text if len(text) <= 120 else f"{text[:120]}… ({len(text)} characters)"
