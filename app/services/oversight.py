"""What operators look at: how the reading of the chain stands, and what of it could not be read."""

from __future__ import annotations

from app.store.chain import status
from app.store.chain.status import ChainStatus, QuarantinePlace, QuarantineRow
from app.store.db import Database


async def chain_status(db: Database) -> ChainStatus:
    """As of this moment."""
    async with db.unit() as uow:
        return await status.status(uow)


async def quarantine(
    db: Database, *, after: QuarantinePlace | None, reason: str, resolved: bool, limit: int
) -> list[QuarantineRow]:
    """Entries from the newest slot down, behind the place ``after``; of one ``reason`` unless empty."""
    async with db.unit() as uow:
        return await status.quarantine_page(uow, after=after, reason=reason, resolved=resolved, limit=limit)
