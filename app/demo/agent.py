"""The agent's side of the demo: submits the trace's jobs over HTTP, at their time, some of them twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec

from app.core.retry import backoff_s
from app.demo.children import DemoError
from app.demo.scenario import Submission
from app.demo.trace import TraceJob
from app.node_worker.connections import Channel, Connections, TransportError

SUBMITTERS = 8
CALL_S = 15.0
_TRIES = 8


@dataclass(slots=True)
class Ledger:
    """``acknowledged``: the trace's job by the id that the engine answered; ``repeats``: submissions sent again.

    ``doubled``: repeats that were answered with another job than the first, which must not be.
    """

    acknowledged: dict[str, TraceJob] = field(default_factory=dict)
    repeats: int = 0
    doubled: int = 0


class Api:
    """Calls with one key. A call that meets no answer is made again: every one of them is safe to repeat."""

    def __init__(self, connections: Connections, base_url: str, api_key: str) -> None:
        self._channel: Channel = connections.channel(base_url)
        self._headers = {
            "authorization": f"Bearer {api_key}",
            "accept": "application/json",
            "content-type": "application/json",
            "user-agent": "hae-demo",
        }

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


async def submit_all(api: Api, submissions: Sequence[Submission], ledger: Ledger) -> None:
    """Submit every job when it is due, with SUBMITTERS calls at once; raises DemoError on a refusal."""
    due = iter(submissions)
    clock = asyncio.get_running_loop().time
    began = clock()

    async def submitter() -> None:
        for one in due:
            await asyncio.sleep(max(0.0, began + one.due_s - clock()))
            await _submit(api, one, ledger)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(SUBMITTERS, len(submissions))):
            group.create_task(submitter())


async def _submit(api: Api, one: Submission, ledger: Ledger) -> None:
    answer = await api.call("POST", "/v1/jobs", one.body, one.key)
    ledger.acknowledged[answer["job_id"]] = one.job
    if one.repeat:
        again = await api.call("POST", "/v1/jobs", one.body, one.key)
        ledger.repeats += 1
        ledger.doubled += again["job_id"] != answer["job_id"] or again["created"]
