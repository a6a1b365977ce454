"""Agents' hooks on PostgreSQL: who is told what, by whichever worker, and when a hook ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from app.core.access import Principal
from app.core.deliveries import Delivery, Hook, WaitingHook
from app.core.errors import Conflict, InvalidInput, NotFound, QuotaExceeded
from app.core.events import EventKind
from app.services import feed, hooks, keys
from app.services.hooks import OF_KEY, OF_SUBJECT, HookWish
from app.store import events
from app.store import hooks as rows
from app.store.db import Database
from app.store.deliveries import DeliveryRows
from app.webhooks import signing
from app.webhooks.dispatcher import FAN_OUT_LIMIT, Dispatcher
from app.webhooks.guard import Guard
from app.webhooks.hooks import HookEndpoint, HookLane
from app.webhooks.sender import Limits, Sender
from tests import factories
from tests.factories import OWNER, STRANGER, sequence, sql
from tests.support.receiver import Answer, Receiver

LOCAL = ["127.0.0.0/8"]


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest.fixture
def guard() -> Guard:
    return Guard(LOCAL)


async def tell(
    db: Database, *kinds: EventKind, account: str = OWNER.account, job_id: str | None = None, plan_id: str = ""
) -> None:
    data = {"job_id": job_id} if job_id else {"plan_id": plan_id} if plan_id else {}
    async with db.unit() as uow:
        await events.add(uow, [events.NewEvent(kind, {**data, "state": "x"}, account, job_id) for kind in kinds])
    await sequence(db)


async def hook(db: Database, guard: Guard, url: str, principal: Principal = OWNER, **wish: object) -> Hook:
    made, created = await hooks.create(db, guard, principal, HookWish(url, **wish))  # type: ignore[arg-type]
    assert created
    return made


@asynccontextmanager
async def dispatching(db: Database, workers: int = 1, limits: Limits | None = None) -> AsyncIterator[None]:
    """Workers without any endpoints of the settings."""
    stop = asyncio.Event()
    async with Sender(Guard(LOCAL), limits) as sender:
        running = [
            asyncio.create_task(Dispatcher(DeliveryRows(db), sender, [], poll_s=0.05).run(stop)) for _ in range(workers)
        ]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*running)


async def until(db: Database, statement: str, *values: object) -> None:
    """Return once the statement finds a row."""
    async with asyncio.timeout(30):
        while not await sql(db, statement, *values):  # noqa: ASYNC110  (the rows tell)
            await asyncio.sleep(0.02)


def told(receiver: Receiver) -> list[str]:
    return [request.json["event"] for request in receiver.received]


async def test_a_hook_is_told_of_its_account_alone_and_of_what_it_asked_for(db: Database, guard: Guard) -> None:
    async with Receiver() as everything, Receiver() as failures, Receiver() as strangers:
        first = await hook(db, guard, everything.url())
        await hook(db, guard, failures.url(), kinds=["job_failed"])
        await hook(db, guard, strangers.url(), STRANGER)
        await tell(db, EventKind.JOB_COMPLETED, EventKind.JOB_FAILED, EventKind.JOB_PROGRESS)
        await tell(db, EventKind.JOB_STARTED, account=STRANGER.account)
        await tell(db, EventKind.OPERATOR_MESSAGE)
        async with db.unit() as uow:
            await events.add(uow, [events.NewEvent(EventKind.NODE_OFFLINE, {}, None)])
        await sequence(db)
        async with dispatching(db):
            await everything.until(2)
            await failures.until(1)
            await strangers.until(1)
            await until(db, "SELECT WHERE NOT EXISTS (SELECT FROM deliveries WHERE state <> 'delivered')")
        assert sorted(told(everything)) == ["job_completed", "job_failed"]
        assert told(failures) == ["job_failed"]
        assert told(strangers) == ["job_started"]
        sent = everything.received[0]
        assert signing.verify(first.secret, sent.headers, sent.body, time.time())
    kept = await sql(db, "SELECT DISTINCT endpoint FROM deliveries")
    assert all(endpoint.startswith("hook:hook_") for (endpoint,) in kept) and len(kept) == 3


async def test_a_hook_of_one_job_ends_with_it_once_that_is_told(db: Database, guard: Guard) -> None:
    job_id, other = await factories.submit(db, 2)
    await sequence(db)
    async with Receiver(Answer(500)) as receiver:
        # Not among the kinds asked for: it is told of the end all the same.
        made = await hook(db, guard, receiver.url(), subject=job_id, kinds=["job_matched"])
        await tell(db, EventKind.JOB_MATCHED, EventKind.JOB_STARTED, job_id=job_id)
        await tell(db, EventKind.JOB_COMPLETED, job_id=other)
        await tell(db, EventKind.JOB_CANCELLED, job_id=job_id)
        async with dispatching(db):
            await receiver.until(2)
            await until(db, "SELECT FROM deliveries WHERE state = 'pending' AND tries > 0 HAVING count(*) = 2")
            assert (await hooks.get(db, OWNER, made.id)).ended_at is None
            receiver.answer = Answer()
            await sql(db, "UPDATE deliveries SET due_at = now()")
            await until(db, "SELECT FROM agent_hooks WHERE ended_at IS NOT NULL AND error IS NULL")
            await until(db, "SELECT FROM deliveries WHERE state = 'delivered' HAVING count(*) = 2")
        assert told(receiver)[-2:] == ["job_matched", "job_cancelled"], "not in their order"
        await tell(db, EventKind.PAYMENT_DISTRIBUTED, job_id=job_id)
        await DeliveryRows(db).fan_out([], FAN_OUT_LIMIT)
        assert await DeliveryRows(db).counts() == {"delivered": 2}


async def test_what_came_before_the_end_is_still_sent_after_it(db: Database, guard: Guard) -> None:
    (job_id,) = await factories.submit(db)
    await sequence(db)
    await DeliveryRows(db).fan_out([], FAN_OUT_LIMIT)
    async with Receiver() as receiver:
        await hook(db, guard, receiver.url(), subject=job_id)
        await tell(db, EventKind.JOB_STARTED, EventKind.JOB_FAILED, job_id=job_id)
        await DeliveryRows(db).fan_out([], FAN_OUT_LIMIT)
        await sql(
            db,
            """UPDATE deliveries d SET due_at = now() + interval '1 hour' FROM events e
            WHERE e.id = d.event_id AND e.kind = 'job_started'""",
        )
        async with dispatching(db):
            await until(db, "SELECT FROM agent_hooks WHERE ended_at IS NOT NULL")
            await sql(db, "UPDATE deliveries SET due_at = now() WHERE state = 'pending'")
            await receiver.until(2)
        assert told(receiver) == ["job_failed", "job_started"]


async def test_a_plans_hook_is_told_of_the_plan(db: Database, guard: Guard) -> None:
    await sql(
        db,
        """INSERT INTO plans (id, account, key_id, name, state, reason, request, budget)
        VALUES ('plan_1', $1, 'key_owner', '', 'running', 'submitted', '{}', 5)""",
        OWNER.account,
    )
    async with Receiver() as receiver:
        await hook(db, guard, receiver.url(), subject="plan_1")
        await tell(db, EventKind.PLAN_FAILED, plan_id="plan_2")
        await tell(db, EventKind.JOB_COMPLETED)
        await tell(db, EventKind.PLAN_COMPLETED, plan_id="plan_1")
        async with dispatching(db):
            await until(db, "SELECT FROM agent_hooks WHERE ended_at IS NOT NULL")
        assert [request.json["plan_id"] for request in receiver.received] == ["plan_1"]


async def test_a_receiver_that_is_gone_ends_its_hook_and_what_is_left_is_dead(db: Database, guard: Guard) -> None:
    async with Receiver(Answer(410)) as gone:
        made = await hook(db, guard, gone.url("/s3cret"))
        await tell(db, *[EventKind.JOB_COMPLETED] * 20)
        async with dispatching(db, limits=Limits(concurrency=4)):
            await until(db, "SELECT FROM deliveries HAVING count(*) FILTER (WHERE state = 'dead') = 20")
        assert len(gone.received) <= 3, "sent on after it was told to stop"
    ended = await hooks.get(db, OWNER, made.id)
    assert (ended.ended_at is not None, ended.error) == (True, "receiver is gone (HTTP 410)")
    await tell(db, EventKind.JOB_COMPLETED)
    await DeliveryRows(db).fan_out([], FAN_OUT_LIMIT)
    assert await DeliveryRows(db).counts() == {"dead": 20}
    assert "s3cret" not in str(await sql(db, "SELECT error, endpoint FROM deliveries"))
    assert "s3cret" not in repr(ended)


async def test_a_day_of_failures_ends_a_hook(db: Database, guard: Guard) -> None:
    async with Receiver(Answer(503)) as receiver:
        made = await hook(db, guard, receiver.url())
        await tell(db, *[EventKind.JOB_COMPLETED] * 12)
        async with dispatching(db):
            await until(db, "SELECT FROM agent_hooks WHERE (options #>> '{failing,tries}')::int = 12")
            assert (await hooks.get(db, OWNER, made.id)).ended_at is None, "twelve failures within a moment"
            # A success in between: the count begins anew.
            receiver.answer = Answer()
            await sql(db, "UPDATE deliveries SET due_at = now() WHERE ctid = (SELECT min(ctid) FROM deliveries)")
            await until(db, "SELECT FROM agent_hooks WHERE options -> 'failing' IS NULL")
            receiver.answer = Answer(503)
            await sql(db, "UPDATE deliveries SET due_at = now() WHERE state = 'pending'")
            await until(db, "SELECT FROM agent_hooks WHERE (options #>> '{failing,tries}')::int = 11")
            await sql(
                db,
                """UPDATE agent_hooks SET options = jsonb_set(options::jsonb, '{failing,since}',
                    to_jsonb(extract(epoch FROM now() - interval '25 hours')))::json""",
            )
            await sql(db, "UPDATE deliveries SET due_at = now() WHERE state = 'pending'")
            await until(db, "SELECT FROM agent_hooks WHERE ended_at IS NOT NULL")
    error = (await hooks.get(db, OWNER, made.id)).error
    assert error == "nothing could be delivered for a day; at last: receiver answered HTTP 503"


async def test_what_is_due_to_a_hook_that_is_not_any_more_is_dead(db: Database, guard: Guard) -> None:
    key_id, _ = await keys.create(db, "acme", ["agent"])
    async with Receiver() as receiver:
        deleted = await hook(db, guard, receiver.url())
        await hook(db, guard, receiver.url(), Principal(key_id, "acme", frozenset({"agent"})))
        await tell(db, EventKind.JOB_COMPLETED)
        await DeliveryRows(db).fan_out([], FAN_OUT_LIMIT)
        # As if it were deleted while its delivery was being made.
        await sql(db, "DELETE FROM agent_hooks WHERE id = $1", deleted.id)
        await keys.revoke(db, key_id)
        async with dispatching(db):
            await until(db, "SELECT FROM deliveries WHERE state = 'dead' HAVING count(*) = 2")
        assert not receiver.received
    reasons = {error for (error,) in await sql(db, "SELECT error FROM deliveries")}
    assert reasons == {"the hook was deleted", "the API key that made the hook was revoked"}
    assert [error for (error,) in await sql(db, "SELECT error FROM agent_hooks WHERE ended_at IS NOT NULL")] == [
        "the API key that made the hook was revoked"
    ]


async def test_deleting_a_hook_takes_what_was_still_to_be_sent(db: Database, guard: Guard) -> None:
    made = await hook(db, guard, "http://127.0.0.1:1/")
    await tell(db, EventKind.JOB_COMPLETED)
    await DeliveryRows(db).fan_out([], FAN_OUT_LIMIT)
    with pytest.raises(NotFound):
        await hooks.delete(db, STRANGER, made.id)
    assert await DeliveryRows(db).counts() == {"pending": 1}
    await hooks.delete(db, OWNER, made.id)
    assert await DeliveryRows(db).counts() == {}
    with pytest.raises(NotFound):
        await hooks.get(db, OWNER, made.id)


async def test_a_hook_added_while_events_are_fanned_out_gets_all_that_come_after_it(db: Database, guard: Guard) -> None:
    """Two workers fan out and send, others write events, hooks are added all the while."""
    expected: dict[str, set[str]] = {}
    going = True

    async def write() -> None:
        while going:
            before = list(expected.values())
            async with db.unit() as uow:
                await events.add(uow, [events.NewEvent(EventKind.JOB_COMPLETED, {}, OWNER.account)] * 3)
                found = await uow.sql.fetch(
                    "SELECT id FROM events WHERE written_in = pg_current_xact_id()::text::bigint"
                )
            for each in before:
                each.update(row[0] for row in found)

    async def number() -> None:
        while going:
            await sequence(db)
            await asyncio.sleep(0.005)

    async with Receiver() as receiver, dispatching(db, workers=2):
        tasks = [asyncio.create_task(write()), asyncio.create_task(write()), asyncio.create_task(number())]
        for _ in range(8):
            made = await hook(db, guard, receiver.url())
            expected[made.endpoint] = set()
            await asyncio.sleep(0.02)
        going = False
        await asyncio.gather(*tasks)
        await sequence(db)
        await until(
            db,
            """SELECT FROM consumers c JOIN consumers s ON s.name = 'sequencer' AND s.position = c.position
            WHERE c.name = 'webhooks' AND NOT EXISTS (SELECT FROM deliveries WHERE state <> 'delivered')""",
        )
    got: dict[str, set[str]] = {}
    for endpoint, event_id in await sql(db, "SELECT endpoint, event_id FROM deliveries"):
        got.setdefault(endpoint, set()).add(event_id)
    assert sum(len(ids) for ids in expected.values()) > 20
    for endpoint, ids in expected.items():
        assert ids <= got.get(endpoint, set()), "an event was missed"


async def test_a_job_that_ends_while_its_hook_is_added_is_told_of_or_over(db: Database, guard: Guard) -> None:
    (job_id,) = await factories.submit(db)
    await sequence(db)
    ending = events.NewEvent(EventKind.JOB_COMPLETED, {}, OWNER.account, job_id)
    async with AsyncExitStack() as stack:
        async with db.unit() as uow:
            # The job's end has its number, and the sequencer's mark is behind it.
            await events.add(uow, [ending])
            async with db.unit() as other:
                await events.add(other, [events.NewEvent(EventKind.NODE_ONLINE, {})])
            assert (found := await feed.sequence(db)) is not None and found.waiting
            hooking = await stack.enter_async_context(db.unit())
            await rows.take_turn(hooking, OWNER.account)
            await rows.hold_fan_out(hooking)
            await rows.add(hooking, Hook("hook_1", OWNER.account, "k", "custom", job_id, [], "http://x/", "", "", {}))
        # The end has committed, and gets its position while the hook's transaction is still under way.
        assert (found := await feed.sequence(db)) is not None and found.given == 2
        fanning = asyncio.create_task(DeliveryRows(db).fan_out([], FAN_OUT_LIMIT))
        await until(db, "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    await fanning
    assert ("hook:hook_1", "job_completed") in await sql(
        db, "SELECT d.endpoint, e.kind FROM deliveries d JOIN events e ON e.id = d.event_id"
    )
    await sql(db, "UPDATE jobs SET state = 'cancelled', finished_at = now() WHERE id = $1", job_id)
    with pytest.raises(Conflict, match="is over"):
        await hook(db, guard, "http://127.0.0.1:1/", subject=job_id)


async def test_hooks_have_bounds(db: Database, guard: Guard) -> None:
    (job_id,) = await factories.submit(db)
    asked = [hook(db, guard, "http://127.0.0.1:1/") for _ in range(OF_KEY + 3)]
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(one, QuotaExceeded) for one in done) == 3, "counted wrongly while many came at once"
    asked = [hook(db, guard, "http://127.0.0.1:1/", subject=job_id) for _ in range(OF_SUBJECT + 1)]
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in done if not isinstance(one, Hook)] == [QuotaExceeded]
    with pytest.raises(NotFound):
        await hook(db, guard, "http://127.0.0.1:1/", STRANGER, subject=job_id)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1/", "not public (loopback)"),
        ("http://169.254.169.254/latest", "not public (link-local)"),
        ("http://2130706433/", "not public (loopback)"),
        ("https://[::ffff:10.0.0.1]/", "not public (IPv4-mapped)"),
        ("ftp://9.9.9.9/", "must begin with https:// or http://"),
        ("https://user:pass@9.9.9.9/", "must not carry credentials"),
        ("https://no-such-host.invalid/", "cannot be found"),
        ("nonsense", "must begin with"),
    ],
)
async def test_urls_that_are_refused(db: Database, url: str, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await hook(db, Guard(), url)
    assert said in refused.value.detail and refused.value.field == "url" and refused.value.next_action
    assert await sql(db, "SELECT FROM agent_hooks") == []


async def test_a_hook_whose_name_leads_inside_later_is_not_dialled(db: Database, guard: Guard) -> None:
    await hook(db, guard, "http://127.0.0.1:1/")
    await tell(db, EventKind.JOB_COMPLETED)
    stop = asyncio.Event()
    async with Sender(Guard()) as strict:
        running = asyncio.create_task(Dispatcher(DeliveryRows(db), strict, [], poll_s=0.05).run(stop))
        await until(db, "SELECT FROM deliveries WHERE state = 'dead' AND error LIKE '%not public (loopback)'")
        stop.set()
        await running


class Counted(DeliveryRows):
    """Counts calls, each a transaction of a statement or two."""

    calls = 0

    async def waiting_hooks(self, after: str, busy: Sequence[str], limit: int) -> list[WaitingHook]:
        self.calls += 1
        return await super().waiting_hooks(after, busy, limit)

    async def claim_hooks(self, endpoints: Sequence[str], each: int, lease_s: float) -> list[Delivery]:
        self.calls += 1
        return await super().claim_hooks(endpoints, each, lease_s)


async def test_thousands_of_hooks_take_a_few_queries_a_round_and_share_the_room(db: Database) -> None:
    await sql(
        db,
        """INSERT INTO agent_hooks (id, account, key_id, subject, url, secret, token)
        SELECT 'hook_' || lpad(n::text, 26, '0'), CASE WHEN n > 1500 THEN 'small' ELSE 'acme' END, 'key',
            CASE WHEN n % 2 = 0 THEN 'job_' || n ELSE '' END, 'http://127.0.0.1:1/', $1, ''
        FROM generate_series(1, 2000) n""",
        signing.new_secret(),
    )
    await tell(db, EventKind.JOB_COMPLETED)
    await tell(db, EventKind.JOB_COMPLETED, account="small")
    assert (await DeliveryRows(db).fan_out([], FAN_OUT_LIMIT)).hooked
    assert await DeliveryRows(db).counts() == {"pending": 1000}
    async with Sender(Guard(LOCAL), Limits(concurrency=64)) as sender:
        counted = Counted(db)
        lane = HookLane(counted, sender)
        seen: set[str] = set()
        accounts: set[str] = set()
        sending: list[HookEndpoint] = []
        for _ in range(12):
            before = counted.calls
            taken = await lane.claim([], 64, 60.0)
            assert counted.calls - before <= 3
            names = [endpoint.name for endpoint, _ in taken]
            assert len(names) == len(set(names)) <= 48
            sending = [endpoint for endpoint, _ in taken if isinstance(endpoint, HookEndpoint)]
            # No account has more than half, however many hooks it has.
            assert max((sum(one.account == each for one in sending) for each in ("acme", "small")), default=0) <= 24
            assert not seen & set(names), "claimed twice"
            seen |= set(names)
            accounts |= {one.account for one in sending}
        assert accounts == {"acme", "small"}
        assert len(seen) > 200
        lane.maybe_due = True
        assert await lane.claim(sending * 48, 64, 60.0) == [], "more under way than there is room"
