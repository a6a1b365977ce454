"""The agent card: what other agents are told of this one, at /.well-known/agent-card.json."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from importlib import metadata
from typing import Any, Final

from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.types.a2a_pb2 import AgentCard
from a2a.utils.constants import PROTOCOL_VERSION_1_0, TransportProtocol
from litestar import Request, Response

from app.http.a2a.places import REST_PATH, RPC_PATH
from app.http.a2a.wire import from_json
from tools.registry import TOOLS, Tool

_JSON: Final = "application/json"
_TEXT: Final = "text/plain"
_DESCRIPTION: Final = (
    "Runs GPU jobs on the Hypernode network: submits them, matches them to nodes, follows them to their results, and "
    "drives plans of many jobs within a budget. Send text to have it answered by a model, or a data part that names a "
    "skill and its arguments."
)


def answer(request: Request[Any, Any, Any]) -> Response[Any]:
    """What this agent can do and how it is talked to, by the address under which it was asked."""
    body, tag = _card(str(request.base_url).rstrip("/"))
    headers = {"ETag": tag, "Cache-Control": "private, max-age=60", "Vary": "Host"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(None, status_code=304, headers=headers)
    return Response(body, media_type=_JSON, headers=headers)


@lru_cache(maxsize=64)
def _card(base_url: str) -> tuple[bytes, str]:
    shown = json.dumps(agent_card_to_dict(card(base_url)), ensure_ascii=False, separators=(",", ":")).encode()
    return shown, f'"{hashlib.sha256(shown).hexdigest()[:32]}"'


def card(base_url: str) -> AgentCard:
    """The card of an engine that is reached at ``base_url``, without a slash at its end."""
    interfaces = [(TransportProtocol.JSONRPC, RPC_PATH), (TransportProtocol.HTTP_JSON, RPC_PATH + REST_PATH)]
    told = {
        "name": "Hypernode Automation Engine",
        "description": _DESCRIPTION,
        "version": metadata.version("hypernode-automation-engine"),
        "supportedInterfaces": [
            {"url": base_url + path, "protocolBinding": binding.value, "protocolVersion": PROTOCOL_VERSION_1_0}
            for binding, path in interfaces
        ],
        "capabilities": {"streaming": True, "pushNotifications": True, "extendedAgentCard": False},
        "securitySchemes": {
            "apiKey": {
                "httpAuthSecurityScheme": {
                    "scheme": "bearer",
                    "description": "An API key, sent as 'Authorization: Bearer hae_…'.",
                }
            }
        },
        "securityRequirements": [{"schemes": {"apiKey": {"list": []}}}],
        "defaultInputModes": [_JSON, _TEXT],
        "defaultOutputModes": [_JSON, _TEXT],
        "skills": [_skill(tool) for tool in TOOLS.values()],
    }
    return from_json(told, AgentCard())


def _skill(tool: Tool) -> dict[str, Any]:
    tags = ["reads"] if tool.read_only else ["changes"]
    return {
        "id": tool.name,
        "name": tool.name.replace("_", " ").capitalize(),
        "description": tool.description,
        "tags": [*tags, *(["destructive"] if tool.destructive else [])],
        "examples": [json.dumps({"skill": tool.name, "arguments": tool.example}, ensure_ascii=False)],
        "inputModes": [_JSON, _TEXT] if tool.name == "submit_job" else [_JSON],
    }
