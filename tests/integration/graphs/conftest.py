from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.store.db import Database


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()
