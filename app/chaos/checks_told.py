"""What the world was told: webhooks and the feed, as their receivers and readers recorded them, against the rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from app.chaos.checks_rows import EventKept, Kept
from app.chaos.history import History, Op
from app.core.events import JOB_EVENT
from app.core.states import JOB_FINAL

_ENDS = frozenset(JOB_EVENT[state] for state in JOB_FINAL)


def webhooks(history: History, kept: Kept) -> Iterator[str]:
    """Every event reached every endpoint that wants its kind, and no other one, under one id and with one body however
    often it was sent."""
    ops = [op for op in history.ops if op.kind == "webhook"]
    yield from _ids(ops, kept)
    got: dict[tuple[str, str], set[str]] = defaultdict(set)
    for op in ops:
        got[op.key, op.endpoint].add(op.outcome)
        if op.event not in history.endpoints.get(op.endpoint, ()):
            yield f"unwanted_webhook: {op.endpoint} was told of {op.event}, for which it did not ask"
    for event in kept.events.values():
        for endpoint, wanted in history.endpoints.items():
            if event.kind in wanted:
                yield from _reached(event, endpoint, got.get((event.id, endpoint), set()), kept)


def _ids(ops: list[Op], kept: Kept) -> Iterator[str]:
    bodies: dict[tuple[str, str], set[str]] = defaultdict(set)
    ids: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    strange: set[str] = set()
    for op in ops:
        if op.digest:
            bodies[op.endpoint, op.key].add(op.digest)
        if op.event in _ENDS:
            ids[op.endpoint, op.job_id, op.event].add(op.key)
        event = kept.events.get(op.key)
        if event is None or event.kind != op.event or (event.job_id or "") != op.job_id:
            strange.add(op.key)
    for (endpoint, key), digests in bodies.items():
        if len(digests) > 1:
            yield f"changed_webhook: {endpoint} got {len(digests)} bodies under the one id {key}"
    for (endpoint, job_id, kind), keys in ids.items():
        if len(keys) > 1:
            yield f"doubled_webhook: {endpoint} was told of {kind} of job {job_id} under {len(keys)} ids"
    for key in strange:
        yield f"strange_webhook: the id {key} is of no event, or of another one"


def _reached(event: EventKept, endpoint: str, outcomes: set[str], kept: Kept) -> Iterator[str]:
    delivery = kept.deliveries.get((event.id, endpoint))
    name = f"{event.kind} {event.id} (job {event.job_id}) for {endpoint}"
    if delivery is None:
        yield f"missing_webhook: {name}: no delivery was made of it"
    elif delivery.state == "delivered" and outcomes <= {"fail"}:
        # No answer, as the receiver saw it, may be an answer whose end the engine did not wait for.
        yield f"missing_webhook: {name} counts as delivered, and never was taken"
    elif delivery.state == "dead":
        # Tries go on for days: no run is long enough to give one up.
        yield f"missing_webhook: {name} was given up"
    elif delivery.state == "pending" and not (delivery.waiting and outcomes):
        yield f"missing_webhook: {name} was not delivered after healing"


def feed(history: History, kept: Kept) -> Iterator[str]:
    """Every event came into the feed, and readers saw all of it while it grew, once and in order."""
    at = dict(kept.feed)
    for event_id in kept.events.keys() - set(at.values()):
        yield f"feed_missing: event {event_id} ({kept.events[event_id].kind}) has no position"
    readers: dict[str, list[Op]] = defaultdict(list)
    for op in history.ops:
        if op.kind == "feed" and op.outcome == "ok" and op.position:
            readers[op.actor].append(op)
    for reader, accounts in history.readers.items():
        yield from _read(reader, accounts, readers[reader], at, history.read_to.get(reader, 0), kept)


def _read(
    reader: str, accounts: frozenset[str] | None, ops: list[Op], at: dict[int, str], until: int, kept: Kept
) -> Iterator[str]:
    """One reader's positions: all that it may see from the first to ``until``, and nothing else."""
    read = [op.position for op in ops]
    if any(after <= before for before, after in pairwise(read)):
        yield f"feed_order: {reader} read a position again, or one before what it had read"
    for op in ops:
        if op.key and at.get(op.position) != op.key:
            yield f"feed_changed: {reader} read event {op.key} at {op.position}, where {at.get(op.position)} is"
        if op.key in kept.events and not _sees(accounts, kept.events[op.key].account):
            yield f"feed_leak: {reader} read event {op.key}, which is of another account"
    seen = set(read)
    missed = [
        position
        for position, event_id in kept.feed
        if position <= until
        and position not in seen
        and event_id in kept.events
        and _sees(accounts, kept.events[event_id].account)
    ]
    if missed:
        yield f"feed_skipped: {reader} missed {len(missed)} events: {missed[:5]}"


def _sees(accounts: frozenset[str] | None, account: str | None) -> bool:
    return accounts is None or account in accounts
