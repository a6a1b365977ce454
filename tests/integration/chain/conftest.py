"""A world for every test that asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.chain.world import World
from tests.integration.chain.world import world as new_world


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """Slots advance by hand: 1 to confirmed, 4 to finalized."""
    async with new_world(database_url) as opened:
        yield opened
