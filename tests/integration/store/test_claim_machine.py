"""Eight at once claim, release, change nodes and crash, each on a connection of its own, as hypothesis chooses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from app.core.ids import new_id
from app.core.jobs import Offer
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.core.states import NodeState, OfferState
from app.matchmaker.filters import first_failure
from app.store import claims, offers, peers
from app.store.claims import Claimed, Want
from app.store.db import Database, UnitOfWork
from app.store.rows import NODE_COLUMNS, node_from

NODES = 5
AT_ONCE = 8
MODELS = ("a100", "t4")

requirements = st.builds(
    Requirements,
    gpu_models=st.sampled_from(((), ("a100",), ("t4", "a100"))),
    gpus=st.sampled_from((1, 1, 1, 2, 3)),
    min_vram_gb=st.sampled_from((0, 0, 32)),
    region=st.sampled_from(("", "", "EU")),
    min_reputation=st.sampled_from((0, 0, 300)),
    max_price=st.sampled_from((None, None, 150)),
)
# Few nodes and many wants: most batches name a node twice, and most nodes are wanted by several batches.
batches = st.lists(st.tuples(st.integers(0, NODES), requirements), min_size=1, max_size=12)
claiming = st.tuples(st.just("claim"), batches, st.booleans(), st.sampled_from((False, False, False, True)))
releasing = st.tuples(
    st.just("release"), st.lists(st.integers(0, 50), min_size=1, max_size=6), st.sampled_from((False, False, True))
)
changes = st.sampled_from(
    (
        "state = 'offline'", "state = 'draining'", "state = 'online'", "state = 'online'", "price = 100", "price = 200",
        "reputation = 100", "reputation = 500", "trial = 1", "trial = 0", "capacity = greatest(active_jobs, 4)",
        "capacity = greatest(active_jobs, 1)",
    )
)  # fmt: skip
changing = st.tuples(st.just("change"), st.integers(0, NODES - 1), changes)
storms = st.lists(st.one_of(claiming, claiming, claiming, releasing, changing), min_size=2, max_size=AT_ONCE)


class Crash(Exception):
    """Ends a transaction before its commit."""


def node(number: int) -> NodeRecord:
    return NodeRecord(
        f"node_{number}", MODELS[number % 2], 4, 24 + 16 * (number % 2), 255, "EU" if number % 3 else "NA", 400, 0,
        100 + 50 * number, 0, 0, 0, NodeState.ONLINE, 1 + number % 4, 0, 1,
    )  # fmt: skip


class ClaimMachine(RuleBasedStateMachine):
    """The database is the model of itself: what must hold is checked in every transaction and after every storm."""

    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.db = Database(self.url, pool_size=AT_ONCE)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(asyncio.wait_for(work, 30.0))

    def teardown(self) -> None:
        self.run(self.db.close())
        self.loop.close()

    @initialize()
    def fill(self) -> None:
        self.run(self._fill())

    async def _fill(self) -> None:
        async with self.db.unit() as uow:
            await uow.sql.execute("TRUNCATE nodes, node_heartbeats, offers")
            await peers.load_nodes(uow, [node(number) for number in range(NODES)])

    @rule(storm=storms)
    def storm(self, storm: Sequence[tuple[Any, ...]]) -> None:
        acts: dict[str, Callable[..., Coroutine[Any, Any, None]]]
        acts = {"claim": self._claim, "release": self._release, "change": self._change}
        self.run(self._all([acts[kind](*how) for kind, *how in storm]))

    async def _all(self, acts: Sequence[Coroutine[Any, Any, None]]) -> None:
        await asyncio.gather(*acts)

    async def _claim(self, asked: Sequence[tuple[int, Requirements]], wait: bool, crash: bool) -> None:
        wants = [Want(new_id("job"), f"node_{number}", wanted) for number, wanted in asked]
        try:
            async with self.db.unit() as uow:
                claimed = await claims.claim(uow, wants, wait=wait)
                await check_claimed(uow, wants, claimed, wait)
                won = [want for want in wants if want.id in claimed.granted]
                await offers.insert(uow, [offer(uow, want, claimed.nodes[want.node_id]) for want in won])
                if crash:
                    raise Crash
        except Crash:
            pass

    async def _release(self, places: Sequence[int], crash: bool) -> None:
        try:
            async with self.db.unit() as uow:
                held = [row[0] for row in await uow.sql.fetch("SELECT id FROM offers WHERE holds_slots ORDER BY id")]
                chosen = {held[place % len(held)] for place in places} if held else set()
                # Whoever is second finds nothing to release: offers before nodes, each in id order, as everywhere.
                locked = await offers.lock(uow, sorted(chosen))
                freed: dict[str, int] = {}
                for one in locked.values():
                    if one.holds_slots:
                        freed[one.node_id] = freed.get(one.node_id, 0) + one.slots
                await uow.sql.execute(
                    "UPDATE offers SET holds_slots = false, state = 'withdrawn' WHERE id = ANY($1::text[])",
                    [one.id for one in locked.values() if one.holds_slots],
                )
                await claims.release(uow, freed.items())
                if crash:
                    raise Crash
        except Crash:
            pass

    async def _change(self, number: int, change: str) -> None:
        async with self.db.unit() as uow:
            await uow.sql.execute(f"UPDATE nodes SET {change}, version = version + 1 WHERE id = $1", f"node_{number}")

    @invariant()
    def slots_add_up(self) -> None:
        self.run(self._slots_add_up())

    async def _slots_add_up(self) -> None:
        async with self.db.unit() as uow:
            held = await peers.slots_offered(uow)
            for node_id, (slots, capacity) in (await peers.slots_of(uow)).items():
                assert slots == held.get(node_id, 0), f"{node_id} counts {slots}, offers hold {held.get(node_id, 0)}"
                assert slots <= capacity, f"{node_id} holds {slots} of {capacity}"


async def check_claimed(uow: UnitOfWork, wants: Sequence[Want], claimed: Claimed, wait: bool) -> None:
    """Every grant was feasible in its turn, every refusal was due, and the rows returned are the true ones."""
    rows = await uow.sql.fetch(f"SELECT {NODE_COLUMNS} FROM nodes WHERE id = ANY($1::text[])", list(claimed.nodes))
    assert claimed.nodes == {row[0]: node_from(row) for row in rows}
    asked = {want.node_id for want in wants}
    assert claimed.nodes.keys() | claimed.contended | claimed.gone == asked
    assert claimed.gone == asked & {f"node_{NODES}"} and not (wait and claimed.contended)
    left = {node_id: claims.before(row, claimed.taken.get(node_id, 0)) for node_id, row in claimed.nodes.items()}
    for want in wants:
        row = left.get(want.node_id)
        fits = row is not None and first_failure(row, want.requirements, 0) is None
        assert (want.id in claimed.granted) is fits, f"{want} on {row}"
        if row is not None and fits:
            row.active_jobs += want.requirements.gpus


def offer(uow: UnitOfWork, want: Want, row: NodeRecord) -> Offer:
    return Offer(
        new_id("offer"), want.id, want.node_id, 1, OfferState.OPEN, True, want.requirements.gpus, row.price, None,
        uow.now, uow.now + timedelta(minutes=1), None, None,
    )  # fmt: skip


def test_no_interleaving_of_claimers_oversubscribes(database_url: str) -> None:
    machine = type("Claims", (ClaimMachine,), {"url": database_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=8,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
