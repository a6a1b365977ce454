"""Tables of the chain side: how far programs were read, what their events say, and what the engine sends.

``chain_events`` is what the chain said; ``chain_nodes``, ``chain_jobs`` and ``chain_payments`` are what follows from
it, each row a function of its events alone, so that events may come late, twice, in another order, or be taken back.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import BigInteger, CheckConstraint, Column, Identity, Index, LargeBinary, text
from sqlmodel import Field, SQLModel

from app.core.chain import Commitment, LinkedBy, OnChain, OutgoingKind, OutgoingState, PaymentState, Verdict
from app.core.states import Settlement
from app.store.tables.columns import (
    bool_column,
    id_column,
    int_column,
    json_column,
    key_column,
    name_column,
    one_of,
    signature_column,
    small_column,
    text_column,
    time_column,
    u64_column,
)


def _slot(*, nullable: bool = False) -> Column[Any]:
    return Column(BigInteger, nullable=nullable, server_default=None if nullable else text("0"))


def _key_part() -> Column[Any]:
    return Column(BigInteger, primary_key=True, autoincrement=False)


class ChainLeader(SQLModel, table=True):
    """One row: who reads the chain. ``epoch`` rises with every change of leader; a write of an older one is refused."""

    __tablename__: ClassVar[Any] = "chain_leader"
    __table_args__: ClassVar[Any] = (CheckConstraint("id = 1", name="chain_leader_one"),)

    id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    epoch: int = Field(sa_column=Column(BigInteger, nullable=False, server_default=text("0")))
    holder: str = Field(sa_column=name_column(80, default=""))
    finalized_slot: int = Field(sa_column=_slot())
    tip_slot: int = Field(sa_column=_slot())
    seen_at: datetime | None = Field(sa_column=time_column(nullable=True))


class ChainCursor(SQLModel, table=True):
    """How far one program was read: everything at or before ``(slot, signature)`` is in the tables.

    A scan lists signatures from the tip down to the cursor first (``scan_before``: where the listing goes on;
    ``scan_listed``: it has reached the cursor), then works its pages off from the oldest. ``scan_slot`` and
    ``scan_signature``: what the cursor becomes at the scan's end. ``seen_slot``: the tip up to which nothing is
    missing; unlike ``slot`` it moves on while the program is quiet. ``stalled``: why it does not move, if it does not.
    """

    __tablename__: ClassVar[Any] = "chain_cursors"

    program: str = Field(sa_column=key_column(primary_key=True))
    epoch: int = Field(sa_column=Column(BigInteger, nullable=False, server_default=text("0")))
    slot: int = Field(sa_column=_slot())
    signature: str | None = Field(sa_column=signature_column(nullable=True))
    scan_before: str | None = Field(sa_column=signature_column(nullable=True))
    scan_listed: bool = Field(sa_column=bool_column(default=False))
    scan_slot: int | None = Field(sa_column=_slot(nullable=True))
    scan_signature: str | None = Field(sa_column=signature_column(nullable=True))
    seen_slot: int = Field(sa_column=_slot())
    stalled: str | None = Field(sa_column=text_column())
    moved_at: datetime | None = Field(sa_column=time_column(nullable=True))


class ChainPage(SQLModel, table=True):
    """A page of signatures as listed: ``[[signature, slot], …]``, newest first. ``done``: how many of them, from the
    oldest, are in the tables."""

    __tablename__: ClassVar[Any] = "chain_pages"
    __table_args__: ClassVar[Any] = (Index("chain_pages_program", "program", "id"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    program: str = Field(sa_column=key_column())
    entries: list[Any] = Field(sa_column=json_column(default="[]"))
    high_slot: int = Field(sa_column=_slot())
    done: int = Field(sa_column=small_column(default=0))


class ChainEvent(SQLModel, table=True):
    """One event of one of our programs. ``address``: the job's or node's account, None while unknown (or of neither).

    ``subject``: the job_id or node_id it names. ``flag``: what is odd about it, for people.
    """

    __tablename__: ClassVar[Any] = "chain_events"
    __table_args__: ClassVar[Any] = (
        one_of("commitment", Commitment, "chain_events_commitment"),
        Index("chain_events_address", "address", postgresql_where=text("address IS NOT NULL")),
        Index(
            "chain_events_unresolved",
            "subject",
            postgresql_where=text("address IS NULL AND subject IS NOT NULL"),
        ),
        Index("chain_events_confirmed", "slot", postgresql_where=text("commitment = 'confirmed'")),
        Index("chain_events_id", "id", unique=True),
    )

    signature: str = Field(sa_column=signature_column(primary_key=True))
    program: str = Field(sa_column=key_column(primary_key=True))
    outer_ix: int = Field(sa_column=_key_part())
    inner_ix: int = Field(sa_column=_key_part())
    ordinal: int = Field(sa_column=_key_part())
    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), nullable=False))
    slot: int = Field(sa_column=_slot())
    block_time: datetime | None = Field(sa_column=time_column(nullable=True))
    name: str = Field(sa_column=name_column(40))
    data: dict[str, Any] = Field(sa_column=json_column())
    address: str | None = Field(sa_column=key_column(nullable=True))
    subject: str | None = Field(sa_column=name_column(64, nullable=True))
    commitment: str = Field(sa_column=name_column(10))
    recovered: bool = Field(sa_column=bool_column(default=False))
    flag: str | None = Field(sa_column=name_column(40, nullable=True))
    seen_at: datetime = Field(sa_column=time_column(now=True))


class ChainQuarantine(SQLModel, table=True):
    """What belongs to us and could not be read: kept until somebody looks. ``outer_ix`` -1: the whole transaction."""

    __tablename__: ClassVar[Any] = "chain_quarantine"

    signature: str = Field(sa_column=signature_column(primary_key=True))
    program: str = Field(sa_column=key_column(primary_key=True))
    outer_ix: int = Field(sa_column=_key_part())
    inner_ix: int = Field(sa_column=_key_part())
    ordinal: int = Field(sa_column=_key_part())
    slot: int = Field(sa_column=_slot())
    reason: str = Field(sa_column=name_column(40))
    detail: str | None = Field(sa_column=text_column())
    raw: bytes = Field(sa_column=Column(LargeBinary, nullable=False, server_default=text("''")))
    seen_at: datetime = Field(sa_column=time_column(now=True))
    resolved_at: datetime | None = Field(sa_column=time_column(nullable=True))


class ChainNode(SQLModel, table=True):
    """A node as the registry has it. ``node_id``: the engine's node, ``chain_node_id``: the registry's name for it."""

    __tablename__: ClassVar[Any] = "chain_nodes"
    __table_args__: ClassVar[Any] = (Index("chain_nodes_owner", "owner"), Index("chain_nodes_name", "chain_node_id"))

    address: str = Field(sa_column=key_column(primary_key=True))
    owner: str = Field(sa_column=key_column())
    chain_node_id: str = Field(sa_column=name_column(64))
    node_id: str | None = Field(sa_column=Column("node_id", id_column().type, nullable=True, unique=True))
    gpu_specs_hash: str = Field(sa_column=name_column(64, default=""))
    location: str = Field(sa_column=name_column(64, default=""))
    stake: Decimal = Field(sa_column=u64_column(default=0))
    reputation: int = Field(sa_column=int_column(default=100))
    jobs_completed: Decimal = Field(sa_column=u64_column(default=0))
    total_earned: Decimal = Field(sa_column=u64_column(default=0))
    status: str | None = Field(sa_column=name_column(12, nullable=True))
    registered: bool = Field(sa_column=bool_column(default=False))
    slot: int = Field(sa_column=_slot())
    version: int = Field(sa_column=int_column(default=1))
    updated_at: datetime = Field(sa_column=time_column(now=True))


class ChainJob(SQLModel, table=True):
    """A job as the receipts have it. ``job_id``: the engine's job, ``chain_job_id``: the name it has on chain.

    ``status``: pending, assigned, completed, cancelled, or orphaned (its creation was taken back); ``finalized``: for
    good. ``over``: its account itself says that nothing is left to run. ``payment``: what its payment events come to.
    ``spec_due_at``: when the wait for its spec ends and it becomes a job by defaults. ``linked_by``: id, hash, spec or
    defaults. ``mismatch``: the operator on chain is not the one it was assigned to.
    """

    __tablename__: ClassVar[Any] = "chain_jobs"
    __table_args__: ClassVar[Any] = (
        one_of("status", OnChain, "chain_jobs_status"),
        one_of("payment", PaymentState, "chain_jobs_payment"),
        one_of("linked_by", LinkedBy, "chain_jobs_linked_by"),
        Index("chain_jobs_name", "chain_job_id"),
        Index("chain_jobs_waiting", "spec_due_at", postgresql_where=text("spec_due_at IS NOT NULL")),
        Index("chain_jobs_unpaid", "status", postgresql_where=text("payment = 'none' AND job_id IS NOT NULL")),
    )

    address: str = Field(sa_column=key_column(primary_key=True))
    chain_job_id: str = Field(sa_column=name_column(32))
    client: str | None = Field(sa_column=key_column(nullable=True))
    type: str | None = Field(sa_column=name_column(20, nullable=True))
    price: Decimal | None = Field(sa_column=u64_column(nullable=True))
    requirements_hash: str | None = Field(sa_column=name_column(64, nullable=True))
    status: str = Field(sa_column=name_column(12))
    finalized: bool = Field(sa_column=bool_column(default=False))
    over: bool = Field(sa_column=bool_column(default=False))
    chain_node_id: str | None = Field(sa_column=name_column(64, nullable=True))
    assigned_operator: str | None = Field(sa_column=key_column(nullable=True))
    completed_operator: str | None = Field(sa_column=key_column(nullable=True))
    result_hash: str | None = Field(sa_column=name_column(64, nullable=True))
    logs_url: str | None = Field(sa_column=name_column(128, nullable=True))
    payment: str = Field(sa_column=name_column(12, default=PaymentState.NONE))
    payment_reason: str | None = Field(sa_column=name_column(40, nullable=True))
    mismatch: str | None = Field(sa_column=name_column(40, nullable=True))
    job_id: str | None = Field(sa_column=Column("job_id", id_column().type, nullable=True, unique=True))
    linked_by: str | None = Field(sa_column=name_column(12, nullable=True))
    spec_due_at: datetime | None = Field(sa_column=time_column(nullable=True))
    slot: int = Field(sa_column=_slot())
    version: int = Field(sa_column=int_column(default=1))
    updated_at: datetime = Field(sa_column=time_column(now=True))


class ChainPayment(SQLModel, table=True):
    """One payment event with its verdict. Amounts: base units as the event says; ``total``: the price it should split.

    ``verdict``: valid, or what is wrong with it, or unverified where the settings do not name the mint.
    """

    __tablename__: ClassVar[Any] = "chain_payments"
    __table_args__: ClassVar[Any] = (
        one_of("commitment", Commitment, "chain_payments_commitment"),
        one_of("verdict", Verdict, "chain_payments_verdict"),
        Index("chain_payments_address", "address", postgresql_where=text("address IS NOT NULL")),
    )

    signature: str = Field(sa_column=signature_column(primary_key=True))
    program: str = Field(sa_column=key_column(primary_key=True))
    outer_ix: int = Field(sa_column=_key_part())
    inner_ix: int = Field(sa_column=_key_part())
    ordinal: int = Field(sa_column=_key_part())
    kind: str = Field(sa_column=name_column(12))
    address: str | None = Field(sa_column=key_column(nullable=True))
    mint: str | None = Field(sa_column=key_column(nullable=True))
    total: Decimal | None = Field(sa_column=u64_column(nullable=True))
    operator_amount: Decimal = Field(sa_column=u64_column())
    treasury_amount: Decimal = Field(sa_column=u64_column())
    incentive_amount: Decimal = Field(sa_column=u64_column())
    orchestrator_amount: Decimal | None = Field(sa_column=u64_column(nullable=True))
    verdict: str = Field(sa_column=name_column(24))
    transfers: list[Any] = Field(sa_column=json_column(default="[]"))
    commitment: str = Field(sa_column=name_column(10))
    slot: int = Field(sa_column=_slot())
    block_time: datetime | None = Field(sa_column=time_column(nullable=True))


class SettlementHistory(SQLModel, table=True):
    """One row a move of a job's settlement, written in the transaction of the move."""

    __tablename__: ClassVar[Any] = "settlement_history"
    __table_args__: ClassVar[Any] = (
        one_of("from_state", Settlement, "settlement_history_from"),
        one_of("to_state", Settlement, "settlement_history_to"),
    )

    job_id: str = Field(sa_column=id_column(primary_key=True))
    seq: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    from_state: str = Field(sa_column=name_column(12))
    to_state: str = Field(sa_column=name_column(12))
    reason: str = Field(sa_column=name_column(40))
    actor: str = Field(sa_column=name_column(80))
    at: datetime = Field(sa_column=time_column(now=True))


