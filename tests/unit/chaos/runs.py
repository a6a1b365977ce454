"""A fabricated run in which all is well: what its clients recorded, and the rows that it left."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from app.chaos.checks_rows import (
    DeliveryKept,
    EventKept,
    JobKept,
    Kept,
    MoveKept,
    OfferKept,
    ReportKept,
)
from app.chaos.history import History, Kind, Op, Outcome

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ENDPOINTS = ("one", "two")
_KINDS = {
    None: "job_submitted",
    "offered": "job_offered",
    "assigned": "job_matched",
    "running": "job_started",
    "pending": "job_requeued",
    "cancelling": "job_cancelling",
    "completed": "job_completed",
    "cancelled": "job_cancelled",
}


def at(seconds: float) -> datetime:
    """So long after the record began."""
    return NOON + timedelta(seconds=seconds)


class Run:
    """Three jobs: ``good`` completes at its second node, ``stopped`` is cancelled in its run, ``idle`` before any.

    The record's clock began at 100.
    """

    def __init__(self) -> None:
        self.history = History()
        self.kept = Kept(at(60), 160.0)
        self._good()
        self._stopped()
        self._idle()
        self._tell()

    def op(self, kind: Kind, began: float, outcome: Outcome = "ok", **fields: Any) -> Op:
        """Record a call of a tenth of a second that began so long after the record did."""
        actor = fields.pop("actor", "client")
        op = Op(kind=kind, actor=actor, began=100 + began, ended=100.1 + began, outcome=outcome, **fields)
        self.history.add(op)
        return op

    def change_ops(self, kind: Kind, job_id: str, **fields: Any) -> None:
        """Change every record of this kind of the job."""
        for op in self.history.ops:
            if op.kind == kind and op.job_id == job_id:
                for name, value in fields.items():
                    setattr(op, name, value)

    def drop_ops(self, kind: Kind, job_id: str) -> None:
        self.history.ops = [op for op in self.history.ops if (op.kind, op.job_id) != (kind, job_id)]

    def change_job(self, job_id: str, **fields: Any) -> None:
        self.kept.jobs[job_id] = replace(self.kept.jobs[job_id], **fields)

    def change_offer(self, offer_id: str, **fields: Any) -> None:
        self.kept.offers[offer_id] = replace(self.kept.offers[offer_id], **fields)

    def _good(self) -> None:
        self.op("submit", 1, "unknown", key="k1")
        self.op("submit", 2, key="k1", job_id="good")
        self._job("good", "completed", at(9), "k1")
        self._move("good", 1, None, "pending", 1)
        self._move("good", 2, "pending", "offered", 1, "n1")
        self._offer("o1", "good", "n1", 1, 2, "declined")
        self.op("decline", 3, job_id="good", offer_id="o1", node_id="n1", attempt=1)
        self._move("good", 3, "offered", "pending", 1, "n1", "offer_declined")
        self._move("good", 4, "pending", "offered", 2, "n2")
        self._offer("o2", "good", "n2", 2, 4, "accepted")
        self.op("accept", 4.5, "fail", job_id="good", offer_id="o2", node_id="n1", attempt=2, note="wrong_node")
        self.op("accept", 5, job_id="good", offer_id="o2", node_id="n2", attempt=2)
        self._move("good", 5, "offered", "assigned", 2, "n2")
        self.op("progress", 6, job_id="good", offer_id="o2", node_id="n2", attempt=2)
        self._move("good", 6, "assigned", "running", 2, "n2")
        self.op("result", 8, job_id="good", offer_id="o2", node_id="n2", attempt=2)
        self.kept.reports["o2"] = ReportKept("o2", "good", "n2", 2, True, False)
        self._move("good", 9, "running", "completed", 2, "n2", "result")

    def _stopped(self) -> None:
        self.op("submit", 10, job_id="stopped")
        self._job("stopped", "cancelled", at(18), cancel_requested=True)
        self._move("stopped", 10, None, "pending", 1)
        self._move("stopped", 11, "pending", "offered", 1, "n1")
        self._offer("o3", "stopped", "n1", 1, 11, "accepted")
        self.op("accept", 12, job_id="stopped", offer_id="o3", node_id="n1", attempt=1)
        self._move("stopped", 12, "offered", "assigned", 1, "n1")
        self.op("cancel", 13, job_id="stopped")
        self._move("stopped", 13, "assigned", "cancelling", 1, "n1")
        self._move("stopped", 18, "cancelling", "cancelled", 1, "n1", "cancel_grace_over")
        self.op("result", 20, "fail", job_id="stopped", offer_id="o3", node_id="n1", attempt=1, note="after_cancel")
        self.kept.reports["o3"] = ReportKept("o3", "stopped", "n1", 1, True, True)

    def _idle(self) -> None:
        self.op("submit", 20, key="k2", job_id="idle")
        self.op("submit", 21, "fail", key="k3")
        self._job("idle", "cancelled", at(23), "k2", cancel_requested=True)
        self._move("idle", 20, None, "pending", 1)
        self.op("cancel", 22, job_id="idle")
        self._move("idle", 23, "pending", "cancelled", 1, None, "cancel_requested")
        self.op("cancel", 24, job_id="idle")

    def _job(self, job_id: str, state: str, finished: datetime, key: str = "", cancel_requested: bool = False) -> None:
        self.kept.jobs[job_id] = JobKept(job_id, False, state, 1, cancel_requested, at(0), finished, 15, 0, 30)
        if key:
            self.kept.keys.append((key, job_id))

    def _move(
        self,
        job_id: str,
        when: float,
        source: str | None,
        target: str,
        attempt: int,
        node: str | None = None,
        reason: str = "matched",
    ) -> None:
        self.kept.history.setdefault(job_id, []).append(
            MoveKept(job_id, source, target, attempt, reason, node, at(when))
        )
        event_id = f"e{len(self.kept.events)}"
        kind = _KINDS[None if source is None else target]
        self.kept.events[event_id] = EventKept(event_id, kind, job_id, "acme")

    def _offer(self, offer_id: str, job_id: str, node_id: str, attempt: int, made: float, state: str) -> None:
        self.kept.offers[offer_id] = OfferKept(offer_id, job_id, node_id, attempt, state, at(made), at(made + 3))

    def _tell(self) -> None:
        notified = ("job_submitted", "job_matched", "job_started", "job_completed", "job_cancelled")
        self.history.endpoints = {name: frozenset(notified) for name in ENDPOINTS}
        self.history.readers = {"reader": None}
        self.history.read_to = {"reader": len(self.kept.events)}
        for position, event in enumerate(self.kept.events.values(), start=1):
            self.kept.feed.append((position, event.id))
            told: dict[str, Any] = {"job_id": event.job_id, "event": event.kind}
            self.op("feed", 30, actor="reader", position=position, key=event.id, **told)
            for endpoint in ENDPOINTS if event.kind in notified else ():
                self.kept.deliveries[event.id, endpoint] = DeliveryKept("delivered", False)
                sent = told | {
                    "actor": endpoint,
                    "endpoint": endpoint,
                    "key": event.id,
                    "digest": f"body of {event.id}",
                }
                self.op("webhook", 31, "fail", **sent)
                self.op("webhook", 36, **sent)
