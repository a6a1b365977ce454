"""What clients and operators do on chain once the engine says how a job ended: report and pay it, or cancel it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from app.demo.agent import Creation, Ledger
from app.demo.api import Api, ChainApi
from app.demo.onchain import EndJob, Pay
from app.demo.receivers import Ended
from app.demo.trace import TraceNode
from app.services import audit
from app.store.db import Database

GATHER_S = 0.25
"""Ends of jobs are taken together for that long."""
_PAGE = 100


class Settling:
    """Follows the webhooks of jobs' ends. ``paid``: what was paid for, by the account's address; ``cancelled``: those
    of jobs that nobody completed.

    ``operator``: the API with a key that sees all jobs. ``nodes``: the trace's, by wallet.
    """

    def __init__(
        self, operator: Api, chain: ChainApi, db: Database, ledger: Ledger, nodes: Mapping[str, TraceNode]
    ) -> None:
        self.paid: dict[str, Pay] = {}
        self.cancelled: set[str] = set()
        self._operator = operator
        self._chain = chain
        self._db = db
        self._ledger = ledger
        self._nodes = nodes
        self._node_of: dict[str, TraceNode] = {}
        self._hashes: dict[str, str] = {}

    @property
    def done(self) -> int:
        """Jobs that are over on chain."""
        return len(self.paid) + len(self.cancelled)

    async def run(self, ends: asyncio.Queue[Ended]) -> None:
        """Act on ends of jobs as they come, for ever."""
        waiting: list[Ended] = []
        while True:
            if not waiting:
                waiting.append(await ends.get())
            await asyncio.sleep(GATHER_S)
            while not ends.empty():
                waiting.append(ends.get_nowait())
            waiting = await self._act(waiting)

    async def _act(self, ends: list[Ended]) -> list[Ended]:
        """Carry out what can be; the others, whose job is not on chain yet."""
        await self._learn(ends)
        orders: list[EndJob] = []
        early: list[Ended] = []
        for end in ends:
            creation = self._ledger.created.get(self._hashes.get(end.job_id, ""))
            if creation is None:
                early.append(end)
            else:
                orders.append(self._order(end, creation))
        if orders:
            await self._chain.end(orders)
        return early

    def _order(self, end: Ended, creation: Creation) -> EndJob:
        one = creation.one
        if not end.completed:
            self.cancelled.add(creation.address)
            return EndJob(creation.name, one.client)
        self.paid[creation.address] = one.pay
        return EndJob(creation.name, one.client, self._node_of[end.node_id].id, one.pay, one.processed)

    async def _learn(self, ends: Iterable[Ended]) -> None:
        """Look up what the engine's ids stand for: a job's hash in its lists, a node's wallet among its operators'."""
        if any(end.completed and end.node_id not in self._node_of for end in ends):
            ids = await audit.node_ids(self._db)
            self._node_of = {id_: self._nodes[wallet] for wallet, id_ in ids.items() if wallet in self._nodes}
        unknown = {end.job_id for end in ends} - self._hashes.keys()
        cursor = ""
        while unknown:
            page = await self._operator.call("GET", f"/v1/jobs?limit={_PAGE}&cursor={cursor}")
            self._hashes.update((job["job_id"], job["requirements_hash"]) for job in page["jobs"])
            unknown -= self._hashes.keys()
            cursor = page["next_cursor"]
            if not cursor:
                return
