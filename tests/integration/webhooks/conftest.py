from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from app.core.deliveries import Event
from app.webhooks.guard import Guard
from app.webhooks.sender import Limits, Sender

LIMITS = Limits(connect_s=5.0, read_s=5.0, total_s=5.0)


@pytest.fixture
def event() -> Event:
    data = {
        "job_id": "job_1",
        "node_id": "node_1",
        "type": "render",
        "duration_ms": 10,
        "cost": 2_000_000_000,
    }
    return Event("evt_1", "job_completed", datetime(2026, 1, 1, tzinfo=UTC), data)


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    """One that may send to 127.0.0.0/8."""
    async with Sender(Guard(["127.0.0.0/8"]), LIMITS) as opened:
        yield opened


@pytest.fixture
async def strict() -> AsyncIterator[Sender]:
    """One that may send to public addresses only."""
    async with Sender(Guard(), LIMITS) as opened:
        yield opened
