"""Use cases of operators: deliveries to webhooks that were given up."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.errors import InvalidInput
from app.store import deliveries
from app.store.db import Database
from app.store.deliveries import DeadDelivery

AT_ONCE = 1_000
"""Deliveries that are requeued in one call at most."""


async def dead(db: Database, endpoint: str, before: str, limit: int) -> list[DeadDelivery]:
    """Dead deliveries (of the endpoint, "" = all), newest event first, from behind ``before`` ("" = from the top).

    Raises InvalidInput when ``before`` is no id of a delivery.
    """
    try:
        async with db.unit() as uow:
            return await deliveries.dead(uow, endpoint or None, before or None, limit)
    except ValueError:
        raise InvalidInput("not a cursor that this list gave", field="cursor") from None


async def requeue(db: Database, ids: Sequence[str], endpoint: str) -> list[str]:
    """Send dead deliveries again, as if for the first time: these, or up to AT_ONCE of the endpoint; the ids of those
    that were dead. Raises InvalidInput when an id cannot be one."""
    try:
        async with db.unit() as uow:
            return await deliveries.requeue(uow, ids, endpoint or None, AT_ONCE)
    except ValueError:
        raise InvalidInput("not the id of a delivery", field="ids") from None
