"""One chaos run: faults while jobs go through, then healing, then the checks."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.chaos import draining, recovery
from app.chaos.checks import check
from app.chaos.clients import orders
from app.chaos.engine import Size
from app.chaos.faults import FAULTS
from app.chaos.history import FaultDone, History
from app.chaos.keeping import keep
from app.chaos.plan import Planned, drawn, span_s
from app.chaos.world import World, staged
from app.demo.onchain import ChainLedger

DRAIN_S = 75.0
"""After healing, the longest until every job is over and everybody was told."""
BUG_DRAIN_S = 15.0
"""The same with a planted bug, which may well be why it never comes to that."""
CHAIN_JOBS = 0.01
"""Share of the jobs that come from the chain alone."""
_MEASURED = {
    "postgres_restart": ("postgres", recovery.after_postgres),
    "kill_listener": ("leader", recovery.after_leader),
    "node_dead": ("node", recovery.after_node),
}
"""Faults that are brought about by themselves, and how long recovery takes after each."""


@dataclass(frozen=True, slots=True)
class ChaosOptions:
    """``kinds``: of faults, empty = all. ``bug``: to plant. ``keep``: where to leave what explains a failure."""

    jobs: int
    bug: str = ""
    kinds: tuple[str, ...] = ()
    keep: Path | None = None
    size: Size = field(default_factory=Size)


@dataclass(slots=True)
class ChaosResult:
    """What came of a run. ``odd_calls``: what nodes and clients did that is wrong or done twice. ``recovery_s``: the
    longest of each, None where none was measured."""

    seed: int
    jobs: int
    faults: dict[str, int]
    odd_calls: dict[str, int]
    violations: list[str]
    recovery_s: dict[str, float | None]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The shape that is printed."""
        return {
            "seed": self.seed,
            "jobs": self.jobs,
            "faults": self.faults,
            "odd_calls": self.odd_calls,
            "violations": self.violations,
            "recovery_s": self.recovery_s,
            "seconds": round(self.seconds, 1),
        }


async def run(seed: int, options: ChaosOptions, note: Callable[[str], None]) -> ChaosResult:
    """Play one seed. ``note`` is told what goes on. Raises StartError, DemoError and EmbeddedError when it cannot."""
    began = History.now()
    async with staged(options.size, seed, options.bug, note) as world:
        one = _Run(seed, options, world, note)
        await one.play()
        violations = await one.judge()
        await _kept(options, seed, world, violations)
        result = ChaosResult(
            seed, options.jobs, one.counted(), one.odd_calls(), violations, one.recovered(), History.now() - began
        )
    # The end of the processes is a part of what is judged.
    result.violations += [f"process: {line}" for process in world.processes.values() for line in process.ended_badly]
    result.seconds = History.now() - began
    return result


async def _kept(options: ChaosOptions, seed: int, world: World, violations: list[str]) -> None:
    if options.keep is not None:
        await keep(options.keep / f"seed-{seed}", world, violations)


