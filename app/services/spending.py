"""What the jobs of a key may cost: held back at submission at its worst, so that no cap is ever exceeded.

A job counts for the UTC day, by the database's clock, on which it was submitted. While it is under way its reservation
stands, over retries too; when it is over, what it cost takes the reservation's place (app/store/spending.py: settle).
Figures are kept for keys with a cap only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from app.core.access import Principal, Rights
from app.core.errors import BudgetExceeded, InvalidInput
from app.core.jobs import NewJob
from app.core.money import MAX_AMOUNT, format_hyper, run_cost
from app.store import spending
from app.store.db import Database, UnitOfWork

Refusal = BudgetExceeded | InvalidInput


@dataclass(frozen=True, slots=True)
class Spending:
    """A key's day, in base units of HYPER; ``cap`` None = no cap. ``reserved``: what jobs under way may cost yet."""

    cap: int | None
    reserved: int
    spent: int

    @property
    def remaining(self) -> int | None:
        """What further jobs of the day may cost, None = any amount."""
        return None if self.cap is None else max(0, self.cap - self.reserved - self.spent)


def is_capped(rights: Rights) -> bool:
    """Whether the jobs of such a key are held against a cap."""
    return rights.cap_day is not None or rights.cap_job is not None


async def take_turns(uow: UnitOfWork, rights: Mapping[str, Rights]) -> None:
    """For a transaction that reserves more than once, before it does: take the turns of all these keys, at once and in
    order. Two that took them one after the other could wait for each other for ever."""
    capped = [key_id for key_id, one in rights.items() if is_capped(one)]
    if capped:
        await spending.lock(uow, capped, day_of(uow.now))


async def reserve(uow: UnitOfWork, key_id: str, rights: Rights, jobs: Sequence[NewJob]) -> list[Refusal | None]:
    """As reserve_each, for jobs of one key."""
    return await reserve_each(uow, [(key_id, rights, job) for job in jobs])


async def reserve_each(uow: UnitOfWork, asked: Sequence[tuple[str, Rights, NewJob]]) -> list[Refusal | None]:
    """Whether each key may pay for its job, in this order; the caller inserts those that may be in this transaction.

    Sets ``max_cost`` and ``spend_day`` of the jobs that it admits under a cap, and the price ceiling of those that
    name none, from the cap of a job. A ``max_cost`` that a job has already, and that is lower, is kept. Submissions
    under one key take turns from here to their commit.
    """
    capped = {key_id for key_id, rights, _ in asked if is_capped(rights)}
    if not capped:
        return [None] * len(asked)
    day = day_of(uow.now)
    held = await spending.lock(uow, sorted(capped), day)
    added = dict.fromkeys(held, 0)
    answers: list[Refusal | None] = []
    for key_id, rights, job in asked:
        if not is_capped(rights):
            answers.append(None)
            continue
        reserved, spent = held[key_id]
        now = Spending(rights.cap_day, reserved + added[key_id], spent)
        refusal = _admit(rights, job, now)
        if refusal is None:
            assert job.max_cost is not None
            job.spend_day = day
            added[key_id] += job.max_cost
        answers.append(refusal)
    more = {key_id: amount for key_id, amount in added.items() if amount}
    if more:
        await spending.add_reserved(uow, day, more)
    return answers


async def today(db: Database, principal: Principal) -> Spending:
    """What the caller's key has spent and reserved today, and its cap."""
    async with db.unit() as uow:
        return await of_day(uow, principal)


async def of_day(uow: UnitOfWork, principal: Principal) -> Spending:
    """As today, within the caller's transaction."""
    reserved, spent = await spending.read(uow, principal.key_id, day_of(uow.now))
    return Spending(principal.rights.cap_day, reserved, spent)


async def remaining(db: Database, principal: Principal) -> int | None:
    """What further jobs of today may cost in base units, None without a cap (which costs no query)."""
    return None if principal.rights.cap_day is None else (await today(db, principal)).remaining


def day_of(now: datetime) -> date:
    """The UTC day of a moment, as caps count them."""
    return now.astimezone(UTC).date()


def never(rights: Rights, worst: int, jobs: int) -> BudgetExceeded | None:
    """Why a key may on no day pay for that many jobs at once, of ``worst`` base units each; None = on some it may."""
    if rights.cap_job is not None and worst > rights.cap_job:
        return _too_dear(rights.cap_job, worst)
    if rights.cap_day is not None and worst * jobs > rights.cap_day:
        return _day_is_full(Spending(rights.cap_day, 0, 0), worst * jobs)
    return None


def _admit(rights: Rights, job: NewJob, now: Spending) -> Refusal | None:
    """Hold the job against the key's caps; sets its ``max_cost``, and its price ceiling where it has none."""
    duration_ms, gpus = job.timeout_s * 1000, job.requirements.gpus
    price = job.requirements.max_price
    if price is None:
        bound = min((one for one in (rights.cap_job, job.max_cost) if one is not None), default=None)
        if bound is None:
            return _no_price()
        # The dearest price at which the whole time costs no more than that.
        price = min(MAX_AMOUNT, bound * 3_600_000 // (gpus * duration_ms))
        if price == 0:
            return _too_dear(rights.cap_job or 0, run_cost(1, gpus, duration_ms))
    worst = run_cost(price, gpus, duration_ms)
    if job.max_cost is not None:
        worst = min(worst, job.max_cost)
    if rights.cap_job is not None and worst > rights.cap_job:
        return _too_dear(rights.cap_job, worst)
    cap = MAX_AMOUNT if now.cap is None else now.cap
    if now.reserved + now.spent + worst > cap:
        return _day_is_full(replace(now, cap=cap), worst)
    job.max_cost = worst
    job.requirements = replace(job.requirements, max_price=price)
    return None


def _no_price() -> InvalidInput:
    return InvalidInput(
        "max_price_per_gpu_hour_hyper is needed: this API key has a cap on what its jobs may cost in a day",
        field="max_price_per_gpu_hour_hyper",
        next_action='Send a ceiling, such as "max_price_per_gpu_hour_hyper": "2.5". At most that price, times GPUs, '
        "times timeout_s, is held back until the job is over.",
    )


def _too_dear(cap: int, asked: int) -> BudgetExceeded:
    return BudgetExceeded(
        f"the job may cost up to {format_hyper(asked)} HYPER (its highest price x GPUs x timeout_s), and a job of this "
        f"API key may cost {format_hyper(cap)}",
        field="max_price_per_gpu_hour_hyper",
        next_action="Lower max_price_per_gpu_hour_hyper, gpus or timeout_s.",
        figures={"cap_hyper": format_hyper(cap), "asked_hyper": format_hyper(asked)},
    )


def _day_is_full(now: Spending, asked: int) -> BudgetExceeded:
    cap, left = now.cap or 0, now.remaining or 0
    figures = {"cap": cap, "spent": now.spent, "reserved": now.reserved, "asked": asked, "remaining": left}
    told = {name: format_hyper(amount) for name, amount in figures.items()}
    # Not retryable: programs that send it again every other second would not bring the next day nearer.
    return BudgetExceeded(
        f"the job may cost up to {told['asked']} HYPER, and {told['remaining']} of this API key's cap of "
        f"{told['cap']} a day is left ({told['spent']} spent, {told['reserved']} held back for jobs under way)",
        field="max_price_per_gpu_hour_hyper",
        next_action="Lower max_price_per_gpu_hour_hyper, gpus or timeout_s"
        + (", wait for jobs under way to end, or for the next day (UTC)." if asked <= cap else "."),
        figures={f"{name}_hyper": text for name, text in told.items()},
    )
