"""Outgoing transactions against a real SVM: each lands once or not at all, whatever dies, lies or is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from app.chain import listener, sending, submit
from app.chain.configured import chain_from
from app.chain.devchain import JOB_RECEIPT, NODE_REGISTRY, FaultKind, Rejected
from app.chain.listener import Listener, ListenerOptions
from app.chain.rpc import Endpoint, RpcClient
from app.core.chain import OutgoingState
from app.settings import load
from app.store.chain import cursors, outgoing
from app.store.chain.cursors import LeadershipLost
from app.store.db import Database
from app.store.leader import Leadership
from app.workers.listener import index_from, submitter_from
from tests.factories import sql
from tests.support.rpc_server import RpcServer
from tests.support.submitting import PRICE, RICH, ChainJobs, chain_jobs


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def world(db: Database) -> AsyncIterator[ChainJobs]:
    async with chain_jobs(db) as opened:
        yield opened


async def rows(db: Database, columns: str = "kind, state") -> list[tuple[Any, ...]]:
    return await sql(db, f"SELECT {columns} FROM chain_outgoing ORDER BY job_id, kind")


async def signature(db: Database) -> str:
    """Of the one transaction there is."""
    ((found,),) = await rows(db, "signature")
    return str(found)


async def test_a_job_is_assigned_and_settled_with_real_tokens(world: ChainJobs) -> None:
    submitter = await world.submitter()
    operator = world.operator.pubkey()
    job_id = await world.job()
    assert await submitter.round() == 1
    assert await rows(world.db) == [("assign_job", "sent")]
    # Landed, and waits for its finality without being sent again.
    sent = await rows(world.db, "signature, wire, builds")
    world.chain.advance(5)
    await submitter.round()
    assert await rows(world.db, "signature, wire, builds") == sent
    world.chain.advance(40)
    await submitter.round()
    assert await rows(world.db, "kind, state, builds, wire, error") == [("assign_job", "done", 1, None, None)]
    assert world.account(job_id)["status"] == 1
    assert world.account(job_id)["assigned_node"] == str(operator)

    await world.complete(job_id)
    assert await submitter.round() == 1
    world.chain.advance(40)
    await submitter.round()
    assert await rows(world.db) == [("assign_job", "done"), ("settle_job", "done")]
    assert world.account(job_id)["payment_settled"]
    shares = [PRICE * 80 // 100, PRICE * 10 // 100, PRICE * 5 // 100]
    assert [world.tokens(each) for each in (operator, world.treasury, world.incentive_pool)] == shares
    assert world.tokens(world.client.pubkey()) == RICH - sum(shares)
    assert await submitter.round() == 0


async def test_what_is_kept_before_a_crash_is_what_lands_after_it(
    world: ChainJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await world.job()
    dying = await world.submitter()

    async def dies(*_: Any) -> None:
        raise SystemError

    with monkeypatch.context() as patched:
        patched.setattr(sending, "hand_in", dies)
        with pytest.raises(SystemError):
            await dying.round()
    kept = await rows(world.db, "state, signature, wire, last_valid_block_height")
    assert kept[0][0] == "sent" and world.landed(job_id) == []
    heir = await world.submitter()
    await heir.round()
    assert await rows(world.db, "state, signature, wire, last_valid_block_height") == kept
    assert world.landed(job_id) == [kept[0][1]]
    with pytest.raises(LeadershipLost):
        await dying.round()


async def test_the_same_bytes_go_out_until_they_land(world: ChainJobs) -> None:
    world.served.faults.add(FaultKind.LOSE_TRANSACTION, count=3)
    job_id = await world.job()
    submitter = await world.submitter()
    await submitter.round()
    first = await rows(world.db, "state, signature, wire, builds")
    for _ in range(2):
        world.chain.advance(10)
        await submitter.round()
    assert world.landed(job_id) == []
    await submitter.round()
    assert await rows(world.db, "state, signature, wire, builds") == first
    assert world.landed(job_id) == [first[0][1]]


async def test_only_what_is_provably_expired_is_built_anew(world: ChainJobs) -> None:
    world.served.faults.add(FaultKind.LOSE_TRANSACTION)
    job_id = await world.job()
    submitter = await world.submitter()
    await submitter.round()
    ((first, wire, last),) = await rows(world.db, "signature, wire, last_valid_block_height")
    # Past its height at the tip, and not yet in what is final.
    world.chain.advance(last + 2 - world.chain.blocks.open.height)
    with pytest.raises(Rejected, match="BlockhashNotFound"):
        world.chain.send(wire)
    await submitter.round()
    world.chain.advance(29)
    await submitter.round()
    assert await signature(world.db) == first
    world.chain.advance(1)
    await submitter.round()
    assert await rows(world.db, "state, signature, wire, builds") == [("ready", None, None, 1)]
    world.served.faults.clear()
    await submitter.round()
    second = await signature(world.db)
    assert second != first
    world.chain.advance(40)
    await submitter.round()
    assert await rows(world.db, "state, builds") == [("done", 2)]
    assert world.landed(job_id) == [second]


async def test_one_that_lands_at_the_last_moment_is_not_built_again(world: ChainJobs) -> None:
    world.served.faults.add(FaultKind.LOSE_TRANSACTION)
    job_id = await world.job()
    submitter = await world.submitter()
    await submitter.round()
    ((first, wire, last),) = await rows(world.db, "signature, wire, last_valid_block_height")
    world.chain.advance(last - world.chain.blocks.open.height)
    world.chain.send(wire)
    # Its blockhash is long forgotten when somebody looks again.
    world.chain.advance(400)
    await submitter.round()
    assert await rows(world.db, "state, builds") == [("done", 1)]
    assert world.landed(job_id) == [first]


async def test_it_is_given_up_after_so_many_builds(world: ChainJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "MAX_BUILDS", 2)
    world.served.faults.add(FaultKind.LOSE_TRANSACTION)
    await world.job()
    submitter = await world.submitter()
    for _ in range(2):
        await submitter.round()
        world.chain.advance(200)
        await submitter.round()
    assert await rows(world.db, "state, builds, error") == [("failed", 2, "expired before it landed")]
    assert await submitter.round() == 0


async def test_a_node_that_is_behind_proves_nothing() -> None:
    context = {"slot": 499}
    methods = {
        "getEpochInfo": lambda *_: {"absoluteSlot": 500, "blockHeight": 450},
        "getSignatureStatuses": lambda *_: {"context": context, "value": [None]},
    }
    name = str(Signature.default())
    async with RpcServer(methods) as server, RpcClient([Endpoint(server.url)]) as rpc:
        assert (await sending.standing(rpc, [name])).dead_below == -1
        context["slot"] = 500
        assert (await sending.standing(rpc, [name])).dead_below == 450


async def test_what_a_fork_drops_is_sent_again(world: ChainJobs) -> None:
    job_id = await world.job()
    submitter = await world.submitter()
    await submitter.round()
    first = await signature(world.db)
    world.chain.advance(3)
    await submitter.round()
    # Deep enough that the latest blockhash of then would be gone, too.
    world.chain.fork(6, drop=[Signature.from_string(first)])
    assert world.landed(job_id) == []
    await submitter.round()
    assert world.landed(job_id) == [first]
    world.chain.advance(40)
    await submitter.round()
    assert await rows(world.db, "state, builds") == [("done", 1)]


async def test_one_that_lands_and_fails_is_called_by_its_error(world: ChainJobs) -> None:
    world.served.faults.add(FaultKind.DELAY_TRANSACTION, value=2)
    job_id = await world.job()
    submitter = await world.submitter()
    await submitter.round()
    # Somebody is quicker.
    world.assign(job_id)
    world.chain.advance(5)
    await submitter.round()
    assert await rows(world.db, "state, error") == [("sent", None)]
    world.chain.advance(40)
    await submitter.round()
    assert await rows(world.db, "state, error") == [("failed", "JobNotPending: Job is not pending")]
    assert await submitter.round() == 0


@pytest.mark.parametrize(("wrong", "expected"), [("keypair", "owner does not match"), ("funds", "insufficient funds")])
async def test_a_trial_that_fails_is_repeated_and_named_in_the_end(world: ChainJobs, wrong: str, expected: str) -> None:
    job_id = await world.completed()
    stranger = Keypair()
    world.put(stranger.pubkey())
    if wrong == "funds":
        world.give(world.client.pubkey(), PRICE // 2, world.keypair.pubkey())
    submitter = await world.submitter(keypair=stranger if wrong == "keypair" else world.keypair)
    for tries in range(1, submit.MAX_BUILDS):
        await submitter.round()
        assert await rows(world.db, "state, builds, signature") == [("ready", tries, None)]
    await submitter.round()
    ((state, error),) = await rows(world.db, "state, error")
    assert state == "failed" and expected in error
    assert world.landed(job_id) == [] and world.tokens(world.treasury) == 0


async def test_a_keypair_without_sol_waits_for_some(world: ChainJobs) -> None:
    await world.job()
    poor = Keypair()
    submitter = await world.submitter(keypair=poor)
    await submitter.round()
    ((state, builds, error),) = await rows(world.db, "state, builds, error")
    assert (state, builds) == ("ready", 0) and error
    world.put(poor.pubkey())
    await submitter.round()
    assert await rows(world.db, "state, builds, error") == [("sent", 1, None)]


@pytest.mark.parametrize("ours", [True, False])
async def test_a_job_that_is_assigned_already_needs_no_transaction(world: ChainJobs, ours: bool) -> None:
    job_id = await world.job()
    other = Pubkey.new_unique()
    world.assign(job_id, None if ours else other)
    world.chain.advance(2)
    submitter = await world.submitter()
    await submitter.round()
    # A fork may take that back yet.
    assert await rows(world.db) == [("assign_job", "ready")]
    world.chain.advance(40)
    await submitter.round()
    end = ("done", None) if ours else ("failed", f"the job is assigned to {other} on chain")
    assert await rows(world.db, "state, error") == [end]
    assert world.landed(job_id) == []


async def test_a_job_that_somebody_else_paid_for_is_not_paid_again(world: ChainJobs) -> None:
    job_id = await world.completed()
    submitter = await world.submitter()
    await submitter.round()
    world.chain.advance(40)
    await submitter.round()
    paid = world.tokens(world.treasury)
    await sql(world.db, "DELETE FROM chain_outgoing")
    await submitter.round()
    assert await rows(world.db) == [("settle_job", "done")]
    assert world.tokens(world.treasury) == paid > 0 and len(world.landed(job_id)) == 1


async def test_a_job_that_lost_its_node_or_account_waits_and_one_that_ended_is_given_up(world: ChainJobs) -> None:
    job_id = await world.job()
    world.served.faults.add(FaultKind.RPC_ERROR, methods=["sendTransaction"], value={"code": -32000})
    submitter = await world.submitter()
    async with world.db.unit() as uow:
        await outgoing.plan(uow, settle=True)
    await sql(world.db, "UPDATE jobs SET state = 'pending', offer_id = NULL, node_id = NULL")
    await submitter.round()
    assert await rows(world.db, "state, error") == [("ready", "not called for at present")]
    await sql(world.db, "UPDATE jobs SET chain_job = NULL")
    await submitter.round()
    assert await rows(world.db, "state, error") == [("ready", "the job has no account on chain at present")]
    await sql(world.db, "UPDATE jobs SET state = 'cancelled', finished_at = now()")
    await submitter.round()
    assert await rows(world.db, "state, error") == [("failed", "the job is cancelled")]
    assert world.landed(job_id) == []


@pytest.mark.parametrize("when", ["tried", "standing"])
async def test_who_lost_the_lead_writes_and_sends_nothing(
    world: ChainJobs, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    job_id = await world.job()
    submitter = await world.submitter()
    if when == "standing":
        world.served.faults.add(FaultKind.LOSE_TRANSACTION, count=1)
        await submitter.round()
        world.chain.advance(100)
    columns = "state, signature, wire, last_valid_block_height, builds, error"
    before = await rows(world.db, columns) or [("ready", None, None, None, 0, None)]
    asked = getattr(sending, when)

    async def overtaken(*given: Any) -> Any:
        async with world.db.unit() as uow:
            await cursors.take_over(uow, "another")
        return await asked(*given)

    monkeypatch.setattr(sending, when, overtaken)
    with pytest.raises(LeadershipLost):
        await submitter.round()
    with pytest.raises(LeadershipLost):
        await submitter.round()
    assert await rows(world.db, columns) == before
    assert world.landed(job_id) == []


async def test_a_move_decided_on_what_is_no_longer_so_does_nothing(world: ChainJobs) -> None:
    await world.job()
    world.served.faults.add(FaultKind.LOSE_TRANSACTION)
    submitter = await world.submitter()
    async with world.db.unit() as uow:
        await outgoing.plan(uow, settle=True)
        (ready,) = await outgoing.due(uow, 10)
    await submitter.round()
    async with world.db.unit() as uow:
        (sent,) = await outgoing.due(uow, 10)
    before = await rows(world.db, "state, signature, wire, builds, due_at, error")
    stale = [replace(sent, signature="another"), replace(sent, state=OutgoingState.DONE), ready]
    async with world.db.unit() as uow:
        await outgoing.move(uow, [outgoing.Move(row, OutgoingState.FAILED, error="stale") for row in stale])
        built = outgoing.Built(ready, "address", "another", b"wire", 1)
        assert await outgoing.keep_built(uow, [built], 0.0) == []
    assert await rows(world.db, "state, signature, wire, builds, due_at, error") == before


async def test_rounds_side_by_side_send_one_transaction(world: ChainJobs) -> None:
    first, second = [await world.job() for _ in range(2)]
    submitter = await world.submitter()
    await asyncio.gather(*(submitter.round() for _ in range(4)))
    world.chain.advance(40)
    await submitter.round()
    assert await rows(world.db, "state, builds") == [("done", 1), ("done", 1)]
    assert [len(world.landed(job_id)) for job_id in (first, second)] == [1, 1]


async def planned(db: Database, statement: str) -> int:
    """How many transactions would be called for after ``statement``, which is undone."""
    async with db.unit() as uow:
        trial = uow.sql.transaction()
        await trial.start()
        await uow.sql.execute(statement)
        count = await outgoing.plan(uow, settle=True)
        await trial.rollback()
    return count


async def test_nothing_is_assigned_that_should_not_be(world: ChainJobs) -> None:
    await world.job()
    assert await planned(world.db, "SELECT") == 1
    for unsuited in (
        "UPDATE jobs SET state = 'pending', offer_id = NULL, node_id = NULL",
        "UPDATE jobs SET state = 'offered'",
        "UPDATE jobs SET chain_job = NULL",
        "UPDATE chain_jobs SET status = 'orphaned'",
        "UPDATE chain_jobs SET status = 'assigned'",
        "UPDATE nodes SET wallet = 'no key'",
    ):
        assert await planned(world.db, unsuited) == 0, unsuited


async def test_nothing_is_settled_that_should_not_be(world: ChainJobs) -> None:
    await world.completed()
    assert await planned(world.db, "SELECT") == 1
    for unsuited in (
        "UPDATE jobs SET state = 'failed', cost = NULL",
        "UPDATE jobs SET chain_job = NULL",
        "UPDATE chain_jobs SET finalized = false",
        "UPDATE chain_jobs SET payment = 'observed'",
        "UPDATE chain_jobs SET mismatch = 'completed_operator'",
        "UPDATE chain_jobs SET completed_operator = NULL",
        "UPDATE chain_jobs SET completed_operator = 'them'",
        "UPDATE chain_jobs SET assigned_operator = 'them'",
        "UPDATE nodes SET wallet = 'them'",
    ):
        assert await planned(world.db, unsuited) == 0, unsuited


async def test_nothing_is_settled_without_knowing_where_the_tokens_go(world: ChainJobs) -> None:
    await world.completed()
    assert await (await world.submitter(treasury="")).round() == 0


async def test_a_node_of_the_registry_is_named_as_there(world: ChainJobs) -> None:
    await world.job()
    owner = Pubkey.new_unique()
    await sql(
        world.db,
        "INSERT INTO chain_nodes (address, owner, chain_node_id, node_id) SELECT 'pda', $1, 'gpu-7', id FROM nodes",
        str(owner),
    )
    submitter = await world.submitter()
    await submitter.round()
    ((wire,),) = await rows(world.db, "wire")
    message = world.chain.parse(wire).message
    step = message.instructions[0]
    assert message.account_keys[step.accounts[2]] == owner
    assert step.data[8:] == b"\5\0\0\0gpu-7"


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_each_lands_once(world: ChainJobs, seed: int) -> None:
    chance = random.Random(seed)
    to_assign, to_settle = await world.job(), await world.completed()
    submitter = await world.submitter()
    for _ in range(40):
        match chance.choice(["lose", "delay", "clear", "fork", "wait", "succeed", "round", "round", "round"]):
            case "lose":
                world.served.faults.add(FaultKind.LOSE_TRANSACTION, count=chance.randint(1, 5))
            case "delay":
                world.served.faults.add(FaultKind.DELAY_TRANSACTION, count=1, value=chance.randint(1, 160))
            case "clear":
                world.served.faults.clear()
            case "fork":
                ours = [*world.landed(to_assign), *world.landed(to_settle)]
                dropped = [Signature.from_string(one) for one in ours if chance.random() < 0.7]
                world.chain.fork(chance.randint(0, 20), drop=dropped)
                world.chain.advance(20)
            case "wait":
                world.chain.advance(chance.choice([1, 10, 60, 150, 250]))
            case "succeed":
                submitter = await world.submitter()
            case _:
                await submitter.round()
    world.served.faults.clear()
    world.chain.advance(200)
    for _ in range(4):
        await submitter.round()
        world.chain.advance(60)
    assert await rows(world.db, "state") == [("done",), ("done",)]
    assert [len(world.landed(job_id)) for job_id in (to_assign, to_settle)] == [1, 1]
    assert world.tokens(world.operator.pubkey()) == PRICE * 80 // 100


@asynccontextmanager
async def listening(world: ChainJobs, **env: str) -> AsyncIterator[None]:
    """A listener of the chain, with what sends transactions if ``env`` asks for it."""
    settings = load(
        env={
            "DATABASE_URL": world.db.url,
            "SOLANA_RPC_URL": world.served.url,
            "NODE_REGISTRY_PROGRAM_ID": NODE_REGISTRY,
            "JOB_RECEIPT_PROGRAM_ID": JOB_RECEIPT,
            "HAE_CHAIN_HYPER_MINT": str(world.mint),
            "HAE_CHAIN_TREASURY": str(world.treasury),
            "HAE_CHAIN_INCENTIVE_POOL": str(world.incentive_pool),
            **env,
        }
    )
    setup = chain_from(settings)
    listens = Listener(
        db=world.db,
        leadership=Leadership(world.db.url, "test"),
        rpc=world.rpc,
        programs=setup.programs,
        index=index_from(settings, setup),
        options=ListenerOptions("", scan_s=0.05, submitter=submitter_from(setup, world.rpc, world.db)),
    )
    stop = asyncio.Event()
    task = asyncio.create_task(listens.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def until(world: ChainJobs, statement: str, *expected: tuple[Any, ...]) -> None:
    """Let slots pass, and the pauses between looks, until ``statement`` gives what is expected."""
    async with asyncio.timeout(20):
        while (found := await sql(world.db, statement)) != list(expected):
            world.chain.advance()
            await sql(world.db, "UPDATE chain_outgoing SET due_at = now()")
            await asyncio.sleep(0.02)
    assert found == list(expected)


async def test_a_listener_sends_and_finds_what_it_sent_on_chain(
    world: ChainJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "SUBMIT_S", 0.05)
    job_id = await world.unknown()
    key = str(list(bytes(world.keypair)))
    async with listening(world, HAE_CHAIN_SUBMIT="true", HAE_CHAIN_KEYPAIR=key):
        await until(world, "SELECT status FROM chain_jobs", ("assigned",))
        await world.report(job_id)
        await until(world, "SELECT state FROM chain_outgoing ORDER BY kind", ("done",), ("done",))
        await until(world, "SELECT payment, payment_reason, mismatch FROM chain_jobs", ("valid", None, None))
    assert len(world.landed(job_id)) == 2


async def test_a_listener_sends_nothing_unless_asked_to(world: ChainJobs) -> None:
    job_id = await world.unknown()
    async with listening(world):
        await until(world, "SELECT status, job_id FROM chain_jobs", ("pending", job_id))
        world.chain.advance(40)
        await until(world, "SELECT commitment FROM chain_events", ("finalized",))
    assert await rows(world.db) == [] and world.landed(job_id) == []
