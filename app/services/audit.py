"""What really happened, as the rows tell it: the material of an audit, gathered in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.store import audit
from app.store.audit import JobRow, NodeRow, OfferRow, Traffic
from app.store.chain import audit as chain
from app.store.chain.audit import EventSeen, LinkSeen, PaymentSeen
from app.store.db import Database


@dataclass(frozen=True, slots=True)
class Record:
    """Everything kept of all jobs, of all nodes, and of the events of some kinds."""

    jobs: list[JobRow]
    offers: list[OfferRow]
    nodes: list[NodeRow]
    events: dict[str, int]


@dataclass(frozen=True, slots=True)
class ChainRecord:
    """Everything kept of the chain. ``quarantined``: what could not be read, in events and transactions."""

    events: list[EventSeen]
    payments: list[PaymentSeen]
    links: list[LinkSeen]
    quarantined: int


async def record(db: Database, kinds: Sequence[str]) -> Record:
    """The record as of one snapshot as far as nothing is under way: the statements see what each finds."""
    async with db.unit() as uow:
        return Record(
            await audit.jobs(uow),
            await audit.offers(uow),
            await audit.nodes(uow),
            await audit.events_by_kind(uow, kinds),
        )


async def chain_record(db: Database) -> ChainRecord:
    """The same of the chain."""
    async with db.unit() as uow:
        return ChainRecord(
            await chain.events(uow),
            await chain.payments(uow),
            await chain.links(uow),
            await chain.quarantined(uow),
        )


async def node_ids(db: Database) -> dict[str, str]:
    """Every node's id by its wallet."""
    async with db.unit() as uow:
        return {node.wallet: node.id for node in await audit.nodes(uow)}


async def traffic(db: Database) -> Traffic:
    """What is under way right now, cheaply enough to be asked every second."""
    async with db.unit() as uow:
        return await audit.traffic(uow)
