"""Submissions over MCP: ``python -m app.bench.agents_mcp`` reads one order.

Many clients at once, each with a connection of its own, speak streamable HTTP in either revision.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field
from typing import Any

import msgspec

from app.bench.cpu import CpuTimes
from app.bench.obeying import obey
from app.node_worker.http1 import Http1

HANDSHAKE, MODERN = "2025-11-25", "2026-07-28"
_JOB = {"type": "llm_inference", "model": "qwen-7b", "prompt": "Explain quantum computing", "min_vram_gb": 16}
_ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "hae bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


CALL_S = 30.0


@dataclass(slots=True)
class Order:
    """``clients`` that submit for ``seconds`` seconds in each revision, after ``warm_up_s`` seconds of the same.

    ``pids``: processes whose CPU time is told, by name. ``postmaster``: PostgreSQL's process id.
    """

    url: str
    key: str
    seconds: float
    clients: int
    warm_up_s: float
    postmaster: int
    pids: dict[str, int] = field(default_factory=dict)


class Submitting:
    """The clients of one revision."""

    def __init__(self, order: Order, revision: str) -> None:
        self._order = order
        self._revision = revision
        self._http = Http1(order.url, None)
        self._headers = {
            "authorization": f"Bearer {order.key}",
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
            "mcp-protocol-version": revision,
        }
        if revision == MODERN:
            self._headers |= {"mcp-method": "tools/call", "mcp-name": "submit_job"}

    async def run(self, seconds: float) -> float:
        """How many jobs a second were taken. Raises RuntimeError on a call that is refused."""
        until = time.perf_counter() + seconds
        counts = await asyncio.gather(*(self._client(number, until) for number in range(self._order.clients)))
        return sum(counts) / seconds

    async def _client(self, client: int, until: float) -> int:
        taken = 0
        while True:
            body = _message(client * 1_000_000 + taken, self._revision)
            answer = await self._http.exchange("POST", "/mcp", self._headers, body, CALL_S)
            said: dict[str, Any] = msgspec.json.decode(answer.content) if answer.status == 200 else {}
            result = said.get("result", {})
            if result.get("isError", True) or not result["structuredContent"]["created"]:
                raise RuntimeError(f"a submission was refused: {answer.status} {answer.content[:300]!r}")
            if time.perf_counter() >= until:
                return taken
            taken += 1

    async def close(self) -> None:
        await self._http.aclose()


def _message(number: int, revision: str) -> bytes:
    params: dict[str, Any] = {"name": "submit_job", "arguments": _JOB}
    if revision == MODERN:
        params["_meta"] = _ENVELOPE
    return msgspec.json.encode({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})


async def play(order: Order) -> dict[str, Any]:
    """``revisions``: of each the jobs a second, and ``cores`` busy meanwhile."""
    found: dict[str, Any] = {}
    for revision in (HANDSHAKE, MODERN):
        clients = Submitting(order, revision)
        try:
            await clients.run(order.warm_up_s)
            times = CpuTimes({**order.pids, "clients": os.getpid()}, order.postmaster)
            before = times.read()
            per_s = await clients.run(order.seconds)
            found[revision] = {"per_s": round(per_s, 1), "cores": times.cores(before, order.seconds)}
        finally:
            await clients.close()
    return {"revisions": found}


if __name__ == "__main__":
    obey(lambda order: play(Order(**order)))
