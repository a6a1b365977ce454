"""What the events of an account come to: pure folds, the same whatever order, and however often, events came in.

The order is the chain's: by slot, within a slot by the place of the event's name in an account's life, then by where
in the chain's blocks it stands. When an event arrived plays no part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from app.core.chain import Commitment, OnChain
from app.core.regions import region_of
from app.core.requirements import JobType, Region
from app.core.states import NodeState

NODE_REGISTERED = "NodeRegistered"
NODE_STATUS = "NodeStatusUpdated"
NODE_DEREGISTERED = "NodeDeregistered"
NODE_EVENTS = (NODE_REGISTERED, NODE_STATUS, NODE_DEREGISTERED)

JOB_CREATED = "JobCreatedEvent"
JOB_ASSIGNED = "JobAssignedEvent"
JOB_CANCELLED = "JobCancelledEvent"
JOB_COMPLETED = "JobCompletedEvent"
PAYMENT_DISTRIBUTED = "PaymentDistributedEvent"
PAYMENT_PROCESSED = "PaymentProcessedEvent"
JOB_EVENTS = (JOB_CREATED, JOB_ASSIGNED, JOB_CANCELLED, JOB_COMPLETED, PAYMENT_DISTRIBUTED)
"""In the order of a job's life: a later one tells of a later state."""
PAYMENT_EVENTS = (PAYMENT_DISTRIBUTED, PAYMENT_PROCESSED)

_RANK = {name: rank for rank, name in enumerate(JOB_EVENTS)}
_STATUS = {
    JOB_CREATED: OnChain.PENDING,
    JOB_ASSIGNED: OnChain.ASSIGNED,
    JOB_CANCELLED: OnChain.CANCELLED,
    JOB_COMPLETED: OnChain.COMPLETED,
    PAYMENT_DISTRIBUTED: OnChain.COMPLETED,
}
_TYPES = tuple(JobType)
_NODE_STATUS = ("online", "offline", "suspended")
_ACCOUNT_OVER = frozenset({3, 4, 5})
"""completed, failed, cancelled: the numbers of a JobAccount's status."""

Key = tuple[str, str, int, int, int]
"""Signature, program, outer and inner instruction, ordinal: what makes an event one event."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One event of an account; or the last of several with the same name, then ``count`` says how many they are."""

    name: str
    data: Mapping[str, Any]
    slot: int
    commitment: Commitment
    key: Key
    count: int = 1
    flag: str | None = None

    @property
    def place(self) -> tuple[int, str, int, int, int]:
        """Where it stands among events of its name."""
        signature, _, *rest = self.key
        return (self.slot, signature, *rest)  # type: ignore[return-value]


def latest(facts: Iterable[Fact]) -> tuple[dict[str, Fact], dict[str, Fact]]:
    """By name, the last of the facts that stand and the last of those that were taken back, with their counts."""
    live: dict[str, Fact] = {}
    lost: dict[str, Fact] = {}
    for fact in facts:
        found = lost if fact.commitment is Commitment.ORPHANED else live
        before = found.get(fact.name)
        if before is not None:
            last = fact if fact.place > before.place else before
            fact = replace(last, count=before.count + fact.count)
        found[fact.name] = fact
    return live, lost


@dataclass(slots=True)
class JobFold:
    """A job as its events have it. ``finalized``: what gave it its status is for good. ``type``: None for a number
    that is no job type. ``slot``: of its last event that stands."""

    status: OnChain
    finalized: bool = False
    slot: int = 0
    client: str | None = None
    type: str | None = None
    price: int | None = None
    chain_node_id: str | None = None
    assigned_operator: str | None = None
    completed_operator: str | None = None
    result_hash: str | None = None
    logs_url: str | None = None
    assigned: Fact | None = None
    completed: Fact | None = None


def fold_job(facts: Iterable[Fact]) -> JobFold:
    """What a job's events come to. Its creation taken back, the job is orphaned, whatever else still stands."""
    live, lost = latest(facts)
    created = live.get(JOB_CREATED)
    told = created or lost.get(JOB_CREATED)
    since = [fact for fact in live.values() if created is None or fact.slot >= created.slot]
    last = max(since, key=lambda fact: _RANK[fact.name], default=None)
    gone = last is None or (created is None and told is not None)
    fold = JobFold(
        OnChain.ORPHANED if gone or last is None else _STATUS[last.name],
        finalized=not gone and last is not None and last.commitment is Commitment.FINALIZED,
        slot=max((fact.slot for fact in live.values()), default=0),
    )
    if told is not None:
        fold.client = _key(told.data.get("client"))
        fold.type = job_type(told.data.get("job_type"))
        fold.price = told.data.get("price")
    by_name = {} if gone else {fact.name: fact for fact in since}
    if assigned := by_name.get(JOB_ASSIGNED):
        fold.assigned = assigned
        fold.chain_node_id = clipped(assigned.data.get("node_id"), 64)
        fold.assigned_operator = _key(assigned.data.get("node_operator"))
    if completed := by_name.get(JOB_COMPLETED):
        fold.completed = completed
        fold.completed_operator = _key(completed.data.get("operator"))
        fold.result_hash = clipped(completed.data.get("result_hash"), 64)
        fold.logs_url = clipped(completed.data.get("logs_url"), 128)
    return fold


