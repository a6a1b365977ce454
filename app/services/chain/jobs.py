"""Jobs on chain: folded anew, linked, held against the engine's own; what that changes is told and signalled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.core.chain import OPERATOR_MISMATCH, OnChain, PaymentState
from app.core.events import EventKind, SignalKind
from app.core.folding import JOB_CREATED, JOB_EVENTS, Fact, Key, account_over, clipped, fold_job, job_type
from app.core.lifecycle import operator_mismatch
from app.services.chain import linking, payments
from app.services.chain.rules import Look, Rules
from app.store import events as told
from app.store import signals
from app.store.chain import events, links, projections
from app.store.chain import payments as paid
from app.store.chain.links import LinkedJob
from app.store.chain.projections import JobRow
from app.store.db import UnitOfWork
from app.store.events import NewEvent

Signals = dict[tuple[str, SignalKind], None]


async def refold(uow: UnitOfWork, rules: Rules, look: Look) -> int:
    """Bring jobs on chain, their payments and their links up to what their events say; how many were linked."""
    signatures = {row.key[0] for row in look.payments} | {key[0] for key in look.changed}
    stored = await paid.of(uow, sorted(look.jobs), sorted(signatures))
    ledger = payments.Ledger(stored, look.payments, look.changed)
    addresses = sorted(look.jobs | ledger.addresses)
    if not addresses and not ledger.rows:
        return 0
    before = await projections.jobs(uow, addresses)
    facts = await events.facts(uow, addresses, JOB_EVENTS)
    rows = {
        address: fold(address, before.get(address), facts.get(address, ()), look.accounts.get(address), look.doubted)
        for address in addresses
        if address in facts or address in before
    }
    due: Signals = {}
    orphaned = [row for row in rows.values() if row.status is OnChain.ORPHANED and row.job_id is not None]
    if orphaned:
        due |= dict.fromkeys((id_, SignalKind.CHAIN_CANCELLED) for id_ in await linking.take_back(uow, orphaned))
    unlinked = sorted((row for row in rows.values() if row.job_id is None), key=lambda row: _age(row, facts))
    linked = await linking.link(uow, rules, unlinked)
    mine = await _linked_jobs(uow, rows.values(), ledger.addresses, linked)
    changed = ledger.judge(rules.wallets, rows, mine)
    for row in rows.values():
        row.payment, row.payment_reason = ledger.state_of(row.address)
        row.mismatch = _mismatch(row, mine.get(row.job_id or ""))
    await paid.add(uow, look.payments)
    await paid.judge(uow, changed)
    await _tell(uow, linked, mine, await _newly_mismatched(uow, rows, facts))
    due |= await _signals(uow, before, rows, linked)
    await signals.add(uow, [(job_id, kind, None) for job_id, kind in due])
    new = [row for address, row in rows.items() if address not in before]
    await projections.save_jobs(
        uow, new, [row for address, row in rows.items() if address in before and row != before[address]]
    )
    return len(linked)


def fold(
    address: str,
    before: JobRow | None,
    facts: Iterable[Fact],
    account: tuple[str, dict[str, Any]] | None,
    doubted: set[str],
) -> JobRow:
    """The row that an account's events, its state as fetched (if it was) and what was known of that before come to."""
    known = list(facts)
    fields = account[1] if account is not None and account[0] == "JobAccount" else {}
    name = next((fact.data.get("job_id") for fact in known), None)
    row = before.copy() if before is not None else JobRow(address, clipped(name, 32) or "")
    folded = fold_job(known)
    row.status, row.finalized, row.slot = folded.status, folded.finalized, folded.slot
    row.client = folded.client or clipped(fields.get("client"), 44) or row.client
    row.type = folded.type or job_type(fields.get("job_type")) or row.type
    for price in (folded.price, fields.get("price")):
        if price is not None:
            row.price = price
            break
    row.chain_node_id = folded.chain_node_id
    row.assigned_operator, row.completed_operator = folded.assigned_operator, folded.completed_operator
    row.result_hash, row.logs_url = folded.result_hash, folded.logs_url
    if address in doubted:
        row.over = False
    if fields:
        row.over = account_over(fields)
        row.requirements_hash = clipped(fields.get("requirements_hash"), 64)
    if row.status is OnChain.ORPHANED:
        row.spec_due_at = None
    return row


