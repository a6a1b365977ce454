"""Events whose account nobody knows yet, and what could not be read: kept, and taken up when it becomes clear."""

from __future__ import annotations

from typing import Any

import pytest

from app.chain.model import Batch, EventKey, Quarantined
from app.store.db import Database
from tests.factories import sql
from tests.integration.services.chain_cases import FINALIZED, ChainJobCase, ChainNodeCase, World, event, landed_in

JOB = ChainJobCase(name="same")
TWIN = ChainJobCase(name="same", address="JobAccount2", client="Other")
NODE = ChainNodeCase(name="same")


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def resolve(world: World, *wanted: tuple[Any, str, tuple[str, ...]]) -> list[str | None]:
    async with world.db.unit() as uow:
        return await world.index.resolve(uow, wanted)


async def test_an_account_is_found_by_name_and_candidates(world: World) -> None:
    assert await resolve(world, ("job", "same", ("JobAccount1",))) == [None]
    await world.record(JOB.created(1), NODE.registered(1))
    assert await resolve(
        world,
        ("job", "same", ()),
        ("job", "same", ("X", "JobAccount1")),
        ("node", "same", ("JobAccount1",)),
        ("node", "other", ("NodeAccount1",)),
        ("job", "other", ()),
    ) == ["JobAccount1", "JobAccount1", "NodeAccount1", None, None]
    await world.record(TWIN.created(2))
    assert await resolve(world, ("job", "same", ()), ("job", "same", ("JobAccount2",))) == [None, "JobAccount2"]


async def test_early_events_are_of_the_one_that_comes(world: World) -> None:
    early = [JOB.assigned(2, address=None), JOB.completed(3, address=None), JOB.paid(4, address=None)]
    assert await world.record(*early) == 3
    assert await sql(world.db, "SELECT count(*) FROM chain_jobs") == [(0,)]
    assert await sql(world.db, "SELECT address, verdict FROM chain_payments") == [(None, "unverified")]
    await world.record(JOB.created(1), NODE.registered(1))
    row = await world.job()
    assert (row["status"], row["assigned_operator"], row["payment"]) == ("completed", "Owner", "observed")
    assert await sql(world.db, "SELECT address, verdict FROM chain_payments") == [("JobAccount1", "valid")]
    assert await sql(world.db, "SELECT count(*) FROM chain_events WHERE address IS NULL") == [(0,)]


async def test_early_events_of_a_shared_name_stay_nobodys(world: World) -> None:
    await world.record(JOB.assigned(2, address=None))
    await world.record(JOB.created(1), TWIN.created(1))
    assert await sql(world.db, "SELECT name FROM chain_events WHERE address IS NULL") == [("JobAssignedEvent",)]
    assert (await world.job())["status"] == "pending"


async def test_late_events_without_an_address_are_of_the_only_one(world: World) -> None:
    await world.record(JOB.created(1))
    await world.record(JOB.assigned(2, address=None))
    assert (await world.job())["status"] == "assigned"
    await world.record(NODE.status("Suspended", 3))
    assert await sql(world.db, "SELECT count(*) FROM chain_nodes") == [(0,)]


async def test_accounts_of_the_instruction_tell_twins_apart(world: World) -> None:
    given = TWIN.assigned(2, address=None, accounts=("Someone", "JobAccount2"))
    await world.record(given, JOB.created(1), TWIN.created(1))
    assert (await world.job("JobAccount1"))["status"] == "pending"
    assert (await world.job("JobAccount2"))["status"] == "assigned"


async def test_what_waits_for_its_account_may_be_final_or_gone(world: World) -> None:
    early, lost = JOB.assigned(2, address=None), JOB.completed(3, address=None)
    await world.record(early, lost)
    await world.promote(early)
    await world.orphan(lost)
    await world.record(JOB.created(1, commitment=FINALIZED))
    row = await world.job()
    assert (row["status"], row["finalized"], row["completed_operator"]) == ("assigned", True, None)


async def test_what_is_confirmed_waits_for_its_finality_in_order(world: World) -> None:
    events = [JOB.created(5), JOB.assigned(7), JOB.completed(6), TWIN.created(3, commitment=FINALIZED)]
    await world.record(*events, JOB.paid(7, signature=events[1].event.key.signature, ordinal=1))
    async with world.db.unit() as uow:
        assert [slot for _, slot in await world.index.unfinal(uow, 100, 10)] == [5, 6, 7]
        assert [slot for _, slot in await world.index.unfinal(uow, 6, 10)] == [5, 6]
        assert [slot for _, slot in await world.index.unfinal(uow, 100, 1)] == [5]
    await world.promote(*events)
    await world.orphan(*events)
    async with world.db.unit() as uow:
        assert await world.index.unfinal(uow, 100, 10) == []
    assert await sql(world.db, "SELECT DISTINCT commitment FROM chain_events") == [("finalized",)]


async def test_a_final_event_is_where_the_chain_says(world: World) -> None:
    created = JOB.created(5)
    await world.record(created)
    await world.promote(landed_in(created, 8))
    assert (await world.job())["slot"] == 8


async def test_what_is_of_no_account_is_only_kept(world: World) -> None:
    shares = {"operator_share": 80, "treasury_share": 10, "incentive_share": 5, "orchestrator_share": 5}
    told = [
        event("SplitterInitializedEvent", {"authority": "A", **shares}, slot=1),
        event("ConfigUpdatedEvent", shares, slot=2),
        event("TreasuryWithdrawalEvent", {"amount": 2**64 - 1, "destination": "D"}, slot=3),
    ]
    assert await world.record(*told) == 3
    await world.promote(*told)
    assert await sql(world.db, "SELECT DISTINCT address, subject, commitment FROM chain_events") == [
        (None, None, "finalized")
    ]
    assert await world.one("SELECT data -> 'amount' FROM chain_events WHERE slot = 3") == (2**64 - 1,)


async def test_unreadable_ones_are_kept_until_they_can_be_read(world: World) -> None:
    whole = Quarantined(EventKey("sig", "P", -1, -1, 0), "version_unsupported", "bad\0detail", b"\0raw")
    part = Quarantined(EventKey("sig", "P", 0, -1, 1), "trailing_bytes", "", b"x")

    async def given(*quarantined: Quarantined) -> list[tuple[Any, ...]]:
        async with world.db.unit() as uow:
            await world.index.record(uow, Batch(slots={"sig": 7}, quarantined=[(one, 7) for one in quarantined]))
        return await sql(world.db, "SELECT outer_ix, resolved_at IS NULL FROM chain_quarantine ORDER BY outer_ix")

    assert await given(whole) == [(-1, True)]
    assert await given(whole) == [(-1, True)]
    assert await world.one("SELECT reason, detail, raw, slot FROM chain_quarantine") == (
        "version_unsupported", "baddetail", b"\0raw", 7,
    )  # fmt: skip
    assert await given(part) == [(-1, False), (0, True)]
    assert await given() == [(-1, False), (0, False)]
    assert await given(part) == [(-1, False), (0, True)]
