"""The plugin keeps the protocol, and does what it is for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hae_openai_tools import OpenAIToolsPlugin

from agent_plugins import conformance
from agent_plugins.protocol import AgentRequest, Outcome, ToolCall
from app.core.errors import InvalidInput

PLUGIN = OpenAIToolsPlugin()


@pytest.mark.parametrize("case", conformance.cases(PLUGIN), ids=str)
def test_it_conforms(case: conformance.Case) -> None:
    case.run()


def message(*calls: tuple[str, str]) -> dict[str, Any]:
    return {
        "role": "assistant",
        "tool_calls": [
            {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for number, (name, arguments) in enumerate(calls)
        ],
    }


def test_each_call_is_made_with_its_arguments() -> None:
    asked = message(("get_job", '{"job_id": "job_1"}'), ("network_metrics", ""))
    calls = PLUGIN.parse(AgentRequest("messages", asked))
    assert calls == [
        ToolCall("get_job", {"job_id": "job_1"}, note="call_0"),
        ToolCall("network_metrics", {}, note="call_1"),
    ]


def test_each_answer_goes_to_its_call() -> None:
    request = AgentRequest("messages", message(("get_job", "{}"), ("get_job", "{}")))
    first, second = PLUGIN.parse(request)
    reply = PLUGIN.render(request, [Outcome(first, answer={"n": 1}), Outcome(second, problem={"code": "not_found"})])
    told = {one["tool_call_id"]: json.loads(one["content"]) for one in reply.body["messages"]}
    assert told == {"call_0": {"n": 1}, "call_1": {"code": "not_found"}}


@pytest.mark.parametrize("arguments", ["{", "[]", "7", "null", '"text"', "[" * 100_000])
def test_arguments_that_are_no_object_are_named(arguments: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        PLUGIN.parse(AgentRequest("messages", message(("quote", "{}"), ("get_job", arguments))))
    assert caught.value.field == "tool_calls[1].function.arguments"