@dataclass(slots=True)
class NodeFold:
    """A node as its events have it. ``owner`` is None while no event told. ``status``: of its last update since it was
    registered, None before one."""

    registered: bool
    owner: str | None = None
    status: str | None = None
    slot: int = 0


def fold_node(facts: Iterable[Fact]) -> NodeFold:
    """What a node's events come to."""
    live, lost = latest(facts)
    came, said, went = (live.get(name) for name in NODE_EVENTS)
    told = came or went or lost.get(NODE_REGISTERED) or lost.get(NODE_DEREGISTERED)
    # Both in one slot: which was first follows from how often it came and went in all, for it does so by turns.
    registered = came is not None and (
        went is None or came.slot > went.slot or (came.slot == went.slot and came.count > went.count)
    )
    current = said is not None and (came is None or said.slot >= came.slot)
    return NodeFold(
        registered,
        _key(told.data.get("owner")) if told else None,
        node_status(said.data.get("status")) if said and current else None,
        max((fact.slot for fact in live.values()), default=0),
    )


class Wish(StrEnum):
    """What the chain wants of a node."""

    OPEN = "open"
    """It is registered; nothing was said of its status."""
    ONLINE = "online"
    OFFLINE = "offline"
    SUSPENDED = "suspended"
    GONE = "gone"


def wish_of(registered: bool, status: str | None) -> Wish:
    if not registered:
        return Wish.GONE
    return Wish(status) if status else Wish.OPEN


def node_path(state: NodeState, was: Wish | None, now: Wish) -> list[NodeState]:
    """The states that a node goes through when what the chain wants of it changes; ``was`` None: this is the first
    word. Only what the chain itself did is undone: a node that was drained here stays so."""
    if was is now:
        return []
    if now is Wish.GONE:
        return [] if state is NodeState.DEREGISTERED else [NodeState.DEREGISTERED]
    path: list[NodeState] = []
    if state is NodeState.DEREGISTERED:
        path.append(NodeState.REGISTERED)
    elif state is NodeState.SUSPENDED and now is not Wish.SUSPENDED and (was is Wish.SUSPENDED or now is Wish.ONLINE):
        path.append(NodeState.OFFLINE)
    elif state is NodeState.ONLINE and now is Wish.OFFLINE:
        path.append(NodeState.DRAINING)
    elif state is NodeState.DRAINING and (now is Wish.ONLINE or (now is Wish.OPEN and was is Wish.OFFLINE)):
        path.append(NodeState.ONLINE)
    if now is Wish.SUSPENDED and state is not NodeState.SUSPENDED:
        path.append(NodeState.SUSPENDED)
    return path


def job_type(number: Any) -> str | None:
    """The job type of a number on chain."""
    return _TYPES[number].value if isinstance(number, int) and 0 <= number < len(_TYPES) else None


def account_over(fields: Mapping[str, Any]) -> bool:
    """Whether a JobAccount says that there is nothing left to run."""
    return bool(fields.get("payment_settled")) or fields.get("status") in _ACCOUNT_OVER


def node_status(value: Any) -> str | None:
    """``online``, ``offline`` or ``suspended`` for a NodeStatus, as name, ``{name: {}}`` or number; else None."""
    if isinstance(value, Mapping):
        value = next(iter(value), None)
    if isinstance(value, int) and 0 <= value < len(_NODE_STATUS):
        return _NODE_STATUS[value]
    name = value.lower() if isinstance(value, str) else None
    return name if name in _NODE_STATUS else None


def region_in(location: str) -> str:
    """The Region that a location names: by itself, as a country, or in its last part (``"Berlin, DE"``); else empty."""
    whole = location.strip()
    if whole.upper() in Region.__members__:
        return whole.upper()
    last = whole.rsplit(",", 1)[-1].strip()
    return region_of(whole) or region_of(last) or (last.upper() if last.upper() in Region.__members__ else "")


def clipped(value: Any, length: int) -> str | None:
    """Text as a column holds it: no U+0000, at most ``length`` characters; None stays None."""
    return None if value is None else str(value).replace("\0", "")[:length]


def _key(value: Any) -> str | None:
    return clipped(value, 44)
