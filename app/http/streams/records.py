"""Events as clients read them, encoded once for all streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from app.http.routes.told import told
from app.store.feed import FeedEvent
from tools.answers import stamp


class Told(msgspec.Struct, kw_only=True):
    """An event at its ``position`` in the feed. ``job_id`` and ``node_id`` are empty where it is of none; ``data``: all
    that it tells, amounts of HYPER as decimal strings."""

    position: int
    id: str
    kind: str
    at: str
    job_id: str
    node_id: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """One event, ready to be sent. ``sse``: as a server-sent event, in which its JSON begins at ``json_at``."""

    position: int
    account: str | None
    kind: str
    job_id: str | None
    plan_id: str | None
    sse: bytes
    json_at: int

    @property
    def json(self) -> bytes:
        return self.sse[self.json_at : -4]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which of the events that its owner may see a stream tells: of these kinds, and of these jobs or plans; None = of
    all. A plan's events are its own and those of its jobs."""

    kinds: frozenset[str] | None = None
    jobs: frozenset[str] | None = None
    plans: frozenset[str] | None = None

    def passes(self, record: Record) -> bool:
        if self.kinds is not None and record.kind not in self.kinds:
            return False
        if self.jobs is None and self.plans is None:
            return True
        return (self.jobs is not None and record.job_id in self.jobs) or (
            self.plans is not None and record.plan_id in self.plans
        )


ALL = Filter()

_encoder = msgspec.json.Encoder()


def told_of(event: FeedEvent) -> Told:
    """The event as its JSON shows it."""
    return Told(
        position=event.position,
        id=event.id,
        kind=event.kind,
        at=stamp(event.at),
        job_id=event.job_id or "",
        node_id=event.node_id or "",
        data=told(event.data),
    )


def record_of(event: FeedEvent) -> Record:
    """Encode an event."""
    head = b"id: %d\r\nevent: %s\r\ndata: " % (event.position, event.kind.encode())
    sse = b"%s%s\r\n\r\n" % (head, _encoder.encode(told_of(event)))
    return Record(event.position, event.account, event.kind, event.job_id, event.plan_id, sse, len(head))
