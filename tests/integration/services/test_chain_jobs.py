"""Jobs on chain and the engine's jobs: linked once, whatever comes first, and parted when a fork takes them apart."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from app.services import jobs
from app.store import specs
from app.store.db import Database
from tests import factories
from tests.factories import OWNER, sql
from tests.integration.services.chain_cases import FINALIZED, ChainJobCase, World, index, landed_in

HASH = "a1" * 32
JOB = ChainJobCase()


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def put_spec(db: Database, spec_hash: str = HASH, account: str = "acme") -> None:
    """A spec as PUT /v1/specs keeps it."""
    resolved = {
        "type": "render",
        "policy": "cheapest",
        "priority": 3,
        "timeout_s": 60,
        "max_retries": 0,
        "queue_ttl_s": 90,
    }
    body = {"spec": {"prompt": "draw"}, "resolved": {**resolved, "requirements": {"min_vram_gb": 24}}}
    async with db.unit() as uow:
        await specs.put(uow, spec_hash, account, "key_spec", body)


async def link_of(world: World, address: str = JOB.address) -> tuple[Any, ...]:
    """How the account is linked, and that both ends say the same."""
    job = await world.job(address)
    if job["job_id"] is not None:
        assert await world.one("SELECT chain_job FROM jobs WHERE id = $1", job["job_id"]) == (address,)
    return job["linked_by"], job["job_id"]


async def test_the_job_that_the_account_is_named_after(world: World) -> None:
    (job_id,) = await factories.submit(world.db, requirements_hash=HASH)
    await factories.submit(world.db, requirements_hash=HASH)
    named = ChainJobCase(name=job_id)
    assert await world.record(named.created(5), accounts=named.account(HASH)) == 1
    assert await link_of(world) == ("id", job_id)
    row = await world.job()
    assert (row["client"], row["type"], row["price"], row["status"], row["finalized"]) == (
        "Client", "llm_inference", 1000, "pending", False,
    )  # fmt: skip
    ((account, kind, linked_by),) = await sql(
        world.db, "SELECT account, kind, data ->> 'linked_by' FROM events WHERE kind = 'job_linked'"
    )
    assert (account, kind, linked_by) == ("acme", "job_linked", "id")
    assert await world.signals() == []


async def test_a_name_counts_unless_its_account_asks_for_something_else(world: World) -> None:
    first, second = await factories.submit(world.db, 2, requirements_hash=HASH)
    other, unknown = ChainJobCase(name=first, address="A1"), ChainJobCase(name=second, address="A2")
    await world.record(other.created(5), unknown.created(5), accounts=other.account("b2" * 32))
    assert await link_of(world, "A1") == (None, None)
    assert await link_of(world, "A2") == ("id", second)


async def test_equal_hashes_pair_off_oldest_with_oldest(world: World) -> None:
    ids = await factories.submit(world.db, 3, requirements_hash=HASH)
    await sql(world.db, "UPDATE jobs SET state = 'cancelled', finished_at = now() WHERE id = $1", ids[0])
    pair = [ChainJobCase(name=f"j{n}", address=f"A{n}") for n in (2, 1)]
    await world.record(pair[0].created(9), pair[1].created(5), accounts=pair[0].account(HASH) | pair[1].account(HASH))
    assert await link_of(world, "A1") == ("hash", ids[1])
    assert await link_of(world, "A2") == ("hash", ids[2])


async def test_a_stored_spec_makes_the_job(world: World) -> None:
    await put_spec(world.db)
    await world.record(JOB.created(5), accounts=JOB.account(HASH))
    how, job_id = await link_of(world)
    assert how == "spec"
    assert await world.one(
        "SELECT account, source, type, payload, min_vram_gb, state, requirements_hash FROM jobs WHERE id = $1", job_id
    ) == ("acme", "chain", "render", {"prompt": "draw"}, 24, "pending", HASH)
    assert await world.signals("%") == [("submitted", job_id)]
    assert await sql(world.db, "SELECT kind FROM events ORDER BY seq") == [("job_submitted",), ("job_linked",)]


async def test_a_job_that_came_to_nothing_before_the_chain_told_of_it_is_run_again_as_it_was(world: World) -> None:
    (job_id,) = await factories.submit(world.db, requirements_hash=HASH, priority=4)
    await sql(world.db, "UPDATE jobs SET state = 'failed', finished_at = now() WHERE id = $1", job_id)
    await world.record(JOB.created(5), accounts=JOB.account(HASH))
    how, again = await link_of(world)
    assert how == "spec"
    assert again != job_id
    assert await world.one("SELECT account, source, payload, priority, state FROM jobs WHERE id = $1", again) == (
        "acme", "chain", {"prompt": "why"}, 4, "pending",
    )  # fmt: skip


async def test_what_comes_during_the_wait_is_taken(world: World) -> None:
    await world.record(JOB.created(5), accounts=JOB.account(HASH))
    assert await link_of(world) == (None, None)
    assert await world.due() == 0
    await put_spec(world.db)
    assert await world.due() == 1
    assert (await link_of(world))[0] == "spec"
    other = ChainJobCase(name="other", address="A2")
    await world.record(other.created(6), accounts=other.account("c3" * 32))
    (job_id,) = await factories.submit(world.db, requirements_hash="c3" * 32)
    assert await world.due() == 1
    assert await link_of(world, "A2") == ("hash", job_id)
    third = ChainJobCase(name="third", address="A3")
    await world.record(third.created(7))
    await sql(
        world.db, "UPDATE chain_jobs SET chain_job_id = $1 WHERE address = 'A3'", *(await factories.submit(world.db))
    )
    assert await world.due() == 1
    assert (await link_of(world, "A3"))[0] == "id"
    assert await world.due() == 0


async def test_after_the_wait_it_runs_by_defaults(world: World) -> None:
    odd = ChainJobCase(name="odd", address="A2", kind=77)
    await world.record(JOB.created(5), odd.created(6), accounts=JOB.account(HASH))
    assert await sql(world.db, "SELECT DISTINCT spec_due_at - updated_at FROM chain_jobs") == [(timedelta(seconds=60),)]
    await sql(world.db, "UPDATE chain_jobs SET spec_due_at = spec_due_at - interval '59 seconds'")
    assert await world.due() == 0
    await sql(world.db, "UPDATE chain_jobs SET spec_due_at = spec_due_at - interval '2 seconds'")
    assert await world.due() == 2
    how, job_id = await link_of(world)
    assert how == "defaults"
    assert await world.one(
        """SELECT account, key_id, source, type, payload, capabilities, policy, timeout_s, max_retries, queue_ttl_s,
            requirements_hash FROM jobs WHERE id = $1""",
        job_id,
    ) == ("chain:Client", "chain", "chain", "llm_inference", {}, 1, "reputation_weighted", 600, 2, 900, HASH)
    assert await sql(world.db, "SELECT type FROM jobs ORDER BY type") == [("generic_compute",), ("llm_inference",)]
    assert await world.due() == 0


async def test_no_grace_no_wait(db: Database) -> None:
    world = World(db, index(spec_grace_s=0))
    await world.record(JOB.created(5))
    assert (await link_of(world))[0] == "defaults"


async def test_what_is_over_on_chain_makes_no_job(world: World) -> None:
    done, gone, told, late = (ChainJobCase(name=n, address=n) for n in ("done", "gone", "told", "late"))
    await put_spec(world.db)
    await world.record(
        done.created(1), done.completed(2), gone.created(1), gone.cancelled(2), told.created(1), late.created(3),
        accounts=done.account(HASH) | gone.account(HASH) | told.account(HASH, status=3),
    )  # fmt: skip
    await world.record(late.paid(4))
    assert await sql(world.db, "SELECT count(*) FROM jobs") == [(0,)]
    assert await sql(world.db, "SELECT linked_by, spec_due_at FROM chain_jobs GROUP BY 1, 2") == [(None, None)]
    assert await world.due() == 0


async def test_what_was_over_in_a_lost_block_is_to_be_run(world: World) -> None:
    await put_spec(world.db)
    created, completed = JOB.created(5), JOB.completed(6)
    await world.record(created, completed, accounts=JOB.account(HASH, status=3))
    await world.orphan(completed)
    assert (await link_of(world))[0] == "spec"


async def test_a_completed_account_takes_no_job_that_nobody_runs(world: World) -> None:
    await factories.submit(world.db, requirements_hash=HASH)
    await world.record(JOB.created(5), JOB.completed(6), accounts=JOB.account(HASH))
    assert await link_of(world) == (None, None)
    await factories.node(world.db)
    (offer,) = await factories.accepted(world.db, factories.runner(world.db), requirements_hash="d4" * 32)
    late = ChainJobCase(name="late", address="A2")
    await world.record(late.created(7), late.completed(8), accounts=late.account("d4" * 32))
    assert await link_of(world, "A2") == ("hash", offer.job_id)


async def test_a_cancellation_counts_once_it_is_final(world: World) -> None:
    await put_spec(world.db)
    created, cancelled = JOB.created(5), JOB.cancelled(6)
    await world.record(created, accounts=JOB.account(HASH))
    await world.record(cancelled)
    _, job_id = await link_of(world)
    assert await world.one("SELECT cancel_requested FROM jobs") == (False,)
    assert await world.promote(created, cancelled) == 2
    assert await world.one("SELECT cancel_requested FROM jobs") == (True,)
    assert await world.signals() == [("chain_cancelled", job_id)]
    assert await world.promote(created, cancelled) == 0
    await factories.run_waves(factories.runner(world.db))
    assert await factories.state_of(world.db, job_id) == "cancelled"


async def test_a_final_cancellation_leaves_a_job_that_is_over(world: World) -> None:
    (job_id,) = await factories.submit(world.db, requirements_hash=HASH)
    await world.record(JOB.created(5), accounts=JOB.account(HASH))
    await jobs.cancel(world.db, OWNER, job_id)
    await factories.run_waves(factories.runner(world.db))
    await world.record(JOB.cancelled(6, commitment=FINALIZED))
    assert await world.signals() == []
    assert (await world.job())["status"] == "cancelled"


async def test_a_creation_taken_back_ends_what_the_chain_made_and_comes_again(world: World) -> None:
    await put_spec(world.db)
    created = JOB.created(5)
    await world.record(created, accounts=JOB.account(HASH))
    _, first = await link_of(world)
    assert await world.orphan(created) == 1
    row = await world.job()
    assert (row["status"], row["job_id"], row["linked_by"]) == ("orphaned", None, None)
    assert await world.one("SELECT cancel_requested, chain_job FROM jobs") == (True, None)
    assert await world.signals() == [("chain_cancelled", first)]
    assert await world.record(landed_in(created, 9)) == 1
    how, second = await link_of(world)
    assert (how, second != first) == ("spec", True)
    assert (await world.job())["slot"] == 9


async def test_a_creation_taken_back_leaves_what_was_submitted_here(world: World) -> None:
    (job_id,) = await factories.submit(world.db, requirements_hash=HASH)
    created = JOB.created(5)
    await world.record(created, accounts=JOB.account(HASH))
    await world.orphan(created)
    assert await link_of(world) == (None, None)
    assert await world.one("SELECT chain_job, cancel_requested FROM jobs") == (None, False)
    await world.record(landed_in(created, 9))
    assert await link_of(world) == ("hash", job_id)


async def test_a_settlement_that_has_moved_keeps_its_account(world: World) -> None:
    (job_id,) = await factories.submit(world.db, requirements_hash=HASH)
    created = JOB.created(5)
    await world.record(created, accounts=JOB.account(HASH))
    await sql(world.db, "UPDATE jobs SET settlement = 'observed'")
    await world.orphan(created)
    assert await link_of(world) == ("hash", job_id)
    assert (await world.job())["status"] == "orphaned"


async def test_submitting_while_the_account_comes_makes_one_job(world: World) -> None:
    wish = factories.submission(requirements_hash=HASH)
    for number in range(10):
        case = ChainJobCase(name=f"j{number}", address=f"A{number}")
        await asyncio.gather(
            jobs.submit(world.db, [wish]), world.record(case.created(number), accounts=case.account(HASH))
        )
    await world.due()
    assert await sql(world.db, "SELECT count(*), count(DISTINCT chain_job) FROM jobs") == [(10, 10)]
    assert await sql(world.db, "SELECT linked_by, count(*) FROM chain_jobs GROUP BY 1") == [("hash", 10)]


async def test_two_listeners_that_record_the_same_at_once(database_url: str) -> None:
    first, second = Database(database_url), Database(database_url)
    try:
        await put_spec(first)
        await factories.submit(first, 10, requirements_hash="e5" * 32)
        cases = [ChainJobCase(name=f"j{n}", address=f"A{n}") for n in range(40)]
        events = [one for n, case in enumerate(cases) for one in (case.created(n), case.assigned(n + 1))]
        accounts = {
            address: state
            for n, case in enumerate(cases)
            for address, state in case.account(("e5" * 32, HASH, "f6" * 32)[n % 3]).items()
        }
        worlds = [World(first), World(second)]
        counts = await asyncio.gather(
            *(worlds[n % 2].record(*events[:: 1 if n % 3 else -1], accounts=accounts) for n in range(6))
        )
        assert sorted(counts) == [0, 0, 0, 0, 0, 80]
        assert await sql(first, "SELECT count(*) FROM chain_events") == [(80,)]
        assert await sql(first, "SELECT linked_by, count(*) FROM chain_jobs GROUP BY 1 ORDER BY 1") == [
            ("hash", 10), ("spec", 13), (None, 17),
        ]  # fmt: skip
        assert await sql(first, "SELECT count(*), count(chain_job) FROM jobs") == [(23, 23)]
        await asyncio.gather(*(world.due() for world in worlds for _ in range(3)))
        assert await sql(first, "SELECT count(*) FROM jobs") == [(23,)]
        await sql(first, "UPDATE chain_jobs SET spec_due_at = now() WHERE spec_due_at IS NOT NULL")
        made = await asyncio.gather(*(world.due() for world in worlds for _ in range(3)))
        assert sum(made) == 17
        assert await sql(first, "SELECT count(*), count(DISTINCT chain_job) FROM jobs") == [(40, 40)]
    finally:
        await first.close()
        await second.close()


async def test_recording_again_changes_nothing(world: World) -> None:
    await put_spec(world.db)
    await factories.submit(world.db, requirements_hash="e5" * 32)
    mine, theirs = ChainJobCase(name="mine", address="A1"), ChainJobCase(name="theirs", address="A2")
    events = [
        mine.created(1),
        theirs.created(1),
        mine.assigned(2),
        mine.completed(3),
        mine.paid(4),
        theirs.cancelled(5),
    ]
    accounts = mine.account("e5" * 32) | theirs.account(HASH)
    assert await world.record(*events, accounts=accounts) == 6
    before = await world.snapshot()
    assert await world.record(*events, accounts=accounts) == 0
    assert await world.record(*events[::-1]) == 0
    assert await world.snapshot() == before


async def test_u64_prices_and_texts_at_their_limits(world: World) -> None:
    dear = ChainJobCase(name="d" * 32, price=2**64 - 1)
    await world.record(dear.created(5), dear.completed(6), dear.paid(7))
    row = await world.job()
    assert (row["price"], row["chain_job_id"], row["payment"]) == (2**64 - 1, "d" * 32, "observed")
    assert await world.one("SELECT sum(operator_amount) FROM chain_payments") == (dear.shares()[0],)
    assert await world.one("SELECT (data ->> 'price')::numeric FROM chain_events WHERE slot = 5") == (2**64 - 1,)


async def test_what_cannot_be_stored_is_quarantined(world: World) -> None:
    good = JOB.created(5)
    bad = [
        ChainJobCase(name="nul\0", address="A2").created(5),
        ChainJobCase(name="n" * 33, address="A3").created(5),
        ChainJobCase(name="ü" * 17, address="A4").created(5),
    ]
    assert await world.record(good, *bad) == 1
    assert await sql(world.db, "SELECT reason, count(*) FROM chain_quarantine GROUP BY 1") == [("unstorable", 3)]
    assert await sql(world.db, "SELECT count(*) FROM chain_jobs") == [(1,)]
