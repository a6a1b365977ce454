"""A listener that dies at any step leaves a database from which the next one ends with exactly the chain's events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.chain.devchain.config import JOB_RECEIPT
from app.chain.finality import Finality
from app.chain.reader import Reader
from app.chain.rpc import Endpoint, RpcClient
from app.chain.scan import Scanner
from app.chain.scanning import ScanLimits
from app.store.chain import cursors
from app.store.db import Database, UnitOfWork
from tests.integration.chain.world import PROGRAMS, World
from tests.integration.chain.world import world as new_world


class Killed(BaseException):
    """The process is no more."""


class Life:
    """So many steps, then death."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self) -> None:
        if self.left <= 0:
            raise Killed
        self.left -= 1


class MortalDatabase(Database):
    """Dies before a commit, or after it."""

    life: Life

    @asynccontextmanager
    async def unit(self) -> AsyncIterator[UnitOfWork]:
        async with super().unit() as uow:
            yield uow
            self.life.step()
        self.life.step()


class MortalRpc(RpcClient):
    """Dies with an answer in hand."""

    life: Life

    async def _settle(
        self, method: str, params: Sequence[Sequence[Any]], read: Callable[[Any], Any], tries: int = 0
    ) -> list[Any]:
        answer = await super()._settle(method, params, read, tries)
        self.life.step()
        return answer


class Mortal:
    """A leader that can be killed."""

    def __init__(self, world: World, db: MortalDatabase, rpc: MortalRpc) -> None:
        self.world = world
        self.db = db
        self.rpc = rpc

    async def live(self, steps: int) -> bool:
        """Do a leader's work; whether it is done within so many steps."""
        self.db.life = self.rpc.life = Life(steps)
        try:
            await self._work()
        except Killed:
            return False
        return True

    async def _work(self) -> None:
        index = self.world.index
        async with self.db.unit() as uow:
            epoch = await cursors.take_over(uow, "mortal")
        reader = Reader(self.rpc, PROGRAMS, index, self.db)
        finality = Finality(self.rpc, index, self.db, epoch)
        scanner = Scanner(
            JOB_RECEIPT, rpc=self.rpc, reader=reader, index=index, db=self.db, epoch=epoch, limits=self.world.limits
        )
        await finality.look()
        await scanner.round(finality.finalized_slot, finality.tip_slot)
        await finality.check()


@asynccontextmanager
async def mortal(database_url: str, limits: ScanLimits) -> AsyncIterator[Mortal]:
    async with new_world(database_url, limits=limits) as world:
        db = MortalDatabase(database_url, pool_size=3)
        async with MortalRpc([Endpoint(world.served.url)]) as rpc:
            try:
                yield Mortal(world, db, rpc)
            finally:
                await db.close()


async def clean(world: World) -> None:
    """Nothing is left of the work, and nothing of the events."""
    assert await world.rows("SELECT scan_slot FROM chain_cursors") == [(None,)]
    assert await world.rows("SELECT id FROM chain_pages WHERE done < jsonb_array_length(entries)") == []
    async with world.db.unit() as uow:
        for table in ("events", "cursors", "pages", "jobs", "payments"):
            await uow.sql.execute(f"DELETE FROM chain_{table}")


@pytest.mark.parametrize("page", [1000, 3])
async def test_death_at_every_step(database_url: str, page: int) -> None:
    """``page`` 3: the listing is kept in pages."""
    async with mortal(database_url, ScanLimits(page=page, chunk=2, overlap_slots=4)) as leader:
        world = leader.world
        world.backlog(6, per_block=2)
        world.land(4)
        truth = world.truth()
        steps = 0
        while not await leader.live(steps):
            await world.lead()
            await world.scan()
            assert await world.told() == truth, f"after a death at step {steps}"
            await clean(world)
            steps += 1
        assert await world.told() == truth
        assert await world.count("confirmed") == 0
        assert steps > (15 if page > 6 else 25)


async def test_death_after_death(database_url: str) -> None:
    """Nobody gets far, but everybody gets further."""
    async with mortal(database_url, ScanLimits(page=3, chunk=2, overlap_slots=4)) as leader:
        world = leader.world
        for fork in range(3):
            world.backlog(8, per_block=2, seed=fork)
            steps = 6
            while not await leader.live(steps):
                steps += 1
            assert await world.exact()
            assert steps > 8
