"""Webhook receivers, some of which misbehave for a while: they record every message and what they answered."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from app.chaos.history import History, Op, Outcome
from app.core.events import EventKind
from app.demo.loopback import Loopback
from app.webhooks import signing

COUNT = 20
_LARGEST_BODY = 1 << 20
_DRIP_S = 0.2
_HANG_S = 30.0
_ENDS = [EventKind.JOB_COMPLETED, EventKind.JOB_FAILED, EventKind.JOB_CANCELLED, EventKind.JOB_EXPIRED]
_RARE = (
    EventKind.JOB_FAILED,
    EventKind.JOB_CANCELLED,
    EventKind.JOB_EXPIRED,
    EventKind.NODE_OFFLINE,
    EventKind.PAYMENT_DISTRIBUTED,
    EventKind.PAYMENT_DISPUTED,
)


class Manner(StrEnum):
    """How a receiver answers."""

    GOOD = "good"
    ERROR = "500"
    TIMEOUT = "timeout"
    DRIP = "drip"
    """Its answer comes byte by byte, and takes longer than anyone waits."""
    REDIRECT = "redirect"


def wanted(number: int) -> list[str]:
    """The kinds of events that a receiver is sent: few are sent all ends of jobs, so that all can be watched."""
    if number == 0:
        return [kind.value for kind in _ENDS]
    if number == 1:
        return [EventKind.JOB_COMPLETED.value]
    if number == 2:
        return [EventKind.JOB_STARTED.value]
    return [_RARE[number % len(_RARE)].value]


class Receivers(Loopback):
    """An async context manager: receivers ``r00`` to ``r19`` on one port. ``manner``: of each, by name."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self.secret = signing.new_secret()
        self.names = [f"r{number:02}" for number in range(COUNT)]
        self.manner = dict.fromkeys(self.names, Manner.GOOD)
        self.bad_signatures = 0
        self._history = history
        history.endpoints = {name: frozenset(wanted(number)) for number, name in enumerate(self.names)}

    def misbehave(self, names: Sequence[str], manner: Manner) -> None:
        """From now on these answer like that."""
        self.manner |= dict.fromkeys(names, manner)

    def settings(self) -> dict[str, object]:
        """The section ``webhooks`` of a configuration that sends to them."""
        endpoints = [
            {
                "name": name,
                "kind": "custom",
                "url": f"http://127.0.0.1:{self.port}/{name}",
                "events": wanted(number),
                "secret": self.secret,
            }
            for number, name in enumerate(self.names)
        ]
        return {"endpoints": endpoints, "allow_networks": ["127.0.0.0/8"], "timeout_s": 1.5, "poll_s": 0.25}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await self._exchange(reader, writer):
            pass

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *lines = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if length > _LARGEST_BODY:
            return False
        body = await reader.readexactly(length)
        name = request.split(" ")[1].strip("/")
        op = self._op(name, headers, body)
        manner = self.manner.get(name, Manner.ERROR)
        if op is None:
            self.bad_signatures += 1
            writer.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
        elif manner is Manner.TIMEOUT:
            self._record(op, "unknown", 0)
            await asyncio.sleep(_HANG_S)
            return False
        elif manner is Manner.DRIP:
            self._record(op, "unknown", 0)
            for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n":
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(_DRIP_S)
            return False
        elif manner is Manner.GOOD:
            # Recorded before it is sent: whoever has read the answer finds the record.
            self._record(op, "ok", 200)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        elif manner is Manner.REDIRECT:
            self._record(op, "fail", 302)
            writer.write(b"HTTP/1.1 302 Found\r\nlocation: /r00\r\ncontent-length: 0\r\n\r\n")
        else:
            self._record(op, "fail", 500)
            writer.write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        return True

    def _record(self, op: Op, outcome: Outcome, status: int) -> None:
        op.ended, op.outcome, op.status = History.now(), outcome, status
        self._history.add(op)

    def _op(self, name: str, headers: dict[str, str], body: bytes) -> Op | None:
        """What the message tells, None unless it is signed. Its time may be wrong: clocks of senders are put wrong."""
        sent_at = float(headers.get("webhook-timestamp", "0"))
        if name not in self.manner or not signing.verify(self.secret, headers, body, sent_at):
            return None
        told: dict[str, Any] = json.loads(body)
        return Op(
            kind="webhook",
            actor=name,
            endpoint=name,
            began=History.now(),
            ended=0.0,
            outcome="unknown",
            key=headers["webhook-id"],
            event=told["event"],
            job_id=told.get("job_id") or "",
            node_id=told.get("node_id") or "",
            state=told.get("state") or "",
            attempt=int(told.get("attempt") or 0),
            digest=hashlib.sha256(body).hexdigest(),
        )
