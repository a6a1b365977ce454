"""Calls over HTTP as the record knows them: acknowledged, refused, or nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from app.chaos.history import History, Op, Outcome
from app.node_worker.connections import Channel, Connections, TransportError

CALL_S = 6.0
"""Longest silence on a call, before its caller gives up and does not know."""


class Reply(NamedTuple):
    """What came of one call. ``began`` and ``ended`` by the record's clock; ``code``: the problem's, of a refusal."""

    outcome: Outcome
    status: int
    code: str
    body: Any
    began: float
    ended: float


class Caller:
    """One client of the API with one key: asks one server, and another one when that does not answer."""

    def __init__(self, connections: Connections, urls: Sequence[str], api_key: str, first: int = 0) -> None:
        self._ways: list[Channel] = [connections.channel(url) for url in urls]
        self._at = first % len(urls)
        self._headers = {"accept": "application/json", "user-agent": "hae-chaos", "authorization": f"Bearer {api_key}"}

    async def call(
        self, method: str, path: str, body: Any = None, *, key: str = "", timeout_s: float = CALL_S
    ) -> Reply:
        """One try. A 5xx counts as unknown, whatever it says of what was done."""
        headers = self._headers | ({"idempotency-key": key} if key else {})
        content = b""
        if body is not None:
            headers["content-type"] = "application/json"
            content = msgspec.json.encode(body)
        began = History.now()
        try:
            answer = await self._ways[self._at].exchange(method, path, headers, content, timeout_s=timeout_s)
            told = msgspec.json.decode(answer.content) if answer.content else None
        except (TransportError, msgspec.DecodeError, OSError):
            self._at = (self._at + 1) % len(self._ways)
            return Reply("unknown", 0, "", None, began, History.now())
        ended = History.now()
        code = str(told.get("code", "")) if isinstance(told, dict) and answer.status >= HTTPStatus.BAD_REQUEST else ""
        if answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return Reply("ok", answer.status, "", told, began, ended)
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._at = (self._at + 1) % len(self._ways)
            return Reply("unknown", answer.status, code, told, began, ended)
        return Reply("fail", answer.status, code, told, began, ended)


class Recorder:
    """Makes calls, and records each as the given kind of operation."""

    def __init__(self, history: History, caller: Caller, actor: str) -> None:
        self.history = history
        self.caller = caller
        self.actor = actor

    async def call(self, op: Op, method: str, path: str, body: Any = None, *, key: str = "") -> Reply:
        """One try. ``op``: what it is; times and outcome are filled in."""
        reply = await self.caller.call(method, path, body, key=key)
        self.add(op, reply)
        return reply

    async def until_known(
        self, op: Op, method: str, path: str, body: Any = None, *, key: str = "", patience_s: float = 30.0
    ) -> Reply:
        """The same call again until it is acknowledged or refused, or patience is over; every try is recorded."""
        give_up = History.now() + patience_s
        pause = 0.1
        while True:
            reply = await self.call(msgspec.structs.replace(op), method, path, body, key=key)
            if reply.outcome != "unknown" or History.now() + pause > give_up:
                return reply
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    def add(self, op: Op, reply: Reply) -> None:
        """Record an operation that this reply is of."""
        op.began, op.ended, op.outcome, op.status, op.code = (
            reply.began,
            reply.ended,
            reply.outcome,
            reply.status,
            reply.code,
        )
        self.history.add(op)

    def op(self, **fields: Any) -> Op:
        """An operation of this actor's that is still to be made."""
        return Op(actor=self.actor, began=0.0, ended=0.0, outcome="unknown", **fields)