def _age(row: JobRow, facts: Mapping[str, list[Fact]]) -> tuple[int, str]:
    created = (fact.slot for fact in facts.get(row.address, ()) if fact.name == JOB_CREATED)
    return max(created, default=row.slot), row.address


async def _linked_jobs(
    uow: UnitOfWork, rows: Iterable[JobRow], paid_addresses: set[str], linked: Sequence[JobRow]
) -> dict[str, LinkedJob]:
    """The engine's jobs as far as they matter: where an operator or a payment is to be compared, or a link told."""
    wanted = paid_addresses | {row.address for row in linked}
    return await links.linked(
        uow,
        [
            row.job_id
            for row in rows
            if row.job_id is not None and (row.assigned_operator or row.completed_operator or row.address in wanted)
        ],
    )


def _mismatch(row: JobRow, job: LinkedJob | None) -> str | None:
    if job is None or not job.wallets or row.status is OnChain.ORPHANED:
        return None
    return operator_mismatch(job.wallets, row.assigned_operator, row.completed_operator)


async def _newly_mismatched(
    uow: UnitOfWork, rows: Mapping[str, JobRow], facts: Mapping[str, list[Fact]]
) -> list[tuple[JobRow, str | None]]:
    """Flag the events that name another operator than ours: the jobs, with that operator, told of the first time."""
    guilty: dict[Key, tuple[JobRow, str | None]] = {}
    for address, row in rows.items():
        if row.mismatch is None:
            continue
        folded = fold_job(facts.get(address, ()))
        pairs = (("assigned_operator", folded.assigned), ("completed_operator", folded.completed))
        fact = next((fact for name, fact in pairs if name == row.mismatch), None)
        if fact is not None and fact.flag != OPERATOR_MISMATCH:
            guilty[fact.key] = (row, getattr(row, row.mismatch))
    flagged = await events.flag(uow, list(guilty), OPERATOR_MISMATCH)
    return [pair for key, pair in guilty.items() if key in flagged]


async def _tell(
    uow: UnitOfWork,
    linked: Sequence[JobRow],
    mine: Mapping[str, LinkedJob],
    mismatched: Sequence[tuple[JobRow, str | None]],
) -> None:
    # A job's events are written under its lock; those linked just now are locked already.
    await links.lock(uow, [row.job_id for row, _ in mismatched if row.job_id])
    stories: list[tuple[EventKind, JobRow, dict[str, Any]]] = [
        (EventKind.JOB_LINKED, row, {"linked_by": row.linked_by}) for row in linked
    ]
    stories += [
        (EventKind.OPERATOR_MISMATCH, row, {"mismatch": row.mismatch, "operator": operator})
        for row, operator in mismatched
    ]
    news = []
    for kind, row, more in stories:
        job = mine[row.job_id or ""]
        data = {
            "job_id": job.id,
            "node_id": job.node_id,
            "type": job.type,
            "chain_job": row.address,
            "chain_job_id": row.chain_job_id,
            **more,
        }
        news.append(NewEvent(kind, data, job.account, job.id, job.node_id))
    await told.add(uow, news)


async def _signals(
    uow: UnitOfWork, before: Mapping[str, JobRow], rows: Mapping[str, JobRow], linked: Sequence[JobRow]
) -> Signals:
    """Why the engine's jobs are to be looked at."""
    due: Signals = {}
    fresh = {row.address for row in linked}
    cancelled = []
    for address, row in rows.items():
        if row.job_id is None:
            continue
        was = before.get(address)
        if address in fresh:
            if row.payment is not PaymentState.NONE:
                due[row.job_id, SignalKind.CHAIN_CREATED] = None
        elif was is not None and _money(was) != _money(row):
            due[row.job_id, SignalKind.CHAIN_PAYMENT] = None
        if _cancelled(row) and (address in fresh or was is None or not _cancelled(was)):
            cancelled.append(row.job_id)
    ending = await links.request_cancel(uow, cancelled)
    return due | dict.fromkeys((job_id, SignalKind.CHAIN_CANCELLED) for job_id in ending)


def _money(row: JobRow) -> tuple[Any, ...]:
    """What the settlement of a job hangs on."""
    if row.payment is PaymentState.NONE:
        return (row.payment,)
    return row.payment, row.payment_reason, row.mismatch


def _cancelled(row: JobRow) -> bool:
    """Ending a job cannot be taken back, so its cancellation must be final."""
    return row.status is OnChain.CANCELLED and row.finalized
