"""Events of a chain that never was, as the listener hands them to the index."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.chain.model import Batch, ChainEvent, EventKey, IndexedEvent, Transfer
from app.core.chain import Commitment
from app.services.chain import ChainIndex, JobDefaults
from app.store.db import Database
from tests.factories import sql

REGISTRY, RECEIPT, SPLITTER = "Registry", "Receipt", "Splitter"
MINT, TREASURY, POOL, ORCHESTRATOR = "HyperMint", "Treasury", "Pool", "Orchestrator"
DEFAULTS = JobDefaults("reputation_weighted", 600, 2, 900)
CONFIRMED, FINALIZED = Commitment.CONFIRMED, Commitment.FINALIZED

_signatures = itertools.count(1)


def index(**changes: Any) -> ChainIndex:
    """An index that knows the mint and the wallets."""
    given: dict[str, Any] = {
        "hyper_mint": MINT,
        "treasury": TREASURY,
        "incentive_pool": POOL,
        "spec_grace_s": 60.0,
        "defaults": DEFAULTS,
        "default_price": 100_000_000,
    }
    return ChainIndex(**{**given, **changes})


def event(
    name: str,
    data: dict[str, Any],
    *,
    slot: int,
    address: str | None = None,
    signature: str = "",
    commitment: Commitment = CONFIRMED,
    ordinal: int = 0,
    transfers: Sequence[Transfer] = (),
    accounts: tuple[str, ...] = (),
) -> IndexedEvent:
    """One event, in a transaction of its own unless ``signature`` says which."""
    program = REGISTRY if name.startswith("Node") else SPLITTER if "Processed" in name else RECEIPT
    key = EventKey(signature or f"sig{next(_signatures)}", program, 0, -1, ordinal)
    subject = data.get("node_id") if name.startswith("Node") else data.get("job_id")
    return IndexedEvent(
        ChainEvent(key, name, {**data, "timestamp": 1_700_000_000 + slot}, accounts),
        slot,
        1_700_000_000 + slot,
        commitment,
        address,
        subject,
        tuple(transfers),
    )


def batch(events: Iterable[IndexedEvent], accounts: dict[str, tuple[str, dict[str, Any]]] | None = None) -> Batch:
    given = list(events)
    return Batch({one.event.key.signature: one.slot for one in given}, given, [], accounts or {})


def signatures(events: Iterable[IndexedEvent]) -> list[str]:
    return [one.event.key.signature for one in events]


@dataclass(frozen=True)
class ChainNodeCase:
    """A node on chain."""

    owner: str = "Owner"
    name: str = "rig-1"
    address: str = "NodeAccount1"
    location: str = "Berlin, DE"

    def registered(self, slot: int, **more: Any) -> IndexedEvent:
        return event(
            "NodeRegistered", {"node_id": self.name, "owner": self.owner}, slot=slot, address=self.address, **more
        )

    def status(self, status: str, slot: int, **more: Any) -> IndexedEvent:
        data = {"node_id": self.name, "status": {status: {}}}
        return event("NodeStatusUpdated", data, slot=slot, address=self.address, **more)

    def deregistered(self, slot: int, **more: Any) -> IndexedEvent:
        data = {"node_id": self.name, "owner": self.owner}
        return event("NodeDeregistered", data, slot=slot, address=self.address, **more)

    def account(self, **changes: Any) -> dict[str, tuple[str, dict[str, Any]]]:
        fields = {
            "owner": self.owner,
            "node_id": self.name,
            "gpu_specs_hash": "specs",
            "location": self.location,
            "status": {"Online": {}},
            "stake_amount": 5_000,
            "reputation_score": 140,
            "jobs_completed": 7,
            "total_earned": 9,
        }
        return {self.address: ("NodeAccount", {**fields, **changes})}


@dataclass(frozen=True)
class ChainJobCase:
    """A job on chain."""

    name: str = "chain-job"
    address: str = "JobAccount1"
    client: str = "Client"
    price: int = 1_000
    kind: int = 0

    def created(self, slot: int, **more: Any) -> IndexedEvent:
        data = {"job_id": self.name, "client": self.client, "job_type": self.kind, "price": self.price}
        return event("JobCreatedEvent", data, slot=slot, **{"address": self.address, **more})

    def assigned(self, slot: int, operator: str = "Owner", node: str = "rig-1", **more: Any) -> IndexedEvent:
        data = {"job_id": self.name, "node_id": node, "node_operator": operator}
        return event("JobAssignedEvent", data, slot=slot, **{"address": self.address, **more})

    def completed(self, slot: int, operator: str = "Owner", **more: Any) -> IndexedEvent:
        data = {"job_id": self.name, "operator": operator, "result_hash": "r", "logs_url": "https://logs"}
        return event("JobCompletedEvent", data, slot=slot, **{"address": self.address, **more})

    def cancelled(self, slot: int, **more: Any) -> IndexedEvent:
        data = {"job_id": self.name, "client": self.client}
        return event("JobCancelledEvent", data, slot=slot, **{"address": self.address, **more})

    def shares(self) -> tuple[int, int, int]:
        return self.price * 80 // 100, self.price * 10 // 100, self.price * 5 // 100

    def paid(self, slot: int, operator: str = "Owner", mint: str = MINT, **more: Any) -> IndexedEvent:
        to_operator, to_treasury, to_pool = self.shares()
        data = {
            "job_id": self.name,
            "operator_amount": to_operator,
            "treasury_amount": to_treasury,
            "incentive_amount": to_pool,
        }
        moved = transfers((operator, to_operator), (TREASURY, to_treasury), (POOL, to_pool), mint=mint)
        return event(
            "PaymentDistributedEvent", data, slot=slot, **{"address": self.address, "transfers": moved, **more}
        )

    def account(self, requirements_hash: str = "", **changes: Any) -> dict[str, tuple[str, dict[str, Any]]]:
        fields = {
            "job_id": self.name,
            "client": self.client,
            "job_type": self.kind,
            "price": self.price,
            "requirements_hash": requirements_hash,
            "status": 0,
            "payment_settled": False,
        }
        return {self.address: ("JobAccount", {**fields, **changes})}


def transfers(*gains: tuple[str, int], mint: str = MINT, payer: str = "Client") -> tuple[Transfer, ...]:
    """What ``(owner, amount)`` gained, and the payer lost, each in the owner's one account of the mint."""
    paid = sum(amount for _, amount in gains)
    changes = [*gains, (payer, -paid)]
    return tuple(Transfer(f"{owner}-{mint}", owner, mint, amount) for owner, amount in changes if amount)


