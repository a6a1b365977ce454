"""What the planted bug `lost_signal` does: take signals out of the inbox before anything has come of them."""

from __future__ import annotations

from typing import Any


async def claim_for_good(db: Any, limit: int, share: Any) -> list[tuple[int, str, str]]:
    """Claim due signals and consume them, in a transaction of its own."""
    from app.store import signals

    async with db.unit() as uow:
        due = await signals.claim_due(uow, limit, share)
        await signals.consume(uow, [signal_id for signal_id, _, _ in due], [])
    return due
