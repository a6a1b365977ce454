"""The index of the chain: what the listener finds goes in here, and what follows from it is done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal

from app.chain.model import Batch
from app.core.chain import Commitment
from app.core.folding import JOB_CREATED, JOB_EVENTS, NODE_EVENTS, NODE_REGISTERED
from app.core.payouts import Wallets
from app.services.chain import jobs, nodes
from app.services.chain.recording import Findings, sort
from app.services.chain.rules import JobDefaults, Look, Rules
from app.store.chain import events, links, payments, projections
from app.store.chain.events import EventRow, KnownEvent
from app.store.db import UnitOfWork

DUE_AT_ONCE = 1000


class ChainIndex:
    """Implements app.chain.model.Index.

    ``hyper_mint``, ``treasury``, ``incentive_pool``: what payments are held against; empty = not known. ``defaults``:
    for jobs that come without a spec, ``spec_grace_s`` after they were seen. ``default_price``: base units of HYPER per
    GPU-hour, of nodes that only the chain knows.

    One transaction at a time writes: each call that does waits for those before it to end. In a transaction of several
    calls, jobs may be waited for while nodes are held, which waves do the other way round: a deadlock then ends one of
    the two, which is tried again.
    """

    def __init__(
        self,
        *,
        hyper_mint: str = "",
        treasury: str = "",
        incentive_pool: str = "",
        spec_grace_s: float,
        defaults: JobDefaults,
        default_price: int,
    ) -> None:
        wallets = Wallets(hyper_mint, treasury, incentive_pool)
        self._rules = Rules(wallets, timedelta(seconds=spec_grace_s), defaults, default_price)

    async def resolve(
        self, uow: UnitOfWork, wanted: Sequence[tuple[Literal["job", "node"], str, tuple[str, ...]]]
    ) -> list[str | None]:
        await events.by_index(uow)
        found: dict[tuple[str, str, tuple[str, ...]], str | None] = {}
        for kind in ("job", "node"):
            asked = [one for one in wanted if one[0] == kind]
            if not asked:
                continue
            names = await projections.names_of(uow, kind, sorted({account for one in asked for account in one[2]}))
            only = await projections.named(uow, kind, sorted({one[1] for one in asked}))
            for one in asked:
                among = (account for account in one[2] if names.get(account) == one[1])
                found[one] = next(among, None) or _single(only.get(one[1], set()))
        return [found.get(one) for one in wanted]

    async def record(self, uow: UnitOfWork, batch: Batch) -> int:
        await events.lock(uow)
        signatures = {*batch.slots, *(event.event.key.signature for event in batch.events)}
        findings = sort(batch, await events.known(uow, sorted(signatures)))
        await events.quarantine(uow, findings.quarantined, list(batch.slots))
        await events.add(uow, findings.new)
        await events.replace(uow, findings.again)
        await events.place(uow, findings.gone)
        new = {row.key for row in findings.new}
        look = Look(payments=[row for row in findings.payments if row.key in new], accounts=batch.accounts)
        await payments.replace(uow, [row for row in findings.payments if row.key not in new])
        for name, address in findings.addresses:
            look.at(name, address)
        look.note(_as_known(row) for row in findings.again)
        look.note(findings.gone)
        look.note(await self._adopt(uow, findings))
        await self._refold(uow, look)
        return findings.landed

    async def unfinal(self, uow: UnitOfWork, up_to_slot: int, limit: int) -> list[tuple[str, int]]:
        return await events.unfinal(uow, up_to_slot, limit)

    async def promote(self, uow: UnitOfWork, slots: Mapping[str, int]) -> int:
        await events.lock(uow)
        return await self._changed(uow, await events.promote(uow, slots))

    async def orphan(self, uow: UnitOfWork, signatures: Sequence[str]) -> int:
        await events.lock(uow)
        return await self._changed(uow, await events.orphan(uow, signatures))

    async def due(self, uow: UnitOfWork) -> int:
        waiting = await links.waiting(uow, DUE_AT_ONCE)
        if not waiting:
            return 0
        await events.lock(uow)
        return await jobs.refold(uow, self._rules, Look(jobs=set(waiting)))

    async def _changed(self, uow: UnitOfWork, changed: Sequence[KnownEvent]) -> int:
        look = Look()
        look.note(changed)
        look.doubted = {event.address for event in changed if event.address and event.commitment is Commitment.ORPHANED}
        await self._refold(uow, look)
        return len(changed)

    async def _refold(self, uow: UnitOfWork, look: Look) -> None:
        # Jobs before nodes, as waves lock them.
        await jobs.refold(uow, self._rules, look)
        await nodes.refold(uow, self._rules, look)

    async def _adopt(self, uow: UnitOfWork, findings: Findings) -> list[KnownEvent]:
        """Events that came before anyone knew whose they are: they are of the only job or node of that name."""
        arrived: dict[tuple[str, str], set[str]] = {}
        subjects = set()
        for row in (*findings.new, *findings.again):
            if row.subject is None:
                continue
            if row.name in (JOB_CREATED, NODE_REGISTERED) and row.address is not None:
                arrived.setdefault((_kind(row.name), row.subject), set()).add(row.address)
                subjects.add(row.subject)
            elif row.address is None:
                subjects.add(row.subject)
        adopted: list[KnownEvent] = []
        waiting = await events.homeless(uow, sorted(subjects))
        for kind, names in (("job", JOB_EVENTS), ("node", NODE_EVENTS)):
            lost = sorted({subject for subject, name in waiting if name in names})
            if not lost:
                continue
            known = await projections.named(uow, kind, lost)
            homes = {
                subject: home
                for subject in lost
                if (home := _single(known.get(subject, set()) | arrived.get((kind, subject), set()))) is not None
            }
            adopted += await events.adopt(uow, homes, names)
        return adopted


def _single(addresses: set[str]) -> str | None:
    return next(iter(addresses)) if len(addresses) == 1 else None


def _kind(name: str) -> str:
    return "node" if name in NODE_EVENTS else "job"


def _as_known(row: EventRow) -> KnownEvent:
    return KnownEvent(row.key, row.slot, row.commitment, row.name, row.address)