@dataclass
class World:
    """An index and its database, each call in a transaction of its own as the listener makes them."""

    db: Database
    index: ChainIndex = field(default_factory=index)

    async def record(self, *events: IndexedEvent, accounts: dict[str, tuple[str, dict[str, Any]]] | None = None) -> int:
        async with self.db.unit() as uow:
            return await self.index.record(uow, batch(events, accounts))

    async def promote(self, *events: IndexedEvent) -> int:
        async with self.db.unit() as uow:
            return await self.index.promote(uow, {one.event.key.signature: one.slot for one in events})

    async def orphan(self, *events: IndexedEvent) -> int:
        async with self.db.unit() as uow:
            return await self.index.orphan(uow, signatures(events))

    async def due(self) -> int:
        async with self.db.unit() as uow:
            return await self.index.due(uow)

    async def one(self, statement: str, *values: Any) -> tuple[Any, ...]:
        (row,) = await sql(self.db, statement, *values)
        return row

    async def job(self, address: str = "JobAccount1") -> dict[str, Any]:
        """The row of a job on chain, without what only counts or stamps changes."""
        async with self.db.unit() as uow:
            row = dict(await uow.sql.fetchrow("SELECT * FROM chain_jobs WHERE address = $1", address) or {})
        return {name: value for name, value in row.items() if name not in ("version", "updated_at", "spec_due_at")}

    async def signals(self, kind: str = "chain%") -> list[tuple[Any, ...]]:
        return await sql(self.db, "SELECT kind, job_id FROM signals WHERE kind LIKE $1 ORDER BY id", kind)

    async def snapshot(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything that events may change, for comparing."""
        found = {}
        for table in _TABLES:
            found[table] = await sql(self.db, f"SELECT to_jsonb(t) FROM {table} t ORDER BY to_jsonb(t)::text")
        return found


_TABLES = (
    "chain_events", "chain_jobs", "chain_nodes", "chain_payments", "chain_quarantine", "jobs", "nodes", "events",
    "signals", "node_history", "job_history",
)  # fmt: skip


def landed_in(one: IndexedEvent, slot: int) -> IndexedEvent:
    """The same event, in another slot."""
    return replace(one, slot=slot)