class Spec(SQLModel, table=True):
    """What a job is to do, by the sha256 of its canonical JSON: the hash that a job on chain carries."""

    __tablename__: ClassVar[Any] = "specs"

    hash: str = Field(sa_column=Column("hash", name_column(64).type, primary_key=True))
    account: str = Field(sa_column=name_column(80))
    key_id: str = Field(sa_column=id_column())
    body: dict[str, Any] = Field(sa_column=json_column())
    created_at: datetime = Field(sa_column=time_column(now=True))


class ChainOutgoing(SQLModel, table=True):
    """A transaction that the engine sends. ``wire`` and ``last_valid_block_height`` are kept before it is sent.

    The same bytes are sent again until they have landed or are provably expired. ``builds``: how often it was built.
    ``error``: why it failed, or what it waits for.
    """

    __tablename__: ClassVar[Any] = "chain_outgoing"
    __table_args__: ClassVar[Any] = (
        one_of("kind", OutgoingKind, "chain_outgoing_kind"),
        one_of("state", OutgoingState, "chain_outgoing_state"),
        CheckConstraint(
            "(state = 'sent') = (wire IS NOT NULL) AND (state <> 'sent' OR signature IS NOT NULL "
            "AND last_valid_block_height IS NOT NULL)",
            name="chain_outgoing_wire",
        ),
        Index(
            "chain_outgoing_due",
            "due_at",
            postgresql_where=text("state IN ('ready', 'sent')"),
        ),
    )

    job_id: str = Field(sa_column=id_column(primary_key=True))
    kind: str = Field(sa_column=Column("kind", name_column(12).type, primary_key=True))
    address: str = Field(sa_column=key_column())
    state: str = Field(sa_column=name_column(12, default=OutgoingState.READY))
    signature: str | None = Field(sa_column=signature_column(nullable=True))
    wire: bytes | None = Field(sa_column=Column(LargeBinary, nullable=True))
    last_valid_block_height: int | None = Field(sa_column=_slot(nullable=True))
    builds: int = Field(sa_column=small_column(default=0))
    error: str | None = Field(sa_column=text_column())
    due_at: datetime = Field(sa_column=time_column(now=True))
    created_at: datetime = Field(sa_column=time_column(now=True))
    updated_at: datetime = Field(sa_column=time_column(now=True))
