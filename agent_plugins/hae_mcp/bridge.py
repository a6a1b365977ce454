"""Between a client's standard streams and the engine: each request is a task, so that a wait holds up nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from .upstream import Upstream, UpstreamError

PARSE_ERROR, INVALID_REQUEST, INTERNAL_ERROR = -32700, -32600, -32603

Emit = Callable[[dict[str, Any]], None]
Complain = Callable[[str], None]


class Bridge:
    """Passes messages on. ``emit`` writes one to the client, ``complain`` a line for people.

    Nothing is kept between messages but the revision that the handshake agreed on, so that the engine may restart.
    """

    def __init__(self, upstream: Upstream, emit: Emit, complain: Complain) -> None:
        self._upstream = upstream
        self._emit = emit
        self._complain = complain
        self._under_way: dict[Any, asyncio.Task[None]] = {}
        self._others: set[asyncio.Task[None]] = set()

    async def run(self, read: Callable[[], Awaitable[bytes]]) -> None:
        """Take lines until ``read`` gives an empty one; what is under way then is given up."""
        try:
            while line := await read():
                if line.strip():
                    await self._take(line)
        finally:
            tasks = [*self._under_way.values(), *self._others]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            self._emit(_error(None, PARSE_ERROR, "a line on standard input is no JSON"))
            return
        if not isinstance(message, dict):
            self._emit(_error(None, INVALID_REQUEST, "each line must be one JSON-RPC message"))
            return
        method, identifier = message.get("method"), message.get("id")
        if method == "notifications/cancelled":
            self._cancel(message)
        elif method == "initialize":
            # What follows depends on what is agreed here.
            await self._pass_on(message)
        elif method is not None and isinstance(identifier, str | int):
            task = asyncio.create_task(self._pass_on(message))
            self._under_way[identifier] = task
            task.add_done_callback(lambda _: self._forget(identifier, task))
        else:
            task = asyncio.create_task(self._pass_on(message))
            self._others.add(task)
            task.add_done_callback(self._others.discard)

    def _forget(self, identifier: Any, task: asyncio.Task[None]) -> None:
        if self._under_way.get(identifier) is task:
            del self._under_way[identifier]

    def _cancel(self, message: dict[str, Any]) -> None:
        """Give up a request: the engine sees its connection close, which ends the wait there, too."""
        params = message.get("params")
        wanted = params.get("requestId") if isinstance(params, dict) else None
        task = self._under_way.get(wanted) if isinstance(wanted, str | int) else None
        if task is not None:
            task.cancel()

    async def _pass_on(self, message: dict[str, Any]) -> None:
        answered = "id" not in message or "method" not in message
        try:
            async for told in self._upstream.send(message):
                if "method" not in told:
                    if answered:
                        continue
                    answered = True
                    if message.get("method") == "initialize":
                        self._upstream.revision = str(told.get("result", {}).get("protocolVersion", ""))
                self._emit(told)
            if not answered:
                raise UpstreamError(_UNANSWERED)
        except UpstreamError as error:
            self._complain(f"{message.get('method', 'an answer')}: {error}")
            if not answered:
                self._emit(_refusal(message, error.problem))


_UNANSWERED = {
    "code": "connection_lost",
    "detail": "the engine ended the stream before the answer came",
    "retryable": True,
    "retry_after": 1.0,
    "next_action": "Call again; a submission only with the same idempotency_key, as it may have been taken.",
}


def _refusal(message: dict[str, Any], problem: dict[str, Any]) -> dict[str, Any]:
    """For a call of a tool, a result that the model reads; for others, an error of the protocol."""
    if message["method"] != "tools/call":
        return _error(message["id"], INTERNAL_ERROR, str(problem["detail"]), problem)
    text = json.dumps(problem, separators=(",", ":"))
    result = {"content": [{"type": "text", "text": text}], "structuredContent": problem, "isError": True}
    meta = (message.get("params") or {}).get("_meta") or {}
    if "io.modelcontextprotocol/protocolVersion" in meta:
        result["resultType"] = "complete"
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


def _error(identifier: Any, code: int, text: str, data: Any = None) -> dict[str, Any]:
    error = {"code": code, "message": text} | ({} if data is None else {"data": data})
    return {"jsonrpc": "2.0", "id": identifier, "error": error}
