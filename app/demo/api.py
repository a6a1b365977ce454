"""Calls to the engine's API with one key, and to the demo's chain."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from app.core.retry import backoff_s
from app.demo.children import DemoError
from app.demo.onchain import ChainLedger, ChainStatus, Created, CreateJob, EndJob
from app.node_worker.connections import Channel, Connections, TransportError

CALL_S = 15.0
_TRIES = 8
_T = TypeVar("_T")


class Api:
    """Calls with one key. A call that meets no answer is made again: every one of them is safe to repeat."""

    def __init__(self, connections: Connections, base_url: str, api_key: str = "") -> None:
        self._channel: Channel = connections.channel(base_url)
        self._headers = {
            "accept": "application/json",
            "content-type": "application/json",
            "user-agent": "hae-demo",
        } | ({"authorization": f"Bearer {api_key}"} if api_key else {})

    async def call(self, method: str, path: str, body: Any = None, key: str = "") -> Any:
        """The decoded answer. Raises DemoError on a refusal, and when there is no answer after some tries."""
        headers = self._headers | ({"idempotency-key": key} if key else {})
        content = b"" if body is None else msgspec.json.encode(body)
        trouble = ""
        for tries in range(1, _TRIES + 1):
            try:
                answer = await self._channel.exchange(method, path, headers, content, timeout_s=CALL_S)
            except TransportError as error:
                trouble = str(error)
            else:
                if answer.status < HTTPStatus.BAD_REQUEST:
                    return msgspec.json.decode(answer.content)
                trouble = f"{answer.status} {answer.content[:300].decode('utf-8', 'replace')}"
                if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR and answer.status != HTTPStatus.TOO_MANY_REQUESTS:
                    break
            await asyncio.sleep(backoff_s(tries, base_s=0.1, cap_s=2.0))
        raise DemoError(f"{method} {path}: {trouble}")


class ChainApi:
    """What app.demo.chain is asked for. Raises DemoError when it refuses or does not answer."""

    def __init__(self, connections: Connections, url: str) -> None:
        self._api = Api(connections, url)

    async def create(self, job: CreateJob) -> Created:
        (created,) = await self._call("demo_create", [[job]], list[Created])
        return created

    async def end(self, jobs: Sequence[EndJob]) -> None:
        await self._call("demo_end", [jobs], type(None))

    async def fork(self, depth: int) -> int:
        return await self._call("demo_fork", [depth], int)

    async def status(self) -> ChainStatus:
        return await self._call("demo_status", [], ChainStatus)

    async def ledger(self) -> ChainLedger:
        return await self._call("demo_ledger", [], ChainLedger)

    async def _call(self, method: str, params: Sequence[Any], kind: type[_T]) -> _T:
        answer = await self._api.call("POST", "/", {"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        if "error" in answer:
            raise DemoError(f"the chain refuses {method}: {answer['error'].get('message')}")
        return msgspec.convert(answer["result"], kind)
