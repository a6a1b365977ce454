"""Every state in the system and the one table of the moves between them.

The database repeats the sets as CHECKs, docs/states.md draws them, and a test holds the job graph against them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar

from app.core.errors import IllegalTransition


class JobState(StrEnum):
    """Where a job stands. Each comment says who moves it on."""

    BLOCKED = "blocked"
    """Part of a plan and waiting for other jobs; the plan graph releases it."""
    SCHEDULED = "scheduled"
    """Has a start time ahead; its timer moves it to pending."""
    PENDING = "pending"
    """Wants a node; the job graph matches it, or its queue deadline expires it."""
    OFFERED = "offered"
    """One node holds an open offer; the node's answer or the offer's expiry moves it."""
    ASSIGNED = "assigned"
    """The node accepted; its first progress, its result, its silence or the run's time-out moves it."""
    RUNNING = "running"
    """The node reported progress; its result, its silence or the run's time-out moves it."""
    CANCELLING = "cancelling"
    """Cancel was asked for while a node works; its report or the grace time ends it."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """No node was found before the queue deadline."""


class ExcludeNodes(StrEnum):
    """Which nodes are out for a job after a setback that speaks against them."""

    FAILED = "failed"
    """All that declined it, missed its offer or lost its run."""
    LAST = "last"
    """Only the last one of those."""
    NONE = "none"
    """None: any node may get it again."""


class OfferState(StrEnum):
    """An offer is a lease on slots of one node for one attempt of one job."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class NodeState(StrEnum):
    REGISTERED = "registered"
    """Known, never heard from; its first heartbeat brings it online."""
    ONLINE = "online"
    """Heartbeat within the last ``nodes.offline_after_s`` (five minutes by default)."""
    OFFLINE = "offline"
    """Silent for longer; its next heartbeat brings it back."""
    DRAINING = "draining"
    """Finishes what it has and takes no more."""
    SUSPENDED = "suspended"
    """Shut out by the chain until it says otherwise, or by the circuit breaker for a while."""
    DEREGISTERED = "deregistered"


class Settlement(StrEnum):
    """Payment of a completed job; moved by chain events only, after ``awaiting``."""

    NONE = "none"
    AWAITING = "awaiting"
    OBSERVED = "observed"
    SETTLED = "settled"
    DISPUTED = "disputed"


JOB_FINAL: Final = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})
JOB_ON_NODE: Final = frozenset({JobState.OFFERED, JobState.ASSIGNED, JobState.RUNNING, JobState.CANCELLING})
"""States in which the job holds slots of a node."""

_J = JobState
JOB_MOVES: Final[Mapping[JobState, frozenset[JobState]]] = {
    _J.BLOCKED: frozenset({_J.PENDING, _J.SCHEDULED, _J.CANCELLED, _J.FAILED}),
    _J.SCHEDULED: frozenset({_J.PENDING, _J.CANCELLED}),
    _J.PENDING: frozenset({_J.OFFERED, _J.CANCELLED, _J.EXPIRED, _J.FAILED}),
    _J.OFFERED: frozenset({_J.ASSIGNED, _J.PENDING, _J.CANCELLED}),
    _J.ASSIGNED: frozenset({_J.RUNNING, _J.COMPLETED, _J.FAILED, _J.PENDING, _J.CANCELLING, _J.CANCELLED}),
    _J.RUNNING: frozenset({_J.COMPLETED, _J.FAILED, _J.PENDING, _J.CANCELLING, _J.CANCELLED}),
    _J.CANCELLING: frozenset({_J.CANCELLED, _J.COMPLETED}),
    _J.COMPLETED: frozenset(),
    _J.FAILED: frozenset(),
    _J.CANCELLED: frozenset(),
    _J.EXPIRED: frozenset(),
}

_O = OfferState
OFFER_MOVES: Final[Mapping[OfferState, frozenset[OfferState]]] = {
    _O.OPEN: frozenset({_O.ACCEPTED, _O.DECLINED, _O.EXPIRED, _O.WITHDRAWN}),
    _O.ACCEPTED: frozenset(),
    _O.DECLINED: frozenset(),
    _O.EXPIRED: frozenset(),
    _O.WITHDRAWN: frozenset(),
}

_N = NodeState
NODE_MOVES: Final[Mapping[NodeState, frozenset[NodeState]]] = {
    _N.REGISTERED: frozenset({_N.ONLINE, _N.DRAINING, _N.SUSPENDED, _N.DEREGISTERED}),
    _N.ONLINE: frozenset({_N.OFFLINE, _N.DRAINING, _N.SUSPENDED, _N.DEREGISTERED}),
    _N.OFFLINE: frozenset({_N.ONLINE, _N.DRAINING, _N.SUSPENDED, _N.DEREGISTERED}),
    _N.DRAINING: frozenset({_N.ONLINE, _N.OFFLINE, _N.SUSPENDED, _N.DEREGISTERED}),
    _N.SUSPENDED: frozenset({_N.OFFLINE, _N.DEREGISTERED}),
    _N.DEREGISTERED: frozenset({_N.REGISTERED}),
}

_S = Settlement
SETTLEMENT_MOVES: Final[Mapping[Settlement, frozenset[Settlement]]] = {
    _S.NONE: frozenset({_S.AWAITING}),
    _S.AWAITING: frozenset({_S.OBSERVED}),
    _S.OBSERVED: frozenset({_S.AWAITING, _S.SETTLED, _S.DISPUTED}),
    _S.SETTLED: frozenset(),
    _S.DISPUTED: frozenset({_S.SETTLED}),
}

State = TypeVar("State", bound=StrEnum)


def check_move(moves: Mapping[State, frozenset[State]], source: State, target: State) -> None:
    """Raise IllegalTransition unless the table allows ``source → target``."""
    if target not in moves[source]:
        raise IllegalTransition(f"{type(source).__name__} cannot move from {source} to {target}")


def mermaid(moves: Mapping[State, frozenset[State]]) -> str:
    """The table as a Mermaid ``stateDiagram-v2``, in the order of the enum."""
    lines = ["stateDiagram-v2"]
    for source, targets in moves.items():
        lines += [f"    {source} --> {target}" for target in sorted(targets)]
        if not targets:
            lines.append(f"    {source} --> [*]")
    return "\n".join(lines)
