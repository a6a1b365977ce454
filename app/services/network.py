"""The network as a whole: its figures, and messages sent by hand."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from app.core.access import Principal
from app.core.events import EventKind
from app.core.jobs import Job
from app.store import events, figures, jobs, nodes
from app.store.chain import job_links
from app.store.db import Database
from app.store.events import NewEvent
from app.store.figures import Figures
from app.store.nodes import NodeRow


class NetworkFigures:
    """Figures of the network, counted at most every ``max_age_s``: they are public and read all nodes."""

    def __init__(self, db: Database, max_age_s: float = 2.0) -> None:
        self.db = db
        self.max_age_s = max_age_s
        self._figures: Figures | None = None
        self._counted = 0.0
        # Anyone may ask, and all at once: one counts, the others wait for it.
        self._counting = asyncio.Lock()

    async def current(self) -> Figures:
        """Raises Unavailable when Postgres is away and nothing was counted before."""
        async with self._counting:
            if self._figures is None or time.monotonic() - self._counted > self.max_age_s:
                async with self.db.unit() as uow:
                    self._figures = await figures.network(uow)
                self._counted = time.monotonic()
            return self._figures


async def trigger(db: Database, principal: Principal, name: str, data: dict[str, Any]) -> None:
    """Send ``{event: name, data}`` to every webhook endpoint, as the operator's own message."""
    async with db.unit() as uow:
        told = {"event": name, **{key: value for key, value in data.items() if key != "event"}}
        await events.add(uow, [NewEvent(EventKind.OPERATOR_MESSAGE, told, principal.account)])


async def recent(db: Database, job_count: int, node_count: int) -> tuple[list[Job], dict[str, str], list[NodeRow]]:
    """The latest jobs of all accounts, the transactions that paid them, by job, and the latest nodes: what the old
    engine's validation page shows."""
    async with db.unit() as uow:
        latest, _ = await jobs.page(uow, None, states=(), types=(), before="", limit=job_count)
        on_chain = [job.id for job in latest if job.chain_job]
        paid = await job_links.payment_signatures(uow, on_chain) if on_chain else {}
        return latest, paid, await nodes.recent(uow, node_count)
