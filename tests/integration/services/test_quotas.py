"""How many jobs of a key may wait, however many submit at once; what keys may have, and who may change it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.core.access import Principal
from app.core.errors import InvalidInput, NotFound, QuotaExceeded
from app.services import jobs, keys, quotas
from app.services.jobs import Refusal, Submitted
from app.services.keys import DEFAULT, Limits
from app.services.quotas import QuotaRules, Quotas
from app.store import counts
from app.store.db import Database
from tests import factories
from tests.factories import OWNER, STRANGER, sql


async def agent(db: Database, **limits: Any) -> Principal:
    key_id, _ = await keys.create(db, "acme", ["agent"], limits=Limits(**limits))
    return Principal(key_id, "acme", frozenset({"agent"}))


async def submit(
    db: Database, rules: Quotas, count: int, principal: Principal, prefix: str = ""
) -> list[Submitted | Refusal]:
    wishes = [
        factories.submission(principal=principal, idempotency_key=f"{prefix}{n}" if prefix else "")
        for n in range(count)
    ]
    return await jobs.submit(db, wishes, rules)


def created(answers: list[Submitted | Refusal]) -> int:
    return sum(isinstance(answer, Submitted) and answer.created for answer in answers)


async def test_no_more_wait_than_may_however_many_submit_at_once(db: Database) -> None:
    bounded, free = await agent(db, max_queued=10), await agent(db)
    replicas = [Quotas(QuotaRules()) for _ in range(2)]
    calls = [submit(db, replicas[n % 2], 4, who) for n, who in enumerate([bounded, free] * 6)]
    answers = await asyncio.gather(*calls)
    assert sum(created(mine) for mine in answers[::2]) == 10
    assert sum(created(theirs) for theirs in answers[1::2]) == 24
    refusals = [one for mine in answers for one in mine if not isinstance(one, Submitted)]
    assert len(refusals) == 14
    for refusal in refusals:
        assert isinstance(refusal, QuotaExceeded)
        assert refusal.code == "quota_exceeded" and refusal.retryable and refusal.retry_after and refusal.next_action
    assert await sql(db, "SELECT count(*) FROM jobs") == [(34,)]
    # Nothing is kept of those refused.
    assert await sql(db, "SELECT count(*) FROM events WHERE kind = 'job_submitted'") == [(34,)]


async def test_a_refused_request_may_be_sent_again_under_its_idempotency_key(db: Database) -> None:
    bounded = await agent(db, max_queued=2)
    rules = Quotas(QuotaRules())
    first = await submit(db, rules, 3, bounded, "key")
    assert created(first) == 2 and isinstance(first[2], QuotaExceeded)
    again = await submit(db, rules, 3, bounded, "key")
    # What was taken is answered as before, and counts once.
    assert [isinstance(one, Submitted) and not one.created for one in again] == [True, True, False]
    for _ in range(2):
        await factories.node(db)
    await factories.run_waves(factories.runner(db))
    third = await submit(db, rules, 3, bounded, "key")
    assert [isinstance(one, Submitted) and one.created for one in third] == [False, False, True]


async def test_the_same_refused_request_twice_in_a_batch_is_refused_twice(db: Database) -> None:
    bounded = await agent(db, max_queued=1)
    await submit(db, Quotas(QuotaRules()), 1, bounded)
    twice = [factories.submission(principal=bounded, idempotency_key="k") for _ in range(2)]
    answers = await jobs.submit(db, twice, Quotas(QuotaRules()))
    assert [type(one) for one in answers] == [QuotaExceeded, QuotaExceeded]
    assert await sql(db, "SELECT count(*) FROM idempotency_keys") == [(0,)]


async def test_the_settings_hold_for_keys_that_say_nothing_and_for_those_without_a_row(db: Database) -> None:
    rules = Quotas(QuotaRules(max_queued=3, max_active=5))
    plain, generous = await agent(db), await agent(db, max_queued=0, max_active=0)
    for principal, taken in ((OWNER, 3), (plain, 3), (generous, 6)):
        assert created(await submit(db, rules, 6, principal)) == taken
    async with db.unit() as uow:
        found = await rules.shares(uow, [OWNER.key_id, plain.key_id, generous.key_id], contended=False)
    assert [found[who.key_id].max_active for who in (OWNER, plain, generous)] == [5, 5, 0]


async def test_two_calls_that_learn_of_a_key_at_once_both_get_its_limits(db: Database) -> None:
    principal = await agent(db, weight=7)
    rules = Quotas(QuotaRules())
    async with db.unit() as one, db.unit() as two:
        both = await asyncio.gather(*(rules.shares(uow, [principal.key_id], contended=False) for uow in (one, two)))
    assert [shares[principal.key_id].weight for shares in both] == [7, 7]


async def test_without_any_quota_nothing_is_counted_or_locked(db: Database) -> None:
    rules = Quotas(QuotaRules())
    async with db.unit() as uow:
        assert await rules.admit(uow, [OWNER.key_id, STRANGER.key_id]) == [None, None]
        await rules.shares(uow, [OWNER.key_id], contended=True)
        assert await uow.sql.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


async def test_what_a_key_may_have_can_be_changed_and_is_followed(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas, "CACHE_S", 0.0)
    principal = await agent(db, max_queued=1)
    rules = Quotas(QuotaRules())
    assert created(await submit(db, rules, 2, principal)) == 1
    assert await keys.change(db, principal.key_id, weight=7, max_queued=3) == Limits(7, None, 3)
    assert created(await submit(db, rules, 5, principal)) == 2
    assert await keys.change(db, principal.key_id, max_active=4, max_queued=DEFAULT) == Limits(7, 4, None)
    (listed,) = await keys.listing(db)
    assert (listed.weight, listed.max_active, listed.max_queued) == (7, 4, None)


@pytest.mark.parametrize("wrong", [{"weight": 0}, {"weight": 1001}, {"max_active": -2}, {"max_queued": 2**31}])
async def test_limits_out_of_range_are_refused_and_change_nothing(db: Database, wrong: dict[str, int]) -> None:
    principal = await agent(db)
    with pytest.raises(InvalidInput) as refused:
        await keys.change(db, principal.key_id, **wrong)
    assert refused.value.field == next(iter(wrong))
    with pytest.raises(InvalidInput):
        await agent(db, **wrong)
    assert await sql(db, "SELECT weight, max_active, max_queued FROM api_keys") == [(1, None, None)]


async def test_a_revoked_key_has_no_limits_to_change(db: Database) -> None:
    principal = await agent(db)
    await keys.revoke(db, principal.key_id)
    with pytest.raises(NotFound):
        await keys.change(db, principal.key_id, weight=2)


async def test_held_and_waiting_are_counted_by_key(db: Database) -> None:
    await factories.node(db, capacity=3)
    mine, other = await agent(db), await agent(db)
    await factories.submit(db, 2, principal=mine)
    await factories.run_waves(factories.runner(db))
    await factories.submit(db, 3, principal=other)
    await factories.run_waves(factories.runner(db))
    async with db.unit() as uow:
        both = [mine.key_id, other.key_id]
        assert await counts.slots_held(uow, both) == {mine.key_id: 2, other.key_id: 1}
        assert await counts.waiting(uow, both) == {other.key_id: 2}
