"""Read-only questions over all that is known of the chain: for audits, which hold it against the chain itself."""

from __future__ import annotations

from dataclasses import dataclass

from app.core.folding import Key
from app.store.db import UnitOfWork


@dataclass(frozen=True, slots=True)
class EventSeen:
    """An event as stored."""

    key: Key
    name: str
    slot: int
    commitment: str


@dataclass(frozen=True, slots=True)
class PaymentSeen:
    """A payment as stored. ``amounts``: what its event says, in the order of the event's fields, in base units.

    ``gains``: what each wallet gained of each mint in its transaction, as ``(wallet, mint, base units)``.
    """

    key: Key
    address: str | None
    verdict: str
    amounts: tuple[int, ...]
    gains: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """A job on chain and the engine's job that it has, if it has one."""

    address: str
    chain_job_id: str
    job_id: str | None
    linked_by: str | None


async def events(uow: UnitOfWork) -> list[EventSeen]:
    """Every event that stands."""
    rows = await uow.sql.fetch(
        """SELECT signature, program, outer_ix, inner_ix, ordinal, name, slot, commitment FROM chain_events
        WHERE commitment <> 'orphaned'"""
    )
    return [EventSeen((r[0], r[1], r[2], r[3], r[4]), r[5], r[6], r[7]) for r in rows]


async def payments(uow: UnitOfWork) -> list[PaymentSeen]:
    """Every payment that stands."""
    rows = await uow.sql.fetch(
        """SELECT signature, program, outer_ix, inner_ix, ordinal, address, verdict, total, operator_amount,
            treasury_amount, incentive_amount, orchestrator_amount, transfers
        FROM chain_payments WHERE commitment <> 'orphaned'"""
    )
    return [
        PaymentSeen(
            (r[0], r[1], r[2], r[3], r[4]), r[5], r[6],
            tuple(int(amount) for amount in tuple(r)[7:12] if amount is not None),
            tuple((owner, mint, int(amount)) for _, owner, mint, amount in r[12] if int(amount) > 0),
        )
        for r in rows
    ]  # fmt: skip


async def links(uow: UnitOfWork) -> list[LinkSeen]:
    """Every job on chain."""
    rows = await uow.sql.fetch("SELECT address, chain_job_id, job_id, linked_by FROM chain_jobs")
    return [LinkSeen(*row) for row in rows]


async def quarantined(uow: UnitOfWork) -> int:
    """How many transactions and events could not be read."""
    count: int = await uow.sql.fetchval("SELECT count(*) FROM chain_quarantine WHERE resolved_at IS NULL")
    return count
