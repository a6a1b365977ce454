"""Submissions over MCP: many clients at once, each with a connection of its own, speaking streamable HTTP."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import msgspec

HANDSHAKE, MODERN = "2025-11-25", "2026-07-28"
_JOB = {"type": "llm_inference", "model": "qwen-7b", "prompt": "Explain quantum computing", "min_vram_gb": 16}
_ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "hae bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


async def submit_per_s(
    url: str, key: str, seconds: float, clients: int = 32, *, revision: str = HANDSHAKE, warm_up_s: float = 1.0
) -> float:
    """How many jobs a second the server at ``url`` takes through ``tools/call`` of submit_job.

    ``clients`` submit one after the other for ``seconds`` seconds, after ``warm_up_s``. Raises RuntimeError on a call
    that is refused.
    """
    headers = {
        "authorization": f"Bearer {key}",
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "mcp-protocol-version": revision,
    }
    if revision == MODERN:
        headers |= {"mcp-method": "tools/call", "mcp-name": "submit_job"}
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=30, trust_env=False) as http:
        begun = time.monotonic() + warm_up_s
        counts = await asyncio.gather(
            *(_submit(http, client, revision, begun, begun + seconds) for client in range(clients))
        )
    return sum(counts) / seconds


async def _submit(http: httpx.AsyncClient, client: int, revision: str, begun: float, until: float) -> int:
    """How many answers came between ``begun`` and ``until`` (monotonic clock)."""
    taken = number = 0
    while True:
        number += 1
        answer = await http.post("/mcp", content=_message(client * 1_000_000 + number, revision))
        now = time.monotonic()
        said: dict[str, Any] = msgspec.json.decode(answer.content) if answer.is_success else {}
        result = said.get("result", {})
        if result.get("isError", True) or not result["structuredContent"]["created"]:
            raise RuntimeError(f"a submission was refused: {answer.status_code} {answer.text[:300]}")
        if now >= until:
            return taken
        taken += now >= begun


def _message(number: int, revision: str) -> bytes:
    params: dict[str, Any] = {"name": "submit_job", "arguments": _JOB}
    if revision == MODERN:
        params["_meta"] = _ENVELOPE
    return msgspec.json.encode({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
