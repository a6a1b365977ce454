"""Planted bugs: mistakes that real engines have made, for the chaos suite to catch. Each is the suite's own test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import asyncpg

from app.chaos import bugs_planting
from app.chaos.bugs_edges import EDGES
from app.chaos.bugs_planting import Bug
from app.chaos.bugs_waves import WAVES

BUGS: Final[Mapping[str, Bug]] = {bug.name: bug for bug in (*WAVES, *EDGES)}
"""Every planted bug by its name."""


def plant(name: str) -> None:
    """Change what this process is about to import. Raises OutgrownError when the product has outgrown the bug."""
    bugs_planting.plant(BUGS[name])


async def plant_schema(database_url: str, name: str) -> None:
    """Take the guards that the bug does without out of a migrated database; once, before the engine starts."""
    connection = await asyncpg.connect(database_url)
    try:
        for statement in BUGS[name].schema:
            await connection.execute(statement)
    finally:
        await connection.close()
