"""Reads server-sent events (WHATWG HTML, section 9.2) from bytes as they come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from hae_client.errors import UnreadableAnswer

CUT_OFF = "cut_off"
"""The kind of what ends a stream early: a problem, and the position to go on from. Nothing that happened."""
_LONGEST_PAUSE_S = 10.0
MAX_LINE = 16 << 20
"""Bytes of a line: one that never ends must not fill the memory."""


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a job, a plan or a node.

    ``position``: of its stream; pass it as ``after`` to go on behind it. ``id`` is the event's own, the same on every
    stream and in webhooks. ``kind``: such as job_completed. ``at``: RFC 3339 in UTC. ``data``: all that it tells,
    amounts of HYPER as decimal strings.
    """

    position: int
    id: str
    kind: str
    at: str
    job_id: str
    data: dict[str, Any]


@dataclass(slots=True)
class Reader:
    """Events of one connection. ``after``: the last position told; what is not beyond it is passed over.
    ``retry_s``: how long the server wants clients to wait before they come back."""

    after: int = 0
    retry_s: float = 0.0
    _rest: bytes = b""
    _position: str = ""
    _kind: str = ""
    _data: list[str] = field(default_factory=list)

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that these bytes complete, each position once and rising. Raises UnreadableAnswer."""
        # A chunk may end between the two characters of a line end: a CR at its very end waits for what follows.
        whole = self._rest + chunk
        held = whole.endswith(b"\r")
        lines = (whole[:-1] if held else whole).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + (b"\r" if held else b"")
        if len(self._rest) > MAX_LINE:
            raise UnreadableAnswer("the stream sent a line without an end")
        for line in lines:
            event = self._line(line.decode("utf-8", "replace"))
            if event is not None:
                yield event

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "id":
            self._position = value
        elif name == "event":
            self._kind = value
        elif name == "retry" and value.isascii() and value.isdecimal():
            self.retry_s = min(int(value) / 1000, _LONGEST_PAUSE_S)
        return None

    def _dispatch(self) -> Event | None:
        position, kind, data = self._position, self._kind, "\n".join(self._data)
        self._position, self._kind, self._data = "", "", []
        # Without a position it is a word about the stream, and nothing that happened.
        if not (position.isascii() and position.isdecimal()) or int(position) <= self.after:
            return None
        # Without data the stream has come further, and nothing of that was for this client.
        self.after = int(position)
        if not data or kind == CUT_OFF:
            return None
        try:
            told = msgspec.json.decode(data, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise UnreadableAnswer(f"the stream sent an event that cannot be read: {error}") from error
        return event_of(self.after, kind, told)


def event_of(position: int, kind: str, told: dict[str, Any]) -> Event:
    """An event out of its JSON: of the feed, whose ``data`` holds the details, or of a job, where they lie open."""
    inner = told.get("data")
    data = inner if isinstance(inner, dict) else told
    return Event(
        position=position,
        id=str(told.get("id", "")),
        kind=kind or str(told.get("kind") or told.get("event") or ""),
        at=str(told.get("at", "")),
        job_id=str(told.get("job_id") or data.get("job_id") or ""),
        data=data,
    )
