"""What each API key may have: its share of scarce slots, how many it may hold, how many jobs of it may wait."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from app.core.errors import QuotaExceeded
from app.matchmaker.fairness import Share
from app.settings import JobsSettings
from app.store import backlog, counts, keys
from app.store.db import UnitOfWork
from app.store.keys import KeyRow

CACHE_S: Final = 5.0
"""How long a process may go on by a key's old limits."""

_REMEMBERED = 10_000
_RETRY_AFTER_S = 5.0


@dataclass(frozen=True, slots=True)
class QuotaRules:
    """The settings' word for keys that have none of their own. ``age``: of waiting that is worth a step of priority."""

    age: timedelta = timedelta(seconds=60)
    max_active: int = 0
    max_queued: int = 0


def quota_rules(settings: JobsSettings) -> QuotaRules:
    """The rules of these settings."""
    age = timedelta(seconds=settings.age_per_priority_s)
    return QuotaRules(age, settings.max_active_per_key, settings.max_queued_per_key)


class Quotas:
    """The limits of keys, remembered for CACHE_S, and what they hold: exactly where a key has a quota, under a lock."""

    def __init__(self, rules: QuotaRules) -> None:
        self.rules = rules
        self._limits: dict[str, tuple[float, Share, int]] = {}

    async def shares(self, uow: UnitOfWork, key_ids: Iterable[str], *, contended: bool) -> dict[str, Share]:
        """The shares of these keys, for one wave. ``contended``: whether there may not be slots enough for all.

        Waves that place jobs of a key with a quota take turns from here to their commit: none is ever overdrawn.
        """
        names = sorted(set(key_ids))
        limits = {key_id: share for key_id, (share, _) in (await self._known(uow, names)).items()}
        bounded = [key_id for key_id in names if limits[key_id].max_active]
        held: Mapping[str, int] = {}
        if bounded:
            await backlog.lock_held(uow, bounded)
            held = await counts.slots_held(uow, names)
        elif contended and len(names) > 1:
            held = await counts.slots_held(uow, names)
        return {key_id: replace(share, held=held.get(key_id, 0)) for key_id, share in limits.items()}

    async def take_turns(self, uow: UnitOfWork, key_ids: Iterable[str]) -> None:
        """For a transaction that asks ``admit`` more than once, before it does, and before it reserves anything: take
        the turns of all these keys, at once and in order."""
        known = await self._known(uow, sorted(set(key_ids)))
        bounded = [key_id for key_id, (_, bound) in known.items() if bound]
        if bounded:
            await backlog.lock_waiting(uow, bounded)

    async def admit(self, uow: UnitOfWork, key_ids: list[str]) -> list[QuotaExceeded | None]:
        """Whether one more job each may wait, in this order; the caller inserts those that may in this transaction.

        Submissions under a key with a quota take turns from here to their commit, so that it is exact however many come
        at once. Jobs that return to the queue later are not held against anybody: they may exceed it.
        """
        if not key_ids:
            return []
        bounds = {key_id: bound for key_id, (_, bound) in (await self._known(uow, sorted(set(key_ids)))).items()}
        bounded = sorted(key_id for key_id, bound in bounds.items() if bound)
        if not bounded:
            return [None] * len(key_ids)
        await backlog.lock_waiting(uow, bounded)
        waiting = Counter(await counts.waiting(uow, bounded))
        answers: list[QuotaExceeded | None] = []
        for key_id in key_ids:
            if bounds[key_id] and waiting[key_id] >= bounds[key_id]:
                answers.append(_full(bounds[key_id]))
            else:
                waiting[key_id] += 1
                answers.append(None)
        return answers

    async def of(self, uow: UnitOfWork, key_id: str) -> tuple[int, int]:
        """Slots that the key's jobs may hold at once, and jobs of it that may wait; 0 = any number."""
        share, waiting = (await self._known(uow, [key_id]))[key_id]
        return share.max_active, waiting

    async def _known(self, uow: UnitOfWork, key_ids: list[str]) -> dict[str, tuple[Share, int]]:
        """The share of each key, with nothing held, and how many of its jobs may wait (0 = any number)."""
        now = time.monotonic()
        known = {key_id: self._limits[key_id] for key_id in key_ids if key_id in self._limits}
        missing = [key_id for key_id in key_ids if key_id not in known or known[key_id][0] <= now]
        if missing:
            # Nothing is noted before the rows are there: calls on other connections go by the same memory meanwhile.
            rows = {row.id: row for row in await keys.by_ids(uow, missing)}
            found = {key_id: (now + CACHE_S, *self._limits_of(rows.get(key_id))) for key_id in missing}
            if len(self._limits) > _REMEMBERED:
                self._limits.clear()
            self._limits |= found
            known |= found
        return {key_id: known[key_id][1:] for key_id in key_ids}

    def _limits_of(self, row: KeyRow | None) -> tuple[Share, int]:
        """The settings' limits where the key says none; keys of the settings and of the chain have no row."""
        rules = self.rules
        if row is None:
            return Share(1, rules.max_active), rules.max_queued
        active = rules.max_active if row.max_active is None else row.max_active
        return Share(row.weight, active), rules.max_queued if row.max_queued is None else row.max_queued


def _full(bound: int) -> QuotaExceeded:
    return QuotaExceeded(
        f"{bound} jobs of this API key are waiting for a node, which is as many as may",
        next_action="Wait until some of them have started and send the request again, or cancel what is not needed.",
        retry_after=_RETRY_AFTER_S,
    )
