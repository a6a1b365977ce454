"""Plain records of the chain side: a transaction as read, an event as attributed, and what could not be decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from app.core.chain import Commitment
from app.store.db import UnitOfWork


class EventKey(NamedTuple):
    """What makes an event one event, wherever and however often it is read. The slot is an attribute, not a part.

    ``outer``: index of the top-level instruction. ``inner``: index into that instruction's inner instructions, -1 for
    the top-level instruction itself. ``ordinal``: the how-manieth event of that one invocation, from 0.
    """

    signature: str
    program: str
    outer: int
    inner: int
    ordinal: int


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, with its accounts resolved to base58 keys and its data decoded.

    ``height``: stack height, 1 for top-level, None where the node did not say.
    """

    program: str
    accounts: tuple[str, ...]
    data: bytes
    height: int | None = 1


@dataclass(frozen=True, slots=True)
class TokenBalance:
    """A token account's balance before or after. ``amount``: base units of ``mint``. ``owner``: "" when not told."""

    account: str
    mint: str
    owner: str
    amount: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """A landed transaction, whatever encoding it was read in.

    ``version``: -1 for legacy. ``error``: the RPC's ``err``, None for success. ``logs``: None when the node kept none.
    ``inner``: inner instructions by the index of their top-level instruction. ``block_time``: Unix seconds.
    """

    signature: str
    slot: int
    block_time: int | None
    version: int
    error: Any
    accounts: tuple[str, ...]
    instructions: tuple[Instruction, ...]
    inner: dict[int, tuple[Instruction, ...]]
    logs: tuple[str, ...] | None
    pre_balances: tuple[TokenBalance, ...] = ()
    post_balances: tuple[TokenBalance, ...] = ()


@dataclass(frozen=True, slots=True)
class ChainEvent:
    """One decoded event of one of our programs.

    ``name``: as the IDL has it. ``data``: ints as int, public keys as base58, bytes as bytes. ``accounts``: those of
    the instruction that emitted it (for ``emit_cpi!`` of the instruction that called itself). ``recovered``: rebuilt
    from instruction data or account state behind truncated logs, not read.
    """

    key: EventKey
    name: str
    data: dict[str, Any]
    accounts: tuple[str, ...] = ()
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Something that belongs to us and could not be read. ``reason``: a stable code. ``raw``: what was there.

    ``key.outer`` is -1 when the whole transaction is meant.
    """

    key: EventKey
    reason: str
    detail: str = ""
    raw: bytes = b""


@dataclass(slots=True)
class Reading:
    """What one transaction says: events in the order of their emission, and what is quarantined.

    ``truncated``: logs end in ``Log truncated`` (or are null), so that events of invocations in ``unread`` may be
    missing; ``unread`` lists them as ``(outer, inner, instruction)``.
    """

    events: list[ChainEvent] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    truncated: bool = False
    unread: list[tuple[int, int, Instruction]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Transfer:
    """What one token account gained (+) or lost (-) in a transaction, in base units of ``mint``."""

    account: str
    owner: str
    mint: str
    amount: int


@dataclass(frozen=True, slots=True)
class IndexedEvent:
    """An event on its way into the tables. ``address``: the job's or node's account, None while unknown.

    ``subject``: the job_id or node_id it names. ``transfers``: of its transaction, for payments only.
    ``block_time``: Unix seconds.
    """

    event: ChainEvent
    slot: int
    block_time: int | None
    commitment: Commitment
    address: str | None
    subject: str | None
    transfers: tuple[Transfer, ...] = ()


@dataclass(slots=True)
class Batch:
    """What some transactions came to. ``slots``: every transaction read, events or not, with its slot.

    ``accounts``: the state of jobs and nodes as fetched, decoded: ``address → (account name, fields)``.
    """

    slots: dict[str, int] = field(default_factory=dict)
    events: list[IndexedEvent] = field(default_factory=list)
    quarantined: list[tuple[Quarantined, int]] = field(default_factory=list)
    accounts: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)


class Index(Protocol):
    """Where the listener's findings go. Each call is part of the caller's transaction, cursor and all."""

    async def resolve(
        self, uow: UnitOfWork, wanted: Sequence[tuple[Literal["job", "node"], str, tuple[str, ...]]]
    ) -> list[str | None]:
        """The address for each ``(kind, subject, candidate addresses)``: a known job (or node) of that name among the
        candidates, else the only known one of that name, else None."""
        ...

    async def record(self, uow: UnitOfWork, batch: Batch) -> int:
        """Store what is new and do what follows from it; how many events were new. Repeating changes nothing.

        A transaction that was known in another slot, or as orphaned, is taken as landed anew.
        """
        ...

    async def unfinal(self, uow: UnitOfWork, up_to_slot: int, limit: int) -> list[tuple[str, int]]:
        """Confirmed transactions ``(signature, slot)`` of slots up to ``up_to_slot``, oldest first."""
        ...

    async def promote(self, uow: UnitOfWork, slots: Mapping[str, int]) -> int:
        """Take these transactions ``signature → slot`` as final; how many events that were."""
        ...

    async def orphan(self, uow: UnitOfWork, signatures: Sequence[str]) -> int:
        """Take back what these transactions did: their block lost. How many events that were."""
        ...

    async def due(self, uow: UnitOfWork) -> int:
        """Do what time calls for: jobs whose wait for a spec is over, or whose spec has come. How many."""
        ...
