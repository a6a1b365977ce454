"""A process that runs waves until it is killed: ``python -m tests.integration.graphs.wave_worker URL MODE``.

MODE ``run`` prints a line a wave; ``hang`` stops in the middle of its first wave with moves, everything written and
nothing committed, prints ``inside`` and waits to be killed.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from app.store.db import Database
from graphs import job as job_graph
from tests import factories


async def main(url: str, mode: str) -> None:
    if mode == "hang":
        graph: Any = job_graph
        save = graph.save_wave

        async def save_and_hang(uow: Any, wave: Any) -> None:
            await save(uow, wave)
            if any(visit.moves for visit in wave.visits.values()):
                print("inside", flush=True)
                await asyncio.Event().wait()

        graph.save_wave = save_and_hang
    db = Database(url, application="doomed")
    waves = factories.runner(db, wave_size=8, offer_ttl_s=60.0)
    while True:
        await waves.views.refresh()
        report = await waves.run_once()
        if report.moves:
            print(report.moves, flush=True)
        if not report.signals:
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
