"""From confirmed to final: what the chain has rooted is promoted, what it has dropped is taken back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from app.chain.model import Index
from app.chain.rpc import RpcClient, RpcError
from app.chain.statuses import STATUSES_AT_ONCE, statuses_at
from app.core.errors import HaeError
from app.store.chain import cursors
from app.store.db import Database

log = logging.getLogger(__name__)

AT_ONCE = 1000
LOST_LOOKS = 3
"""How often a transaction must be gone from the chain before what it did is taken back."""
MOVED_LOOKS = 10
"""How often one that landed in another slot is left to be read again there, before it is taken as it is."""


class Finality:
    """Follows the finalized slot for one leader. ``reread``: told of transactions that are not where they were, and
    must be read again wherever they are listed."""

    def __init__(
        self,
        rpc: RpcClient,
        index: Index,
        db: Database,
        epoch: int,
        reread: Callable[[Sequence[str]], None] = lambda signatures: None,
    ) -> None:
        self.finalized_slot = 0
        self.tip_slot = 0
        self._rpc = rpc
        self._index = index
        self._db = db
        self._epoch = epoch
        self._reread = reread
        self._lost: dict[str, int] = {}
        self._moved: dict[str, int] = {}
        self._stuck: set[str] = set()

    async def look(self) -> None:
        """Ask how far the chain is. Raises RpcUnavailable and LeadershipLost."""
        # As the node sees it that answers now, which may be behind the one asked before: what it lists goes no further.
        self.tip_slot = await self._rpc.slot("confirmed")
        self.finalized_slot = max(self.finalized_slot, await self._rpc.slot("finalized"))
        async with self._db.unit() as uow:
            await cursors.note_slots(uow, self._epoch, tip=self.tip_slot, finalized=self.finalized_slot)

    async def check(self) -> tuple[int, int]:
        """Settle what confirmed events of finalized slots became: ``(promoted, taken back)``, in events."""
        promoted = orphaned = 0
        after: tuple[str, int] | None = None
        while True:
            async with self._db.unit() as uow:
                waiting = await self._index.unfinal(uow, self.finalized_slot, AT_ONCE)
            # What stays unsettled stays first in the list: it is looked at once a check.
            if not waiting or waiting[0] == after:
                break
            after = waiting[0]
            some = await self._settle(waiting)
            promoted += some[0]
            orphaned += some[1]
            if len(waiting) < AT_ONCE:
                break
        return promoted, orphaned

    async def _settle(self, waiting: Sequence[tuple[str, int]]) -> tuple[int, int]:
        final: dict[str, int] = {}
        gone: list[str] = []
        moved: list[str] = []
        missing: list[tuple[str, int]] = []
        for start in range(0, len(waiting), STATUSES_AT_ONCE):
            some = waiting[start : start + STATUSES_AT_ONCE]
            node_slot, statuses = await statuses_at(self._rpc, [signature for signature, _ in some])
            for (signature, slot), status in zip(some, statuses, strict=True):
                if status is None:
                    # A node that is behind does not have it yet.
                    if node_slot >= self.finalized_slot:
                        missing.append((signature, slot))
                    continue
                self._lost.pop(signature, None)
                if status.confirmation != "finalized":
                    continue
                if status.failed:
                    # It landed again on the winning fork, and failed there.
                    gone.append(signature)
                elif status.slot == slot or self._looked(self._moved, signature) > MOVED_LOOKS:
                    final[signature] = status.slot
                else:
                    # It ran anew in another slot, and may have done something else there.
                    moved.append(signature)
        gone += await self._lost_for_good(missing)
        self._reread(moved)
        return await self._write(final, gone)

    async def _write(self, final: dict[str, int], gone: Sequence[str]) -> tuple[int, int]:
        """Promote and take back. What cannot be is tried alone, so that the others go on."""
        parts = [{signature: final.get(signature) for signature in (*final, *gone) if signature not in self._stuck}]
        parts += [{signature: final.get(signature)} for signature in (*final, *gone) if signature in self._stuck]
        promoted = orphaned = 0
        for part in parts:
            try:
                some = await self._apply(part)
            except HaeError:
                raise
            except Exception as error:
                if len(part) > 1:
                    parts += [{signature: slot} for signature, slot in part.items()]
                elif not self._stuck.issuperset(part):
                    log.error("transaction %s cannot become final", *part, exc_info=error)
                    self._stuck.update(part)
            else:
                promoted, orphaned = promoted + some[0], orphaned + some[1]
        return promoted, orphaned

    async def _apply(self, part: Mapping[str, int | None]) -> tuple[int, int]:
        """``part``: slots of what is final, None for what is gone."""
        final = {signature: slot for signature, slot in part.items() if slot is not None}
        gone = [signature for signature, slot in part.items() if slot is None]
        if not part:
            return 0, 0
        promoted = orphaned = 0
        # A transaction each: both hold nodes at their end and wait for jobs at their beginning.
        if final:
            async with self._db.unit() as uow:
                await cursors.guard(uow, self._epoch)
                promoted = await self._index.promote(uow, final)
        if gone:
            async with self._db.unit() as uow:
                await cursors.guard(uow, self._epoch)
                orphaned = await self._index.orphan(uow, gone)
        for signature in part:
            self._lost.pop(signature, None)
            self._moved.pop(signature, None)
        self._stuck.difference_update(part)
        self._reread(gone)
        if orphaned:
            log.warning("%d events of %d transactions were forked out and taken back", orphaned, len(gone))
        return promoted, orphaned

    async def _lost_for_good(self, missing: Sequence[tuple[str, int]]) -> list[str]:
        """Those that no look finds any more, neither their status nor the transaction itself, on a node whose history
        reaches back to them."""
        if not missing:
            return []
        first = await self._first_slot()
        bodies = await self._rpc.transactions([signature for signature, _ in missing])
        found = []
        for (signature, slot), body in zip(missing, bodies, strict=True):
            if body is not None or slot < first:
                self._lost.pop(signature, None)
            elif self._looked(self._lost, signature) >= LOST_LOOKS:
                found.append(signature)
        return found

    async def _first_slot(self) -> int:
        """Where the node's history begins; 0 where it does not say."""
        try:
            first = await self._rpc.call("getFirstAvailableBlock", [])
        except RpcError:
            return 0
        return first if type(first) is int else 0

    @staticmethod
    def _looked(looks: dict[str, int], signature: str) -> int:
        looks[signature] = looks.get(signature, 0) + 1
        return looks[signature]
