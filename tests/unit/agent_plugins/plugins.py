"""Plugins for tests: one that does everything right, to be broken in one place at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent_plugins.loader import Loaded
from agent_plugins.protocol import PROTOCOL, About, AgentEvent, AgentRequest, Outcome, Reply, RequestInfo, ToolCall
from app.core.errors import InvalidInput, NotFound


class Echo:
    """Passes ``{"call": tool, "with": arguments}`` on, and answers as it was answered."""

    protocol = PROTOCOL
    name = "echo"
    version = "1.0"

    def describe(self) -> About:
        example = {"call": "get_job", "with": {"job_id": "job_01jd3k5m7p9r1t3v5x7z9b1d3f"}}
        info = RequestInfo("call", "Read a job by its id.", example, ("get_job",))
        return About("Passes calls of tools on, as they are.", (info,))

    def parse(self, request: AgentRequest) -> Sequence[ToolCall]:
        if request.path != "call":
            raise NotFound("there is only call")
        body = request.body
        if not isinstance(body, dict) or body.get("call") != "get_job" or not isinstance(body.get("with"), dict):
            raise InvalidInput("a body is {call, with}", field="call")
        unknown = sorted(set(body) - {"call", "with"})
        if unknown:
            raise InvalidInput(f"unknown field {unknown[0][:40]}", field=unknown[0][:40])
        return [ToolCall(body["call"], body["with"])]

    def render(self, request: AgentRequest, outcomes: Sequence[Outcome]) -> Reply:
        (outcome,) = outcomes
        return Reply({"answer": outcome.answer, "problem": outcome.problem})

    def render_error(self, request: AgentRequest, problem: Mapping[str, Any]) -> Reply:
        return Reply({"answer": None, "problem": problem}, status=problem["status"])

    def event(self, event: AgentEvent) -> Any | None:
        return {"kind": event.kind, "job_id": event.job_id}


def loaded(plugin: Any) -> Loaded:
    return Loaded(plugin, plugin.describe(), "tests:plugin", built_in=False)
