"""The listener as it runs: woken by notifications, led by one, and not to be stopped by sockets, floods or servers."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil
import pytest
from solders.signature import Signature

from app.chain import listener as listening
from app.chain.devchain.chain import Rejected
from app.chain.devchain.config import JOB_RECEIPT
from app.chain.devchain.faults import Kind
from app.chain.feed import LogsFeed
from app.chain.model import Batch
from app.chain.scanning import ScanLimits
from app.core.errors import Unavailable
from app.services.chain import ChainIndex
from app.store.chain import cursors, status
from app.store.chain.cursors import LeadershipLost
from app.store.db import UnitOfWork
from tests.integration.chain.world import DEADLINE_S, PROGRAMS, World
from tests.integration.chain.world import world as new_world

FLOOD = 3_000
LONG = pytest.mark.skipif(not os.environ.get("LONG_TESTS"), reason="takes 20 s: LONG_TESTS=1")


async def test_a_notified_event_is_there_at_once_and_once(world: World) -> None:
    network, payer = world.network, world.client()
    async with world.listening(scan_s=600):
        await world.until(world.is_subscribed)
        for number in range(5):
            network.register_node(payer, f"node-{number}")
            world.create(f"job-{number}")
            world.land()
            await world.until(lambda: world.exact(PROGRAMS.ids))
    assert await world.rows("SELECT count(*) FROM events WHERE kind = 'node_registered'") == [(5,)]


async def test_notifications_and_scans_together_tell_everything_once(world: World) -> None:
    network, payer = world.network, world.client()
    async with world.listening(scan_s=0.01), world.listening(scan_s=0.01):
        for number in range(20):
            network.register_node(payer, f"node-{number}")
            world.land(1)
            # The listeners' turn.
            await world.told()
        world.land()
        await world.until(lambda: world.exact(PROGRAMS.ids))
    assert await world.rows("SELECT count(*) FROM events WHERE kind = 'node_registered'") == [(20,)]
    assert await world.rows("SELECT count(*) FROM nodes") == [(20,)]


async def test_dead_sockets_come_back_and_nothing_is_missed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # Short, and not so short that a busy machine's live sockets are taken for dead, again and again.
    monkeypatch.setattr(listening, "LogsFeed", partial(LogsFeed, ping_s=0.5))
    async with world.listening(scan_s=600):
        await world.until(world.is_subscribed)
        for number, kind in enumerate((Kind.WS_CLOSE, Kind.WS_DROP, Kind.WS_HALF_OPEN)):
            world.faults.add(kind)
            # Nobody is told of these.
            world.create(f"lost-{number}")
            world.land()
            await world.until(world.exact)
            await world.until(world.is_subscribed)
            world.create(f"told-{number}")
            world.land()
            await world.until(world.exact)


async def test_a_gap_of_2500_signatures_is_closed_before_anything_else(world: World) -> None:
    world.create("before")
    world.land()
    async with world.listening(scan_s=600):
        await world.until(world.is_subscribed)
        await world.until(world.exact)
        world.faults.add(Kind.WS_REFUSE)
        world.faults.add(Kind.WS_DROP)
        world.backlog(2500, per_block=250)
        world.faults.clear()
        world.create("after")
        world.land()
        await world.until(world.exact)
        assert len(await world.told()) == 2502


async def leader(world: World) -> tuple[int, str | None]:
    ((epoch, pid),) = await world.rows(
        """SELECT epoch, (SELECT l.pid::text FROM pg_locks l JOIN pg_stat_activity a USING (pid)
            WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = 'hae leader'
                AND a.datname = current_database()) FROM chain_leader"""
    )
    return epoch, pid


async def test_one_of_two_leads_and_the_other_follows(world: World) -> None:
    one, two = world.listener(scan_s=0.05), world.listener(scan_s=0.05)
    stops = [asyncio.Event(), asyncio.Event()]
    running = [asyncio.create_task(each.run(stop)) for each, stop in zip((one, two), stops, strict=True)]
    try:
        seen = set()
        for number in range(2):
            world.create(f"job-{number}")
            world.land()
            await world.until(world.exact)
            first, second = (one, two) if one.leading else (two, one)
            assert first.leading and not second.leading
            epoch, pid = await leader(world)
            assert pid is not None
            assert epoch not in seen
            seen.add(epoch)
            old = first.scanners[JOB_RECEIPT]
            # Its connection dies; the process does not notice.
            await world.rows("SELECT pg_terminate_backend($1)", int(pid))
            await world.until(lambda: _led_by_another(world, epoch))  # noqa: B023
            world.create(f"more-{number}")
            world.land()
            await world.until(world.exact)
            with pytest.raises(LeadershipLost):
                await old.round(0, 0)
            with pytest.raises(LeadershipLost):
                await old.stall("not mine to say")
            await world.until(lambda: _one_leads((one, two)))
    finally:
        for stop in stops:
            stop.set()
        await asyncio.wait_for(asyncio.gather(*running), DEADLINE_S)
    assert await leader(world) == (max(seen) + 1, None)


async def _led_by_another(world: World, epoch: int) -> bool:
    now, pid = await leader(world)
    return now > epoch and pid is not None


async def _one_leads(listeners: tuple[listening.Listener, ...]) -> bool:
    return sum(each.leading for each in listeners) == 1


async def test_killed_listeners_are_followed_by_others(world: World, redis_url: str) -> None:
    world.backlog(2000)
    # So that there is time to die in.
    world.faults.add(Kind.SLOW, value=0.02, methods={"getTransaction"})
    for least in (1, 700):
        async with world.listener_process(redis_url) as process:
            await world.until(lambda: _at_least(world, least))  # noqa: B023
            process.kill()
    assert await world.count() < 2000
    world.faults.clear()
    async with world.listening():
        await world.until(world.exact)


async def _at_least(world: World, count: int) -> bool:
    return await world.count() >= count


async def test_it_stops_in_the_middle_of_a_backlog(world: World) -> None:
    world.backlog(500)
    world.faults.add(Kind.SLOW, value=3.0, methods={"getTransaction"})
    running = world.listener()
    stop = asyncio.Event()
    task = asyncio.create_task(running.run(stop))
    await world.until(lambda: _cursors(world))
    stop.set()
    # The backlog takes longer by far.
    await asyncio.wait_for(task, 2 + listening.STOP_S)
    world.faults.clear()
    async with world.listening():
        await world.until(world.exact)


async def _cursors(world: World) -> bool:
    return bool(await world.rows("SELECT 1 FROM chain_cursors"))


async def test_a_flood_of_mentions_holds_nothing_up(world: World) -> None:
    async with world.listening(scan_s=600) as running:
        await world.until(world.is_subscribed)
        for part in range(3):
            world.mentions(FLOOD // 6, per_block=100)
            world.mentions(FLOOD // 6, per_block=100, fail=True)
            world.create(f"job-{part}")
            world.land()
            await world.until(world.exact)
        scanner = running.scanners[JOB_RECEIPT]
        assert scanner.progress.rounds < FLOOD // 20, "each notification was a scan of its own"
        assert scanner.progress.read <= FLOOD // 2 + 3
        # What failed is known, so that nothing is looked for any more.
        await world.until(lambda: _knows(running))
        rounds = scanner.progress.rounds
        await _two_looks(world)
        assert scanner.progress.rounds - rounds <= 2
    assert await world.quarantine() == []


async def _knows(running: listening.Listener) -> bool:
    return running._unlisted(running.scanners[JOB_RECEIPT]) is None


async def _two_looks(world: World) -> None:
    """Until finality was followed twice, which takes its time."""
    for _ in range(2):
        world.chain.advance()
        tip = world.chain.slot_at("confirmed")
        await world.until(lambda: _seen(world, tip))  # noqa: B023


async def _seen(world: World, tip: int) -> bool:
    return bool(await world.rows("SELECT 1 FROM chain_leader WHERE tip_slot >= $1", tip))


@LONG
@pytest.mark.slow
async def test_a_flood_of_30000_mentions_fills_no_memory(world: World, redis_url: str) -> None:
    world.create("job-0")
    world.land()
    async with world.listener_process(redis_url) as process:
        await world.until(world.exact)
        await world.until(world.is_subscribed)
        rss = psutil.Process(process.pid).memory_info().rss
        for part in range(30):
            world.mentions(1000, per_block=100, fail=part % 3 == 0)
            world.create(f"more-{part}")
            world.land()
            await world.until(world.exact, 60)
        assert psutil.Process(process.pid).memory_info().rss < rss + 60 * 2**20
        assert process.returncode is None


class Poisoned(ChainIndex):
    """Cannot apply anything of the jobs named so."""

    poison = "poison"
    finals = "fatal"

    async def record(self, uow: UnitOfWork, batch: Batch) -> int:
        if any(event.subject == self.poison for event in batch.events):
            # In the middle of the transaction, as a statement that fails does.
            await uow.sql.execute("SELECT 1 / 0")
        return await super().record(uow, batch)

    async def promote(self, uow: UnitOfWork, slots: object) -> int:
        rows = await uow.sql.fetch("SELECT signature FROM chain_events WHERE subject = $1", self.finals)
        if any(row[0] in slots for row in rows):  # type: ignore[operator]
            raise KeyError(self.finals)
        return await super().promote(uow, slots)  # type: ignore[arg-type]


async def test_what_cannot_be_applied_does_not_take_the_others_along(world: World) -> None:
    sound = world.index
    world.index = Poisoned(spec_grace_s=60.0, defaults=sound._rules.defaults, default_price=sound._rules.default_price)
    world.create(*(f"job-{number}" for number in range(5)), "poison", "job-5", "fatal")
    world.land()
    async with world.listening(scan_s=0.1):
        await world.until(lambda: _quarantined(world, "effects_failed"))
        await world.until(lambda: _at_least(world, 7))
        world.create("job-6")
        world.finalize()
        await world.until(lambda: _at_least(world, 8))
        world.finalize()
        await world.until(lambda: _final(world, 7))
    assert await world.rows("SELECT subject FROM chain_events WHERE commitment <> 'finalized'") == [("fatal",)]
    assert await world.quarantine() == ["effects_failed"]
    assert (await world.cursor())["stalled"] is None
    # Once it can be applied, it is.
    world.index = sound
    async with world.db.unit() as uow:
        await cursors.rewind(uow, JOB_RECEIPT, 0)
    async with world.listening(scan_s=0.1):
        await world.until(world.exact)
        await world.until(lambda: _final(world, 9))
    assert await world.quarantine() == []


async def _quarantined(world: World, reason: str) -> bool:
    return await world.quarantine() == [reason]


async def _final(world: World, count: int) -> bool:
    return await world.count("finalized") == count


async def test_a_stalled_program_is_shown_and_recovers(world: World) -> None:
    (signature,) = world.create("job-1")
    world.land()
    world.faults.add(Kind.NULL_TRANSACTION)
    async with world.listening(scan_s=0.1):
        await world.until(lambda: _stalled(world, signature))
        world.faults.clear()
        await world.until(world.exact)
        await world.until(lambda: _stalled(world, None))
        # The node can do nothing at all any more.
        world.faults.add(Kind.RPC_ERROR)
        await world.until(lambda: _stalled(world, "Internal error (-32603)"))
        world.create("job-2")
        world.land()
        world.faults.clear()
        await world.until(world.exact)
        await world.until(lambda: _stalled(world, None))


async def _stalled(world: World, why: str | None) -> bool:
    async with world.db.unit() as uow:
        found = [one.stalled for one in (await status.status(uow)).programs if one.program == JOB_RECEIPT]
    return found == [None] if why is None else bool(found) and why in (found[0] or "")


async def test_the_database_goes_away_and_comes_back(world: World) -> None:
    world.create("job-1")
    world.land()
    split = urlsplit(world.database_url)
    name = split.path.lstrip("/")
    outside = await asyncpg.connect(urlunsplit(split._replace(path="/postgres")))
    try:
        async with world.listening(scan_s=0.05) as running:
            await world.until(world.exact)
            await outside.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
            await outside.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
            world.create("job-2")
            world.land()
            await world.until(lambda: _follows(running))
            await outside.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')
            await world.until(lambda: _exact_again(world))
    finally:
        await outside.close()


async def _follows(running: listening.Listener) -> bool:
    return not running.leading


async def _exact_again(world: World) -> bool:
    with suppress(Unavailable):
        return await world.exact()
    return False


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_happens_in_any_order(database_url: str, seed: int) -> None:
    """Forks, skipped slots, refusals and dead sockets, all at once: in the end it is as if nothing had happened."""
    chance = random.Random(seed)
    limits = ScanLimits(
        page=chance.choice((3, 7, 1000)), chunk=chance.choice((1, 2, 250)), overlap_slots=chance.choice((10, 64))
    )
    looks = (0.2, 0.5, 1.0, 2.0, 4.0)
    async with new_world(database_url, seed=seed, limits=limits, end_waits=looks) as world:
        world.client()
        world.network.register_node(world.network.wallet("operator"), "node-0")
        world.finalize()
        async with world.listening(scan_s=0.05), world.listening(scan_s=0.05):
            for number in range(60):
                with suppress(Rejected, ValueError):
                    _act(world, chance, number)
                with suppress(Rejected, ValueError):
                    _disturb(world, chance, await _newest(world))
                world.chain.advance(chance.randrange(3))
                for _ in range(chance.randrange(6)):
                    # The listeners' turn.
                    await world.told()
            world.faults.clear()
            world.finalize()
            world.finalize()
            if await world.quarantine():
                # Garbled time and again, and no longer listed when it could be read.
                await _read_again(world)
            await world.until(lambda: _settled(world), 60)
            assert await world.quarantine() == []
            lived = await _outcome(world)
            for table in ("events", "payments", "jobs", "nodes"):
                await world.rows(f"DELETE FROM chain_{table}")
            await _read_again(world)
            await world.until(lambda: _settled(world), 60)
            assert await _outcome(world) == lived


def _act(world: World, chance: random.Random, number: int) -> None:
    """One thing that happens to jobs or nodes, whether or not it can."""
    network, payer, operator = world.network, world.client(), world.network.wallet("operator")
    job, node = f"job-{chance.randrange(number + 1)}", f"node-{chance.randrange(3)}"
    match chance.randrange(9):
        case 0:
            network.register_node(operator, node, location=chance.choice(("DE", "US")))
        case 1:
            network.update_node_status(operator, node, chance.randrange(3))
        case 2:
            network.deregister_node(operator, node)
        case 3 | 4:
            network.assign_job(payer.pubkey(), job, node_id=node, operator=operator.pubkey())
        case 5:
            network.submit_result(payer.pubkey(), job, operator=operator)
        case 6:
            network.settle_job(payer, job, operator=operator.pubkey(), processed=chance.random() < 0.5)
        case 7:
            network.cancel_job(payer, job)
        case _:
            pass
    world.create(f"job-{number}")


async def _newest(world: World) -> list[Signature]:
    rows = await world.rows("SELECT signature FROM chain_events ORDER BY slot DESC LIMIT 4")
    return [Signature.from_string(row[0]) for row in rows]


def _disturb(world: World, chance: random.Random, newest: list[Signature]) -> None:
    kinds = [Kind.HTTP_500, Kind.NULL_TRANSACTION, Kind.EMPTY_PAGE, Kind.DROP, Kind.RPC_32005, Kind.BAD_TRANSACTION]
    match chance.randrange(8):
        case 0:
            world.chain.fork(chance.randint(1, 3), drop=[one for one in newest if chance.random() < 0.3])
        case 1:
            world.chain.fork(chance.randint(1, 3), reland=chance.randint(1, 2))
        case 2:
            world.chain.skip(chance.randint(1, 3))
        case 3:
            world.faults.add(chance.choice((Kind.WS_CLOSE, Kind.WS_DROP)))
        case 4:
            world.faults.add(chance.choice(kinds), probability=0.5, count=3)
        case 5:
            world.faults.add(Kind.LAG, value=chance.randint(1, 20))
        case _:
            world.faults.clear()


async def _read_again(world: World) -> None:
    async with world.db.unit() as uow:
        for program in PROGRAMS.ids:
            await cursors.rewind(uow, program, 0)


async def _settled(world: World) -> bool:
    return await world.exact(PROGRAMS.ids) and await world.count("confirmed") == 0


async def _outcome(world: World) -> list[list[tuple[object, ...]]]:
    """What the events come to, of jobs that are there."""
    jobs = """SELECT address, chain_job_id, client, type, price, status, finalized, chain_node_id, assigned_operator,
        completed_operator, payment, payment_reason FROM chain_jobs WHERE status <> 'orphaned' ORDER BY 1"""
    nodes = """SELECT address, owner, chain_node_id, registered, status FROM chain_nodes
        WHERE address IN (SELECT address FROM chain_events WHERE commitment <> 'orphaned') ORDER BY 1"""
    payments = """SELECT signature, program, ordinal, address, verdict, commitment FROM chain_payments
        WHERE commitment <> 'orphaned' ORDER BY 1, 2, 3"""
    return [await world.rows(statement) for statement in (jobs, nodes, payments)]
