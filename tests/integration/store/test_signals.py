"""The inbox: claims skip what others hold, and nothing is consumed but by the commit."""

from __future__ import annotations

from datetime import timedelta

from app.core.events import SignalKind
from app.store import signals
from app.store.db import Database
from tests.factories import sql


async def put(db: Database, *signals_: tuple[str, float]) -> None:
    async with db.unit() as uow:
        await signals.add(
            uow, [(job_id, SignalKind.MATCH_DUE, uow.now + timedelta(seconds=after_s)) for job_id, after_s in signals_]
        )


async def test_two_claims_share_what_is_due_oldest_first(db: Database) -> None:
    await put(db, ("c", -1), ("a", -3), ("b", -2), ("later", 600))
    async with db.unit() as first, db.unit() as second:
        assert [row[1] for row in await signals.claim_due(first, 2)] == ["a", "b"]
        assert [row[1] for row in await signals.claim_due(second, 2)] == ["c"]


async def test_finished_jobs_leave_no_timers_and_others_keep_theirs(db: Database) -> None:
    await put(db, ("over", -1), ("over", 600), ("alive", 600))
    async with db.unit() as uow:
        due = await signals.claim_due(uow, 10)
        await signals.consume(uow, [row[0] for row in due], ["over"])
    assert await sql(db, "SELECT job_id FROM signals") == [("alive",)]


async def test_a_signal_another_wave_holds_is_never_waited_for(db: Database) -> None:
    await put(db, ("over", -1))
    async with db.unit() as holder, db.unit() as uow:
        assert len(await signals.claim_due(holder, 10)) == 1
        await signals.consume(uow, [], ["over"])
        await signals.drop_timers(uow, ["over"])
    assert await sql(db, "SELECT job_id FROM signals") == [("over",)]


async def test_timers_are_dropped_and_messages_are_not(db: Database) -> None:
    async with db.unit() as uow:
        await signals.add(uow, [("job_1", kind, None) for kind in SignalKind])
        await signals.drop_timers(uow, ["job_1"])
    left = {row[0] for row in await sql(db, "SELECT kind FROM signals")}
    assert left == set(SignalKind) - {SignalKind.MATCH_DUE, SignalKind.OFFER_EXPIRED, SignalKind.DEADLINE}


async def test_the_next_due_is_the_earliest_that_is_not_parked(db: Database) -> None:
    async with db.unit() as uow:
        assert await signals.next_due(uow) is None
    await put(db, ("a", 50), ("b", 500))
    async with db.unit() as uow:
        ids = [row[0] for row in await uow.sql.fetch("SELECT id FROM signals WHERE job_id = 'a'")]
        first = await signals.next_due(uow)
        assert not await signals.mark_poisoned(uow, ids, "broke", max_tries=2, retry_s=0.0)
        assert await signals.mark_poisoned(uow, ids, "broke", max_tries=2, retry_s=0.0)
        second = await signals.next_due(uow)
    assert first is not None and second is not None and first <= 50 < second <= 500