class _Run:
    """The course of one run on a world that stands."""

    def __init__(self, seed: int, options: ChaosOptions, world: World, note: Callable[[str], None]) -> None:
        self._seed = seed
        self._options = options
        self._world = world
        self._note = note
        self._recovery: dict[str, list[float]] = {"postgres": [], "leader": [], "node": []}
        self._trouble: list[str] = []
        self._alone = asyncio.Event()

    async def play(self) -> None:
        """Submit all jobs while faults strike; heal; wait for the end of everything."""
        world, options = self._world, self._options
        planned = drawn(self._seed, options.jobs, options.kinds)
        self._note(f"{options.jobs} jobs, {len(planned)} faults")
        background = [
            asyncio.create_task(world.onchain.create(world.clients.chain_wanted)),
            *(asyncio.create_task(reader.run()) for reader in world.readers),
        ]
        settling = asyncio.create_task(draining.settle(world))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(world.clients.play(orders(self._seed, options.jobs, span_s(options.jobs))))
                group.create_task(world.planners.play(options.jobs, span_s(options.jobs)))
                group.create_task(world.onchain.create_unasked(round(options.jobs * CHAIN_JOBS)))
                group.create_task(self._strike(planned))
            self._note("all faults are healed")
            left = await draining.until_over(world, BUG_DRAIN_S if options.bug else DRAIN_S)
            if left:
                self._trouble += [f"not_over: {count} {name} after {DRAIN_S:g} s" for name, count in left.items()]
        finally:
            settling.cancel()
            for task in background:
                task.cancel()
            for ended in await asyncio.gather(settling, *background, return_exceptions=True):
                if isinstance(ended, Exception):
                    self._trouble.append(f"harness: {type(ended).__name__}: {ended}")

    async def _strike(self, planned: Sequence[Planned]) -> None:
        began = History.now()
        striking: set[asyncio.Task[None]] = set()
        for number, one in enumerate(planned):
            await asyncio.sleep(max(0.0, began + one.due_s - History.now()))
            task = asyncio.create_task(self._strike_one(one, number))
            if one.kind in _MEASURED:
                # By itself; those behind it come so much later.
                since = History.now()
                if striking:
                    await asyncio.wait(striking)
                self._alone.set()
                await asyncio.wait({task})
                self._alone.clear()
                began += History.now() - since
            else:
                striking.add(task)
                task.add_done_callback(striking.discard)
        if striking:
            await asyncio.wait(striking)

    async def _strike_one(self, one: Planned, number: int) -> None:
        world, chance = self._world, random.Random(one.seed)
        if one.kind in _MEASURED:
            await self._alone.wait()
        began = History.now()
        recovered: float | None = None
        try:
            target = await FAULTS[one.kind](world, chance)
            healed = History.now()
            if one.kind in _MEASURED:
                name, measure = _MEASURED[one.kind]
                recovered = await measure(world, number)
                if recovered is not None:
                    self._recovery[name].append(recovered)
                    if recovered >= recovery.WITHIN_S:
                        self._trouble.append(f"no_recovery: {name} within {recovery.WITHIN_S:g} s")
        except Exception as error:
            # A fault that cannot be brought about is the suite's failure, and the run goes on to its end.
            self._trouble.append(f"harness: {one.kind}: {type(error).__name__}: {error}")
            return
        world.history.faults.append(
            FaultDone(kind=one.kind, target=target, began=began, healed=healed, recovered_s=recovered)
        )
        self._note(f"{one.kind}: {target} ({healed - began:.1f} s)")

    async def judge(self) -> list[str]:
        """Every violation."""
        world = self._world
        self._note("the checks")
        await self._name_offers()
        self._trouble += [f"harness: a node: {error}" for errors in _errors(world) for error in errors]
        ledger: ChainLedger = await world.onchain.chain.ledger()
        found = [*self._trouble, *await check(world.history, world.servers.database_url, ledger)]
        if refusals := world.clients.refusals + world.planners.refusals:
            found.append(f"refused: {len(refusals)} good submissions, one of them with {refusals[0]}")
        if world.receivers.bad_signatures:
            found.append(f"signature: {world.receivers.bad_signatures} webhooks were not signed as they should be")
        return found

    async def _name_offers(self) -> None:
        """The operators' protocol tells of no offers: name those that its calls were about."""
        sql = await recovery.connected(self._world.servers.database_url)
        try:
            rows = await sql.fetch("SELECT job_id, attempt, node_id, id FROM offers")
        finally:
            await sql.close()
        offers = {tuple(row[:3]): row[3] for row in rows}
        for node in self._world.legacy:
            for op in node.told:
                op.offer_id = offers.get((op.job_id, op.attempt, op.node_id), "")

    def counted(self) -> dict[str, int]:
        """Faults by kind."""
        return dict(sorted(Counter(fault.kind for fault in self._world.history.faults).items()))

    def odd_calls(self) -> dict[str, int]:
        """Calls by what they were made for, of those that were not ordinary."""
        return dict(sorted(Counter(op.note for op in self._world.history.ops if op.note).items()))

    def recovered(self) -> dict[str, float | None]:
        """The longest recoveries."""
        return {name: round(max(each), 2) if each else None for name, each in self._recovery.items()}


def _errors(world: World) -> list[list[str]]:
    return [*(node.errors for node in world.nodes), *(worker.errors for worker in world.legacy)]
