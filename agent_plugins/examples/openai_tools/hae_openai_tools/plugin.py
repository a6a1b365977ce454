"""The plugin. Its forms are those of OpenAI's chat completions API: messages, function tool calls, error objects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agent_plugins.protocol import PROTOCOL, About, AgentEvent, AgentRequest, Outcome, Reply, RequestInfo, ToolCall
from app.core.errors import InvalidInput, NotFound

PATH = "messages"
TOOLS = ("submit_job", "quote", "availability", "match", "get_job", "watch_job", "cancel_job", "network_metrics")
_OF_A_MESSAGE = frozenset({"role", "content", "refusal", "annotations", "audio", "function_call", "tool_calls"})
EXAMPLE = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "quote", "arguments": '{"type": "llm_inference", "duration_s": 600}'},
        },
        {
            "id": "call_2",
            "type": "function",
            "function": {
                "name": "submit_job",
                "arguments": '{"type": "llm_inference", "model": "qwen-7b", "prompt": "Explain quantum computing"}',
            },
        },
    ],
}


class OpenAIToolsPlugin:
    """``POST messages`` takes an assistant message with tool calls and answers ``{"messages": […]}``, one for each."""

    protocol = PROTOCOL
    name = "openai_tools"
    version = "1.0.0"

    def describe(self) -> About:
        return About(
            "OpenAI chat completions: makes the tool calls of an assistant message.",
            (RequestInfo(PATH, "An assistant message with tool calls; answers the tool messages.", EXAMPLE, TOOLS),),
            events=False,
        )

    def parse(self, request: AgentRequest) -> Sequence[ToolCall]:
        if request.path != PATH:
            raise NotFound(f"there is no path {request.path[:60]!r}", next_action=f"Send the message to {PATH}.")
        message = request.body
        if not isinstance(message, dict):
            raise _wrong("the body must be an assistant message", "")
        unknown = next((name for name in message if name not in _OF_A_MESSAGE), None)
        if unknown is not None:
            raise _wrong(f"unknown field {unknown[:60]!r}", unknown[:60])
        calls = message.get("tool_calls")
        if not isinstance(calls, list) or not calls:
            raise _wrong("tool_calls must be a list of calls", "tool_calls")
        return [_call(call, f"tool_calls[{index}]") for index, call in enumerate(calls)]

    def render(self, request: AgentRequest, outcomes: Sequence[Outcome]) -> Reply:
        messages = [
            {
                "role": "tool",
                "tool_call_id": one.call.note,
                "content": json.dumps(one.problem if one.answer is None else one.answer, ensure_ascii=False),
            }
            for one in outcomes
        ]
        return Reply({"messages": messages})

    def render_error(self, request: AgentRequest, problem: Mapping[str, Any]) -> Reply:
        error = {
            "message": problem["detail"],
            "type": "invalid_request_error" if problem["status"] < 500 else "server_error",
            "param": problem.get("field") or None,
            "code": problem["code"],
        }
        return Reply({"error": error}, status=problem["status"])

    def event(self, event: AgentEvent) -> Any | None:
        return None


def _call(call: Any, where: str) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise _wrong(f"{where} must be a function call with a name", f"{where}.function.name")
    text = function.get("arguments") or "{}"
    try:
        arguments = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise _wrong(f"{where}.function.arguments must be the text of a JSON object", f"{where}.function.arguments")
    return ToolCall(function["name"], arguments, note=call.get("id"))


def _wrong(detail: str, field: str) -> InvalidInput:
    return InvalidInput(detail, field=field, next_action=f"A valid message: {json.dumps(EXAMPLE)}")
