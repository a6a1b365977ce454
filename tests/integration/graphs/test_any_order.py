"""Any sequence of calls, deaths and delays: the invariants hold after each, and every job comes to an end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from app.core.chain import PaymentState
from app.core.errors import Conflict, HaeError, NotFound
from app.core.requirements import Requirements
from app.core.states import JOB_FINAL, ExcludeNodes, JobState, Settlement
from app.services import jobs, nodes, offers
from app.services.jobs import Submitted
from app.services.waves import save_wave
from app.store import migrate
from app.store.db import Database
from tests import factories
from tests.factories import OWNER, STRANGER, sql
from tests.integration.graphs import invariants
from tests.support import chain_rows
from tests.support.databases import Databases

T = TypeVar("T")

PICK = st.integers(0, 10_000)
WAVE_SIZES = (1, 3, 256)
WAITS = {"grace": ("cancel_by", "cancel_due"), "start": ("start_at", "start_due"), "pause": ("not_before", "match_due")}
"""What a job may wait for, the column that says until when, and the signal that tells of the end."""


class Killed(BaseException):
    """Stands for the death of the process: nothing in the engine may catch it."""


class Machine(RuleBasedStateMachine):
    """The engine's use cases in any order, on a database of its own."""

    def __init__(self, databases: Databases) -> None:
        super().__init__()
        self.databases = databases
        self.url = databases.clone(migrate.upgrade)
        self.loop = asyncio.Runner()
        self.db = Database(self.url)
        # As many processes with views of their own: those that stood still for a while decide on old ones.
        self.runners = {
            size: factories.runner(self.db, wave_size=size, offer_ttl_s=600.0, cancel_grace_s=600.0)
            for size in WAVE_SIZES
        }
        self.nodes: list[str] = []
        self.wallets: list[str] = []
        self.keys: dict[str, tuple[int, str]] = {}
        self.sound = True

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        self.sound = False
        result: T = self.loop.run(work)
        self.sound = True
        return result

    def check(self) -> None:
        self.do(invariants.check(self.db, *(runner.views for runner in self.runners.values())))

    def teardown(self) -> None:
        try:
            if self.sound:
                self.do(self.finish())
                self.check()
        finally:
            self.loop.run(self.db.close())
            self.loop.close()
            self.databases.drop(self.url)

    @initialize(capacity=st.integers(1, 3), jobs_waiting=st.integers(1, 4), running=st.booleans())
    def begin(self, capacity: int, jobs_waiting: int, running: bool) -> None:
        self.register(capacity)
        self.register(3)
        self.submit(jobs_waiting, 1, 1)
        if running:
            self.everyone_accepts(256)

    @rule(size=st.sampled_from(WAVE_SIZES))
    def everyone_accepts(self, size: int) -> None:
        self.waves_until_quiet(size)
        waiting = self.do(factories.all_offers(self.db))
        pairs = [(offer.id, offer.node_id) for offer in waiting]
        assert self.do(offers.accept(self.db, pairs)) == [None] * len(pairs)
        self.check()
        self.waves_until_quiet(size)

    @precondition(lambda self: len(self.nodes) < 5)
    @rule(capacity=st.integers(1, 3))
    def register(self, capacity: int) -> None:
        wallet = f"wallet{len(self.wallets)}"
        given = factories.registration(wallet=wallet, capacity=capacity, gpus=capacity)
        node_id, _, created = self.do(nodes.register(self.db, OWNER, given))
        assert created
        self.nodes.append(node_id)
        self.wallets.append(wallet)
        self.check()

    @rule(pick=PICK, capacity=st.integers(1, 3))
    def register_again(self, pick: int, capacity: int) -> None:
        wallet = self.wallets[pick % len(self.wallets)]
        given = factories.registration(wallet=wallet, capacity=capacity, gpus=3)
        node_id, _, created = self.do(nodes.register(self.db, OWNER, given))
        assert (node_id, created) == (self.nodes[pick % len(self.nodes)], False)
        with pytest.raises(Conflict):
            self.do(nodes.register(self.db, STRANGER, given))
        self.check()

    @rule(count=st.integers(1, 4), gpus=st.sampled_from([1, 1, 2]), retries=st.integers(0, 2))
    def submit(self, count: int, gpus: int, retries: int) -> None:
        wanted = Requirements(gpus=gpus)
        self.do(factories.submit(self.db, count, requirements=wanted, max_retries=retries))
        self.check()

    @rule(
        retries=st.integers(0, 2),
        attempts=st.integers(0, 3),
        backoff=st.sampled_from([0, 0, 600]),
        exclude=st.sampled_from(ExcludeNodes),
        ahead=st.booleans(),
    )
    def submit_with_wishes(self, retries: int, attempts: int, backoff: int, exclude: ExcludeNodes, ahead: bool) -> None:
        wishes: dict[str, Any] = {
            "max_retries": retries,
            "max_attempts": attempts,
            "retry_backoff_s": backoff,
            "retry_backoff_max_s": backoff,
            "exclude_nodes": exclude,
            "start_at": datetime.now(UTC) + timedelta(hours=1) if ahead else None,
        }
        self.do(factories.submit(self.db, 1, **wishes))
        self.check()

    @rule(key=st.sampled_from("ab"), body=st.integers(0, 1))
    def submit_with_key(self, key: str, body: int) -> None:
        one = factories.submission(idempotency_key=key, payload={"prompt": body})
        first, second = self.do(jobs.submit(self.db, [one, one]))
        known = self.keys.get(key)
        if known is not None and known[0] != body:
            assert isinstance(first, HaeError) and isinstance(second, HaeError)
        else:
            assert isinstance(first, Submitted) and isinstance(second, Submitted)
            assert (first.created, second.created) == (known is None, False)
            assert first.job_id == second.job_id == (known or (body, first.job_id))[1]
            self.keys[key] = (body, first.job_id)
        self.check()

    @rule(pick=PICK, any_state=st.booleans())
    def accept(self, pick: int, any_state: bool) -> None:
        offer = self.offer(pick, "" if any_state else "open")
        if offer is None:
            return
        offer_id, node_id, state, held, expired = offer
        answers = self.do(offers.accept(self.db, [(offer_id, "node_other"), (offer_id, node_id)]))
        assert isinstance(answers[0], NotFound)
        fine = held and (state == "accepted" or (state == "open" and not expired))
        assert (answers[1] is None) is fine, f"{offer}: {answers[1]}"
        if not any_state:
            assert (self.do(offers.accept(self.db, [(offer_id, node_id)]))[0] is None) is fine
        self.check()

    @rule(pick=PICK)
    def decline(self, pick: int) -> None:
        offer = self.offer(pick)
        if offer is None:
            return
        offer_id, node_id, state, _, expired = offer
        fine = state == "declined" or (state == "open" and not expired)
        assert self.refused(offers.decline(self.db, node_id, offer_id, "busy")) is not fine
        self.check()

    @rule(pick=PICK)
    def progress(self, pick: int) -> None:
        offer = self.offer(pick)
        if offer is None:
            return
        offer_id, node_id, *_ = offer
        self.refused(offers.progress(self.db, node_id, offer_id, 10.0, "on it"))
        assert self.refused(offers.progress(self.db, "node_other", offer_id, 10.0, ""))
        self.check()

    @rule(pick=PICK, ok=st.booleans(), body=st.integers(0, 1))
    def report(self, pick: int, ok: bool, body: int) -> None:
        offer = self.offer(pick)
        if offer is None:
            return
        offer_id, node_id, state, held, _ = offer
        mine = offers.new_report(offer_id, node_id, ok=ok, body=body, error=None if ok else "broke")
        other = offers.new_report(offer_id, node_id, ok=ok, body="other", error=None if ok else "broke")
        foreign = offers.new_report(offer_id, "node_other", ok=ok, body=body, error=None if ok else "broke")
        kept = "SELECT digest, late FROM results WHERE offer_id = $1"
        before = self.do(sql(self.db, kept, offer_id))
        answers = self.do(offers.report(self.db, [foreign, mine]))
        # What comes when the run is over is kept, and refused all the same.
        stands = before or ([(mine.digest, not held)] if state == "accepted" else [])
        assert answers[0] is not None
        assert (answers[1] is None) is (stands == [(mine.digest, False)])
        assert self.do(offers.report(self.db, [other]))[0] is not None or stands == [(other.digest, False)]
        assert self.do(sql(self.db, kept, offer_id)) == stands
        self.check()

    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        found = self.do(sql(self.db, "SELECT id FROM jobs ORDER BY id"))
        if not found:
            return
        (job_id,) = found[pick % len(found)]
        assert self.refused(jobs.cancel(self.db, STRANGER, job_id))
        self.do(jobs.cancel(self.db, OWNER, job_id))
        self.check()

    @rule(
        pick=PICK, what=st.sampled_from(["offer", "offer unnoticed", "run", "queue", "look", "grace", "start", "pause"])
    )
    def time_runs_out(self, pick: int, what: str) -> None:
        if what == "look":
            self.ring("match_due", "SELECT id FROM jobs WHERE id <> $1", "")
        elif what in WAITS:
            self.do(self.pass_the_time(what))
        elif what == "queue":
            found = self.do(sql(self.db, "SELECT id FROM jobs WHERE state = 'pending' ORDER BY id"))
            if found:
                (job_id,) = found[pick % len(found)]
                self.do(sql(self.db, "UPDATE jobs SET expires_at = least(expires_at, now()) WHERE id = $1", job_id))
                self.ring("match_due", "SELECT $1", job_id)
        elif what == "run":
            offer = self.offer(pick, "accepted")
            if offer is not None:
                past = "UPDATE offers SET decided_at = least(decided_at, now() - interval '1 hour') WHERE id = $1"
                self.do(sql(self.db, past, offer[0]))
                self.ring("deadline", "SELECT job_id FROM offers WHERE id = $1", offer[0])
        else:
            offer = self.offer(pick, "open")
            if offer is not None:
                self.do(sql(self.db, "UPDATE offers SET expires_at = least(expires_at, now()) WHERE id = $1", offer[0]))
                if what == "offer":
                    self.ring("offer_expired", "SELECT job_id FROM offers WHERE id = $1", offer[0])
        self.check()

    @rule(pick=PICK, what=st.sampled_from(["heard", "silent", "silent", "swept", "lapsed"]))
    def signs_of_life(self, pick: int, what: str) -> None:
        node_id = self.nodes[pick % len(self.nodes)]
        if what == "heard":
            self.do(nodes.heard(self.db, [(node_id, 50)]))
        else:
            past = "UPDATE node_heartbeats SET last_seen_at = now() - interval '1 hour' WHERE node_id = $1"
            self.do(sql(self.db, past, node_id))
            if what == "swept":
                self.do(nodes.sweep_silent(self.db, 300.0))
            if what == "lapsed":
                back = """UPDATE offers SET created_at = created_at - interval '1 hour',
                    decided_at = decided_at - interval '1 hour', renewed_at = renewed_at - interval '1 hour'
                    WHERE node_id = $1 AND state = 'accepted'"""
                self.do(sql(self.db, back, node_id))
                self.do(nodes.sweep_leases(self.db, 150.0))
        self.check()

    @rule(
        pick=PICK,
        payment=st.sampled_from(PaymentState),
        operator=st.sampled_from(["ours", "ours", "other"]),
        unheard=st.booleans(),
    )
    def the_chain_says(self, pick: int, payment: PaymentState, operator: str, unheard: bool) -> None:
        """Of any job, finished or not, anything at any time: paid, paid wrongly, forked out again."""
        found = self.do(
            sql(
                self.db,
                """SELECT j.id, n.wallet, j.chain_job FROM jobs j LEFT JOIN nodes n ON n.id = j.node_id
                ORDER BY finished_at DESC NULLS LAST, j.id""",
            )
        )
        if not found:
            return
        job_id, wallet, address = found[min(pick % len(found), pick // 7 % len(found))]
        if address is None:
            self.do(chain_rows.link(self.db, job_id))
        who = (wallet or "other") if operator == "ours" else "other"
        self.do(chain_rows.say(self.db, job_id, payment, completed_operator=who, payment_reason="fake_mint"))
        if unheard:
            self.waves_until_quiet(256)
        self.check()

    @rule(pick=PICK, back=st.booleans())
    def drain_or_resume(self, pick: int, back: bool) -> None:
        row = self.do(nodes.owned(self.db, OWNER, self.nodes[pick % len(self.nodes)]))
        self.do((nodes.resume if back else nodes.drain)(self.db, row, OWNER.key_id))
        self.check()

    @rule(size=st.sampled_from(WAVE_SIZES), refreshed=st.booleans())
    def one_wave(self, size: int, refreshed: bool) -> None:
        if refreshed:
            self.do(self.runners[size].views.refresh())
        assert not self.do(self.runners[size].run_once()).failed
        self.check()

    @rule(size=st.sampled_from(WAVE_SIZES))
    def waves_until_quiet(self, size: int) -> None:
        self.do(factories.run_waves(self.runners[size]))
        self.check()

    @rule(size=st.sampled_from(WAVE_SIZES), written=st.booleans())
    def killed_in_the_middle_of_a_wave(self, size: int, written: bool) -> None:
        before = self.do(self.everything())

        async def die(uow: Any, wave: Any) -> None:
            if written:
                await save_wave(uow, wave)
            raise Killed

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("graphs.job.save_wave", die)
            try:
                report = self.do(self.runners[size].run_once())
                assert report.signals == 0
            except Killed:
                self.sound = True
        assert self.do(self.everything()) == before
        self.check()

    async def pass_the_time(self, what: str) -> None:
        """Have all waits of a kind be over, as time would."""
        column, signal = WAITS[what]
        await sql(self.db, f"UPDATE jobs SET {column} = least({column}, now()) WHERE {column} IS NOT NULL")
        await sql(self.db, "UPDATE signals SET due_at = least(due_at, now()) WHERE kind = $1", signal)

    def offer(self, pick: int, state: str = "") -> tuple[str, str, str, bool, bool] | None:
        """Some offer as ``(id, node_id, state, holds_slots, expired)``, those that hold a node most likely."""
        found = self.do(
            sql(
                self.db,
                """SELECT id, node_id, state, holds_slots, expires_at <= clock_timestamp() FROM offers
                WHERE $1 IN ('', state) ORDER BY holds_slots DESC, id DESC""",
                state,
            )
        )
        if not found:
            return None
        offer_id, node_id, found_state, held, expired = found[min(pick % len(found), pick // 7 % len(found))]
        return offer_id, node_id, found_state, held, expired

    def ring(self, kind: str, jobs_of: str, argument: str) -> None:
        """Make timers due now, as time would."""
        self.do(
            sql(
                self.db,
                f"UPDATE signals SET due_at = least(due_at, now()) WHERE kind = $2 AND job_id IN ({jobs_of})",
                argument,
                kind,
            )
        )

    def refused(self, work: Coroutine[Any, Any, Any]) -> bool:
        try:
            self.do(work)
        except HaeError:
            self.sound = True
            return True
        return False

    async def everything(self) -> list[Any]:
        tables = (
            "jobs", "offers", "nodes", "signals", "job_history", "settlement_history", "events", "job_counts",
            "match_decisions",
        )  # fmt: skip
        return [await sql(self.db, f"SELECT t::text FROM {table} t ORDER BY 1") for table in tables]

    async def finish(self) -> None:
        """Give the jobs a node that takes them all, and do its work until every job is over."""
        await factories.node(self.db, wallet="finisher", capacity=64, gpus=64)
        waves = self.runners[256]
        for _ in range(30):
            for what in WAITS:
                await self.pass_the_time(what)
            await factories.run_waves(waves)
            waiting = await factories.all_offers(self.db)
            await offers.accept(self.db, [(offer.id, offer.node_id) for offer in waiting])
            running = await sql(self.db, "SELECT id, node_id FROM offers WHERE state = 'accepted' AND holds_slots")
            await offers.report(self.db, [offers.new_report(*offer, ok=True) for offer in running])
            await sql(
                self.db,
                """UPDATE signals SET due_at = now() WHERE kind = 'offer_expired' AND job_id IN
                (SELECT job_id FROM offers WHERE state = 'open' AND expires_at <= now())""",
            )
            await factories.run_waves(waves)
            states = {JobState(row[0]) for row in await sql(self.db, "SELECT DISTINCT state FROM jobs")}
            if states <= JOB_FINAL:
                assert await sql(self.db, "SELECT * FROM signals") == [], "signals of finished jobs are left"
                assert await sql(self.db, "SELECT id FROM nodes WHERE active_jobs <> 0") == []
                await self.settle()
                return
        raise AssertionError(f"jobs that never end: {states}")

    async def settle(self) -> None:
        """Have every linked job paid well in the end: each is settled, unless it was never completed."""
        paid = await sql(
            self.db, "SELECT j.id, n.wallet FROM jobs j JOIN nodes n ON n.id = j.node_id WHERE chain_job > ''"
        )
        for job_id, wallet in paid:
            await chain_rows.say(self.db, job_id, PaymentState.VALID, completed_operator=wallet)
        await factories.run_waves(self.runners[3])
        left = "SELECT DISTINCT settlement FROM jobs WHERE chain_job > '' AND state = 'completed'"
        assert await sql(self.db, left) in ([], [(Settlement.SETTLED,)])
        assert await sql(self.db, "SELECT * FROM signals") == []


def test_any_order_of_calls_keeps_the_invariants_and_ends_every_job(databases: Databases) -> None:
    factory: Any = lambda: Machine(databases)  # noqa: E731  (only its type is wrong: any maker of machines will do)
    run_state_machine_as_test(
        factory,
        settings=settings(
            max_examples=15,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # Each try is a database of its own: shrinking would take minutes.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            print_blob=True,
        ),
    )
