"""The checker of chaos runs: what clients, nodes, receivers and readers recorded, held against what was kept.

What can be told from the database alone is `hae verify`'s (app/services/verify.py), which runs first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec import structs

from app.chaos import checks_chain, checks_jobs, checks_plans, checks_rows, checks_told
from app.chaos.checks_rows import Kept
from app.chaos.history import History
from app.demo.onchain import ChainLedger
from app.services import audit, verify
from app.services.audit import ChainRecord
from app.store.db import Database

MOST = 12
"""Violations of one name that are listed in full."""


async def check(history: History, database_url: str, ledger: ChainLedger | None) -> list[str]:
    """Every violation, ``name: detail`` each, none for a good run. To be asked once faults are healed and all is done.

    ``ledger``: the finalized chain, None where the run had none.
    """
    kept = await checks_rows.read(database_url)
    db = Database(database_url, pool_size=2, application="hae chaos")
    try:
        report = await verify.verify(db)
        record = await audit.chain_record(db) if ledger is not None else None
    finally:
        await db.close()
    by_itself = [f"{one.check}: {one.id}: {one.detail}" for one in report.violations]
    return shortened(by_itself + findings(history, kept, ledger, record))


def findings(
    history: History, kept: Kept, ledger: ChainLedger | None = None, record: ChainRecord | None = None
) -> list[str]:
    """Every violation that the clients' record shows, held against these rows."""
    history = as_read(history, kept.read_at)
    found = [
        *checks_jobs.submits(history, kept),
        *checks_jobs.cancels(history, kept),
        *checks_jobs.node_calls(history, kept),
        *checks_jobs.ends(kept),
        *checks_jobs.idle(history, kept),
        *checks_jobs.times(history, kept),
        *checks_plans.plans(history, kept),
        *checks_told.webhooks(history, kept),
        *checks_told.feed(history, kept),
    ]
    if ledger is not None and record is not None:
        found += checks_chain.payments(ledger, record)
    return found


def as_read(history: History, read_at: float) -> History:
    """The record as it was known when the rows were read: what was answered later is unknown."""
    before = History()
    before.faults, before.endpoints = history.faults, history.endpoints
    before.readers, before.read_to = history.readers, history.read_to
    for op in history.ops:
        before.add(op if op.ended <= read_at else structs.replace(op, outcome="unknown"))
    return before


def shortened(violations: Iterable[str]) -> list[str]:
    """The first MOST of each name, then how many more there are."""
    seen: Counter[str] = Counter()
    listed = []
    for violation in violations:
        name = violation.partition(":")[0]
        seen[name] += 1
        if seen[name] <= MOST:
            listed.append(violation)
    return listed + [f"{name}: and {count - MOST} more" for name, count in seen.items() if count > MOST]
