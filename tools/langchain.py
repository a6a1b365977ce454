"""The tools as LangChain tools, for people who build agents of their own: they call a running server over HTTP."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import httpx
import msgspec
from langchain_core.tools import StructuredTool

from app.core.errors import InvalidInput
from tools.registry import TOOLS as ALL_TOOLS
from tools.registry import Tool, get_tool

LangChainTool = StructuredTool
TIMEOUT_S = 60.0
"""Longer than any tool waits (45 s)."""


def langchain_tools(
    url: str = "", api_key: str = "", *, names: Sequence[str] = (), timeout_s: float = TIMEOUT_S
) -> list[LangChainTool]:
    """The tools of ``names`` (none = all) as they call the server at ``url`` with ``api_key``.

    Without them, HYPERNODE_API_URL and HYPERNODE_API_KEY of the environment count. Each tool takes the arguments that
    its JSON Schema tells of, works sync and async, and answers JSON text: the tool's output, or ``{"error": problem}``
    that a model can read; it never raises. Raises InvalidInput without a URL or a key, NotFound for an unknown name.
    """
    url = (url or os.environ.get("HYPERNODE_API_URL", "")).rstrip("/")
    api_key = api_key or os.environ.get("HYPERNODE_API_KEY", "")
    if not url.startswith(("http://", "https://")):
        raise InvalidInput("give url, or set HYPERNODE_API_URL, such as http://127.0.0.1:3002", field="url")
    if not api_key:
        raise InvalidInput("give api_key, or set HYPERNODE_API_KEY, such as hae_…", field="api_key")
    server = _Server(url, api_key, timeout_s)
    return [server.tool(get_tool(name)) for name in names or ALL_TOOLS]


class _Server:
    """Calls tools of one server. A client a call: tools may be used from several threads and event loops."""

    def __init__(self, url: str, api_key: str, timeout_s: float) -> None:
        self._client: dict[str, Any] = {
            "base_url": url,
            "headers": {"authorization": f"Bearer {api_key}", "content-type": "application/json"},
            "timeout": timeout_s,
            # Read once, as it takes longer than a call; without TLS there is nothing to verify.
            "verify": httpx.create_ssl_context() if url.startswith("https") else False,
        }

    def tool(self, tool: Tool) -> LangChainTool:
        """One tool."""

        def call(**arguments: Any) -> str:
            try:
                with httpx.Client(**self._client) as client:
                    return _told(client.post(f"/v1/tools/{tool.name}", content=msgspec.json.encode(arguments)))
            except Exception as error:
                # Whatever it is, the model needs something to read, and the agent must go on.
                return _failed(error)

        async def acall(**arguments: Any) -> str:
            try:
                async with httpx.AsyncClient(**self._client) as client:
                    return _told(await client.post(f"/v1/tools/{tool.name}", content=msgspec.json.encode(arguments)))
            except Exception as error:
                return _failed(error)

        return StructuredTool(
            name=tool.name,
            description=tool.description,
            args_schema=tool.input_schema,
            func=call,
            coroutine=acall,
            metadata={"read_only": tool.read_only, "destructive": tool.destructive, "idempotent": tool.idempotent},
        )


def _told(answer: httpx.Response) -> str:
    if answer.is_success:
        return answer.text
    try:
        problem = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        return _error("bad_answer", f"the server answered {answer.status_code}", retryable=answer.status_code >= 500)
    return msgspec.json.encode({"error": problem}).decode()


def _failed(error: Exception) -> str:
    if isinstance(error, httpx.TransportError):
        name = type(error).__name__
        return _error("server_unreachable", f"the server gave no answer ({name})", retryable=True)
    return _error("bad_arguments", f"the call could not be made ({type(error).__name__})", retryable=False)


def _error(code: str, detail: str, *, retryable: bool) -> str:
    told = "Call the tool again in a moment; submissions with the same idempotency_key make one job."
    problem = {
        "code": code,
        "detail": detail,
        "retryable": retryable,
        "next_action": told if retryable else "Send arguments that JSON can hold, as the tool's schema says.",
    }
    return msgspec.json.encode({"error": problem}).decode()
