"""From an A2A message to the tool that it calls."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from a2a.types.a2a_pb2 import Message
from a2a.utils.errors import ContentTypeNotSupportedError

from app.core.errors import InvalidInput
from app.http.a2a.wire import to_json
from tools.registry import get_tool

EXAMPLE: Final = {
    "data": {"skill": "submit_job", "arguments": {"type": "llm_inference", "model": "qwen-7b", "prompt": "Why?"}}
}
_NEXT: Final = f"Send a text part, or one data part such as {json.dumps(EXAMPLE)}"
_LONGEST_KEY: Final = 150


@dataclass(frozen=True, slots=True)
class Asked:
    """A call of a tool."""

    tool: str
    arguments: dict[str, Any]


def asked_in(message: Message) -> Asked:
    """The call that a message stands for: of the skill that its data part names, or, for text alone, of submit_job with
    the text as the prompt of an ``llm_inference`` job. ``metadata.arguments`` add to a text's. The message's id is the
    idempotency key where the tool takes one.

    Raises InvalidInput, NotFound for a skill that there is not, ContentTypeNotSupportedError for files.
    """
    texts, data = [], []
    for part in message.parts:
        kind = part.WhichOneof("content")
        if kind == "text":
            texts += [part.text] if part.text.strip() else []
        elif kind == "data":
            data.append(to_json(part.data))
        else:
            raise ContentTypeNotSupportedError(
                "parts must be text or data; give files as URLs in a job's input",
                {"code": "content_type_not_supported", "field": "message.parts", "next_action": _NEXT},
            )
    if len(data) > 1:
        raise _bad("a message may hold one data part", "message.parts")
    asked = _from_data(data[0], texts) if data else _from_texts(message, texts)
    fields = get_tool(asked.tool).input.__struct_fields__
    if "idempotency_key" in fields and message.message_id:
        asked.arguments.setdefault("idempotency_key", _key_of(message.message_id))
    return asked


def _from_data(given: Any, texts: list[str]) -> Asked:
    if not isinstance(given, dict):
        raise _bad("the data part must be an object", "message.parts.data")
    named = [given[name] for name in ("skill", "tool") if name in given]
    if len(named) != 1 or not isinstance(named[0], str):
        raise _bad("the data part must name one skill, as a text", "message.parts.data.skill")
    unknown = sorted(given.keys() - {"skill", "tool", "arguments"})
    if unknown:
        raise _bad(f"the data part takes skill and arguments, not {', '.join(unknown)[:200]}", "message.parts.data")
    arguments = given.get("arguments", {})
    if not isinstance(arguments, dict):
        raise _bad("arguments must be an object", "message.parts.data.arguments")
    if texts:
        # Clients write a sentence beside the data; only a job that lacks its prompt has a use for it.
        if named[0] != "submit_job" or "prompt" in arguments:
            raise _bad("this skill has no use for a text beside its arguments", "message.parts")
        arguments = {**arguments, "prompt": "\n\n".join(texts)}
    return Asked(named[0], dict(arguments))


def _from_texts(message: Message, texts: list[str]) -> Asked:
    if not texts:
        raise _bad("the message says nothing", "message.parts")
    more = to_json(message.metadata).get("arguments", {}) if message.HasField("metadata") else {}
    if not isinstance(more, dict):
        raise _bad("metadata.arguments must be an object", "message.metadata.arguments")
    return Asked("submit_job", {"type": "llm_inference", **more, "prompt": "\n\n".join(texts)})


def _key_of(message_id: str) -> str:
    """What keeps a message that is sent again from doing its work twice."""
    if len(message_id) > _LONGEST_KEY:
        message_id = hashlib.sha256(message_id.encode()).hexdigest()
    return f"a2a:{message_id}"


def _bad(detail: str, field: str) -> InvalidInput:
    return InvalidInput(detail, field=field, next_action=_NEXT)


def text_or_data(value: Any) -> dict[str, Any]:
    """A part, as JSON, that holds the value: text for a text, data for the rest."""
    return {"text": value} if isinstance(value, str) and value else {"data": safe(value)}


def safe(value: Any) -> Any:
    """The value without what doubles cannot hold: A2A's numbers are doubles. Larger integers become texts."""
    if isinstance(value, dict):
        return {str(name): safe(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [safe(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53 - 1:
        return str(value)
    if isinstance(value, msgspec.Struct):
        return safe(msgspec.to_builtins(value))
    return value
