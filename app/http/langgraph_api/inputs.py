"""The tool calls that a run's input asks for, in any of the forms that it may have."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar.exceptions import ValidationException

from app.core.errors import InvalidInput
from app.http.body import decode
from app.http.problems import BadRequest

MOST_CALLS = 50
"""Calls of one run."""
EXAMPLE: dict[str, Any] = {
    "tool": "submit_job",
    "arguments": {"type": "llm_inference", "model": "qwen-7b", "prompt": "Explain quantum computing"},
}
_MESSAGES_EXAMPLE = {
    "messages": [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "get_job", "arguments": '{"job_id": "job_01jd3k5m7p9r1t3v5x7z9b1d3f"}'},
                }
            ],
        }
    ]
}


@dataclass(frozen=True, slots=True)
class Asked:
    """``calls``: ``{"id", "tool", "arguments", "reply"}`` each, where ``reply`` tells in which form the result becomes
    a message: role (as OpenAI has it), type (as LangChain has it), or empty for none. ``messages``: to be added to the
    thread's."""

    calls: list[dict[str, Any]]
    messages: list[dict[str, Any]]


def read(given: Any) -> Asked:
    """The calls of an input: ``{"tool", "arguments"}``, ``{"calls": [...]}``, or ``{"messages": [...]}`` of which the
    last one calls tools. Raises InvalidInput that shows a valid one."""
    if not isinstance(given, dict):
        raise _refused("the input must be an object with tool, calls or messages", "input")
    forms = [name for name in ("tool", "calls", "messages") if name in given]
    if len(forms) != 1:
        raise _refused("the input must have one of tool, calls and messages", "input")
    unknown = sorted(given.keys() - {forms[0]} - ({"arguments"} if forms[0] == "tool" else set()))
    if unknown:
        raise _refused(f"{unknown[0][:60]}: nothing of that name goes with {forms[0]}", f"input.{unknown[0]}")
    if forms[0] == "tool":
        return Asked(_numbered([_call(given, "input")]), [])
    if forms[0] == "calls":
        listed = _listed(given["calls"], "input.calls")
        calls = [_call(one, f"input.calls[{number}]", "id") for number, one in enumerate(listed)]
        return Asked(_numbered(calls), [])
    messages = _listed(given["messages"], "input.messages", most=1_000)
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            raise _refused("a message must be an object", f"input.messages[{number}]", _MESSAGES_EXAMPLE)
    where = f"input.messages[{len(messages) - 1}].tool_calls"
    found = messages[-1].get("tool_calls")
    if not isinstance(found, list) or not found:
        raise _refused(
            "the last message must have tool_calls: this graph carries out calls of tools, and has no language model "
            "that would choose them",
            where,
            _MESSAGES_EXAMPLE,
        )
    listed = _listed(found, where)
    return Asked(_numbered([_of_message(one, f"{where}[{number}]") for number, one in enumerate(listed)]), messages)


def _call(given: Any, where: str, *more: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise _refused("a call must be an object with tool and arguments", where)
    unknown = sorted(given.keys() - {"tool", "arguments", *more})
    if unknown:
        raise _refused(f"{unknown[0][:60]} is none of tool, arguments, id", f"{where}.{unknown[0]}")
    return _made(given.get("tool"), given.get("arguments", {}), given.get("id", ""), "", f"{where}.tool", where)


def _of_message(given: Any, where: str) -> dict[str, Any]:
    """A call as OpenAI writes it (``function``), or as LangChain does (``name``, ``args``)."""
    if not isinstance(given, dict):
        raise _refused("a tool call must be an object", where, _MESSAGES_EXAMPLE)
    function = given.get("function")
    if isinstance(function, dict):
        arguments: Any = function.get("arguments", {})
        if isinstance(arguments, str):
            # Models write such things: what is not valid stays a text, and the tool's refusal of that, with an example,
            # is what they learn from.
            with contextlib.suppress(BadRequest, ValidationException):
                arguments = decode(arguments.encode() or b"{}")
        return _made(function.get("name"), arguments, given.get("id", ""), "role", f"{where}.function.name", where)
    return _made(given.get("name"), given.get("args", {}), given.get("id", ""), "type", f"{where}.name", where)


def _made(tool: Any, arguments: Any, call_id: Any, reply: str, named: str, where: str) -> dict[str, Any]:
    example = _MESSAGES_EXAMPLE if reply else EXAMPLE
    if not isinstance(tool, str) or not tool:
        raise _refused("the name of a tool is needed", named, example)
    if not isinstance(call_id, str) or len(call_id) > 200:
        raise _refused("the id of a call must be a text of at most 200 characters", f"{where}.id", example)
    return {"id": call_id, "tool": tool[:200], "arguments": arguments, "reply": reply}


def _numbered(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The calls, those without an id given one."""
    taken: set[str] = set()
    for number, call in enumerate(calls, 1):
        call["id"] = call["id"] or f"call_{number}"
        if call["id"] in taken:
            raise _refused(f"two calls have the id {call['id'][:60]!r}", "input")
        taken.add(call["id"])
    return calls


def _listed(given: Any, where: str, most: int = MOST_CALLS) -> list[Any]:
    if not isinstance(given, list) or not 1 <= len(given) <= most:
        raise _refused(f"a list of 1 to {most} is needed", where)
    return given


def _refused(detail: str, field: str, example: Mapping[str, Any] = EXAMPLE) -> InvalidInput:
    return InvalidInput(
        detail, field=field[:200], next_action=f"A valid input: {msgspec.json.encode(example).decode()}"
    )
