"""Caps of keys: exact to the base unit however many submit at once, whatever becomes of the jobs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
import pytest_asyncio

from app.core.access import ALL, Principal, Rights
from app.core.errors import BudgetExceeded, Forbidden, InvalidInput
from app.core.ids import new_id
from app.core.money import MAX_AMOUNT, UNIT, run_cost
from app.core.requirements import Requirements
from app.services import jobs, keys, offers, schedules, spending
from app.services.jobs import Refusal, Submitted
from app.services.keys import NO_CAP
from app.services.quotas import QuotaRules, Quotas
from app.services.schedules import Plan
from app.services.submissions import new_job
from app.settings import JobsSettings
from app.store import migrate
from app.store import spending as rows
from app.store.db import Database
from app.store.schedules import ScheduleRow
from tests import factories
from tests.factories import sql
from tests.support.databases import Databases
from tools.context import NetworkDefaults
from tools.schedules import preparer

PRICE = 3 * UNIT + 1
WORST = run_cost(PRICE, 2, 600_000)
"""Of ``wish``: two GPUs for ten minutes at the highest price, rounded up."""


_accounts = itertools.count(1)
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def shared_url(databases: Databases) -> Iterator[str]:
    """One database for all tests of this module: they keep apart by keys and accounts of their own."""
    url = databases.clone(migrate.upgrade)
    yield url
    databases.drop(url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def db(shared_url: str) -> AsyncIterator[Database]:
    opened = Database(shared_url)
    yield opened
    await opened.close()


async def agent(db: Database, **rights: Any) -> Principal:
    """A key of an account of its own with these rights, as the authenticator tells of it."""
    given, account = Rights(**rights), f"account{next(_accounts)}"
    key_id, _ = await keys.create(db, account, ["agent"], rights=given)
    return Principal(key_id, account, frozenset({"agent"}), given)


def wish(principal: Principal, price: int | None = PRICE, **changes: Any) -> Any:
    asked = Requirements(gpus=2, max_price=price)
    return factories.submission(principal=principal, requirements=asked, **changes)


async def submit(db: Database, *wishes: Any) -> list[Submitted | Refusal]:
    return await jobs.submit(db, wishes)


async def day_of(db: Database, principal: Principal) -> tuple[int, int]:
    """What the key has reserved and spent today."""
    async with db.unit() as uow:
        now = await spending.of_day(uow, principal)
    return now.reserved, now.spent


async def test_fifty_submissions_at_once_never_exceed_the_cap(db: Database) -> None:
    cap = 20 * WORST + WORST - 1
    capped, free = await agent(db, cap_day=cap), await agent(db)
    answers = await asyncio.gather(*(submit(db, wish(capped), wish(free)) for _ in range(50)))
    mine = [pair[0] for pair in answers]
    admitted = [one for one in mine if isinstance(one, Submitted)]
    refused = [one for one in mine if isinstance(one, BudgetExceeded)]
    assert (len(admitted), len(refused)) == (20, 30)
    assert all(isinstance(pair[1], Submitted) and pair[1].remaining is None for pair in answers)
    assert await day_of(db, capped) == (20 * WORST, 0)
    # Each was told what it left, and nobody the same.
    assert sorted(one.remaining or 0 for one in admitted) == [WORST - 1 + n * WORST for n in range(20)]
    for one in refused:
        assert one.code == "budget_exceeded" and not one.retryable
        assert one.field == "max_price_per_gpu_hour_hyper" and "next day (UTC)" in one.next_action
    held = await sql(db, "SELECT count(*), sum(max_cost)::int8, count(spend_day) FROM jobs WHERE key_id = $1",
                     capped.key_id)  # fmt: skip
    assert held == [(20, 20 * WORST, 20)]
    # Keys without a cap have no figures, and their jobs no limit.
    assert await sql(db, "SELECT max_cost, spend_day FROM jobs WHERE key_id = $1 LIMIT 1", free.key_id) == [
        (None, None)
    ]
    assert await sql(db, "SELECT count(*) FROM key_spending WHERE key_id = $1", free.key_id) == [(0,)]
    # Nothing is kept of those refused.
    told = "SELECT count(*) FROM events WHERE kind = 'job_submitted' AND account = $1"
    assert [await sql(db, told, who.account) for who in (capped, free)] == [[(20,)], [(50,)]]


async def test_one_batch_is_admitted_as_far_as_the_cap_goes(db: Database) -> None:
    capped = await agent(db, cap_day=2 * WORST)
    small = wish(capped, timeout_s=1)
    answers = await submit(db, wish(capped), small, wish(capped), small)
    assert [type(one) for one in answers] == [Submitted, Submitted, BudgetExceeded, Submitted]
    second = answers[2]
    assert isinstance(second, BudgetExceeded)
    asked, left = (second.figures[f"{name}_hyper"] for name in ("asked", "remaining"))
    assert float(asked) == pytest.approx(WORST / UNIT) and float(left) < float(asked)
    assert set(second.figures) == {"cap_hyper", "spent_hyper", "reserved_hyper", "asked_hyper", "remaining_hyper"}
    for text in second.figures.values():
        assert text in second.detail


async def test_a_repeat_reserves_nothing_and_a_refused_request_may_be_sent_again(db: Database) -> None:
    capped = await agent(db, cap_day=WORST)
    one = wish(capped, idempotency_key="one")
    two = wish(capped, idempotency_key="two")
    (first,) = await submit(db, one)
    again, refused = await submit(db, one, two)
    assert isinstance(first, Submitted) and isinstance(again, Submitted) and not again.created
    assert again.job_id == first.job_id and again.remaining == 0
    assert isinstance(refused, BudgetExceeded)
    assert await day_of(db, capped) == (WORST, 0)
    generous = replace(capped, rights=Rights(cap_day=2 * WORST))
    (taken,) = await submit(db, wish(generous, idempotency_key="two"))
    assert isinstance(taken, Submitted) and taken.created and taken.remaining == 0


async def test_a_job_without_a_price_is_refused_under_a_cap_of_the_day_alone(db: Database) -> None:
    capped = await agent(db, cap_day=WORST)
    (refused,) = await submit(db, wish(capped, price=None))
    assert isinstance(refused, InvalidInput) and refused.field == "max_price_per_gpu_hour_hyper"
    assert '"max_price_per_gpu_hour_hyper": "2.5"' in refused.next_action
    assert await day_of(db, capped) == (0, 0)


async def test_a_job_without_a_price_gets_one_from_the_cap_of_a_job(db: Database) -> None:
    capped = await agent(db, cap_job=UNIT)
    (made,) = await submit(db, wish(capped, price=None))
    assert isinstance(made, Submitted) and made.remaining is None
    ((price, most),) = await sql(db, "SELECT max_price, max_cost FROM jobs WHERE id = $1", made.job_id)
    assert most == run_cost(price, 2, 600_000) <= UNIT < run_cost(price + 1, 2, 600_000)
    assert await day_of(db, capped) == (most, 0)


async def test_a_job_dearer_than_a_job_may_be_is_refused(db: Database) -> None:
    capped = await agent(db, cap_job=WORST - 1)
    refused, nothing = (await submit(db, wish(capped)))[0], await agent(db, cap_job=0)
    assert isinstance(refused, BudgetExceeded) and not refused.retryable
    assert set(refused.figures) == {"cap_hyper", "asked_hyper"}
    for price in (PRICE, None):
        assert isinstance((await submit(db, wish(nothing, price)))[0], BudgetExceeded)
    assert await day_of(db, capped) == await day_of(db, nothing) == (0, 0)


async def test_amounts_past_what_can_be_stored_are_refused(db: Database) -> None:
    capped = await agent(db, cap_job=MAX_AMOUNT)
    long = wish(capped, MAX_AMOUNT, timeout_s=86_400)
    answers = await submit(db, long, long, wish(capped, None, timeout_s=1))
    assert [type(one) for one in answers] == [Submitted, BudgetExceeded, BudgetExceeded]
    assert await day_of(db, capped) == (MAX_AMOUNT, 0)


async def test_a_lower_max_cost_that_a_job_has_already_is_kept(db: Database) -> None:
    fresh = [new_job(f"job_{n}", wish(factories.OWNER), None) for n in range(3)]
    fresh[0].max_cost, fresh[1].max_cost = 5, WORST + 5
    async with db.unit() as uow:
        verdicts = await spending.reserve(uow, "key_owner", Rights(cap_day=2 * WORST + 4), fresh)
        free = await spending.reserve(uow, "key_owner", ALL, fresh)
    assert [job.max_cost for job in fresh[:2]] == [5, WORST]
    assert verdicts[:2] == [None, None] and isinstance(verdicts[2], BudgetExceeded)
    assert free == [None] * 3


async def test_ends_and_submissions_side_by_side_leave_exact_figures(db: Database) -> None:
    """Settling takes locks in one order, also against submissions, and no change is lost."""
    many = [await agent(db, cap_day=100 * WORST) for _ in range(4)]
    for principal in many:
        assert all(isinstance(one, Submitted) for one in await submit(db, *[wish(principal)] * 20))
    ((today,),) = await sql(db, "SELECT DISTINCT spend_day FROM jobs WHERE key_id = $1", many[0].key_id)

    async def end(n: int) -> None:
        async with db.unit() as uow:
            turned = many[n % 4 :] + many[: n % 4]
            await rows.settle(uow, [(who.key_id, today, WORST, n) for who in turned for _ in range(2)])

    await asyncio.gather(*(end(n) for n in range(8)), *(submit(db, *map(wish, many)) for _ in range(8)))
    for principal in many:
        assert await day_of(db, principal) == (20 * WORST + 8 * WORST - 16 * WORST, 2 * sum(range(8)))


async def test_what_a_job_cost_takes_the_place_of_what_it_might_have(db: Database) -> None:
    """However many waves look at its end at once, and whatever it ends in."""
    capped = await agent(db, cap_day=10 * WORST)
    waves = [factories.runner(db) for _ in range(3)]
    # Of one slot: too small for what other tests have left.
    await factories.node(db, price=PRICE - 1, capacity=1)
    (offer,) = await factories.accepted(db, waves[0], principal=capped, requirements=Requirements(max_price=PRICE))
    half = run_cost(PRICE, 1, 600_000)
    assert await day_of(db, capped) == (half, 0)
    (unwanted,) = await submit(db, wish(capped))
    assert isinstance(unwanted, Submitted)
    await jobs.cancel(db, capped, unwanted.job_id)
    assert await day_of(db, capped) == (half + WORST, 0)
    assert await offers.report(db, [offers.new_report(offer.id, offer.node_id, ok=True)]) == [None]
    for _ in range(2):
        await asyncio.gather(*(factories.run_waves(runner) for runner in waves))
        await factories.wake(db, [offer.job_id])
    ((state, cost),) = await sql(db, "SELECT state, cost FROM jobs WHERE id = $1", offer.job_id)
    assert state == "completed" and 0 < cost < half
    assert await day_of(db, capped) == (0, cost)


async def test_who_reserves_more_than_once_takes_all_turns_first(db: Database) -> None:
    """Transactions that reserve for the same keys in other orders neither deadlock nor lose anything."""
    many = [await agent(db, cap_day=100 * WORST) for _ in range(3)]
    rights = {who.key_id: who.rights for who in many}

    async def several(order: list[Principal]) -> None:
        async with db.unit() as uow:
            await Quotas(QuotaRules(max_queued=1_000)).take_turns(uow, rights)
            await spending.take_turns(uow, rights)
            for who in order:
                job = new_job(new_id("job"), wish(who), None)
                assert await spending.reserve(uow, who.key_id, who.rights, [job]) == [None]

    await asyncio.gather(*(several(many[n % 3 :] + many[: n % 3]) for n in range(12)))
    assert [await day_of(db, who) for who in many] == [(12 * WORST, 0)] * 3


async def test_settling_nothing_and_days_nobody_knows_changes_nothing(db: Database) -> None:
    async with db.unit() as uow:
        await rows.settle(uow, [])
        await rows.settle(uow, [("key_nobody", date(2020, 1, 1), 5, 3)])
    assert await sql(db, "SELECT * FROM key_spending WHERE key_id = 'key_nobody'") == []


async def test_types_of_jobs_that_a_key_may_not_submit_are_refused(db: Database) -> None:
    bounded = await agent(db, job_types=frozenset({"render", "llm_inference"}))
    fine, wrong = await submit(db, wish(bounded), wish(bounded, type="vision_pipeline", idempotency_key="k"))
    assert isinstance(fine, Submitted)
    assert isinstance(wrong, Forbidden) and (wrong.code, wrong.field) == ("job_type_not_allowed", "type")
    assert "llm_inference, render" in wrong.next_action
    assert await sql(db, "SELECT count(*) FROM idempotency_keys WHERE account = $1", bounded.account) == [(0,)]


async def test_schedules_go_by_what_their_keys_may_do_now(db: Database) -> None:
    capped = await agent(db, cap_day=UNIT)
    dear = {"type": "render", "max_price_per_gpu_hour_hyper": "1", "timeout_s": 3600}
    plan = Plan("", "0 0 1 1 *", "UTC", "allow", dear)
    both = [(await schedules.create(db, capped, plan))[0].id for _ in range(2)]
    prepare = preparer(NetworkDefaults(JobsSettings(), "reputation_weighted"))

    async def fire() -> list[ScheduleRow]:
        await sql(db, "UPDATE schedules SET next_at = date_trunc('year', now())")
        await schedules.fire_due(db, prepare, Quotas(QuotaRules()))
        return [await schedules.get(db, capped, schedule_id) for schedule_id in both]

    rows = await fire()
    assert sorted(row.runs for row in rows) == [0, 1] and await day_of(db, capped) == (UNIT, 0)
    (over,) = [row.error for row in rows if row.error]
    assert "of this API key's cap of 1 a day" in over
    await keys.change_rights(db, capped.key_id, job_types=["llm_inference"], cap_day=NO_CAP)
    rows = await fire()
    assert sum(row.runs for row in rows) == 1
    assert all("may not submit jobs of type render" in (row.error or "") for row in rows)


async def test_rights_can_be_changed_lifted_and_are_listed(db: Database) -> None:
    principal = await agent(db, cap_day=5, tools=frozenset({"get_job"}))
    assert await keys.change_rights(db, principal.key_id, cap_job=UNIT, job_types=["render"]) == Rights(
        frozenset({"get_job"}), frozenset({"render"}), 5, UNIT
    )
    (listed,) = [key for key in await keys.listing(db) if key.id == principal.key_id]
    assert (listed.tools, listed.job_types, listed.cap_day, listed.cap_job) == (
        ["get_job"], ["render"], "0.000000005", "1",
    )  # fmt: skip
    lifted = await keys.change_rights(db, principal.key_id, tools=[], job_types=[], cap_day=NO_CAP, cap_job=NO_CAP)
    assert lifted == ALL


@pytest.mark.parametrize(
    ("field", "value"),
    [("tools", ["no tool!"]), ("job_types", ["mining"]), ("cap_day", -2), ("cap_job", MAX_AMOUNT + 1)],
)
async def test_rights_to_what_there_is_not_are_refused(db: Database, field: str, value: Any) -> None:
    principal = await agent(db)
    with pytest.raises(InvalidInput) as refused:
        await keys.change_rights(db, principal.key_id, **{field: value})
    assert refused.value.field == field


async def test_the_authenticator_tells_of_the_rights(db: Database) -> None:
    rights = Rights(frozenset({"get_job"}), frozenset({"render"}), 7, 5)
    _, secret = await keys.create(db, "shown", ["agent"], rights=rights)
    assert (await keys.Authenticator(db).principal(secret)).rights == rights
