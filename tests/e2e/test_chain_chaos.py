"""Thousands of events on a chain, read through trouble of every kind by processes that are killed: in the end the
database says what the chain's final blocks say, no more and no less.

What the chain says is found out by the chain's own process (chain_world), by other means than the engine's.
HAE_CHAOS_SEED and HAE_CHAOS_JOBS play other, or longer, networks.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app.chain.devchain.config import JOB_RECEIPT, NODE_REGISTRY, PAYMENT_SPLITTER
from app.core.access import Principal
from app.services import offers, specs
from app.store.db import Database
from tests import factories
from tests.support.chain_traffic import WRONG, End
from tests.support.chaos_proxy import REQUESTS, SOCKETS, ChaosProxy

pytestmark = [pytest.mark.e2e, pytest.mark.chaos, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("HAE_CHAOS_SEED", "20"))
JOBS = int(os.environ.get("HAE_CHAOS_JOBS", "1300"))
SLOT_MS = 60
EVENTS = 5000
START_S, PLAY_S, CONVERGE_S = 30.0, 120.0, 60.0
LINE_BYTES = 2**26

GIVEN = (*(End.PAID, End.SPLIT_TOLD, End.SNATCHED, End.UNPAID) * 3, *WRONG)
"""How jobs that the engine has done end on chain."""
SETTLEMENTS = {"valid": "settled", "invalid": "disputed", "none": "awaiting"}
WHILE_PLAYING = ["leader", "leader", "pool", "lock", "sockets", "sockets"]
WHILE_READING = ["leader", "leader", "leader", "everyone", "pool"]
"""What is done to the listeners, in an order of the seed's."""
NODE_FAULTS = [
    {"kind": "empty_page", "probability": 0.04},
    {"kind": "null_transaction", "probability": 0.004},
    {"kind": "shuffle", "value": "each"},
    {"kind": "suppress", "probability": 0.3, "methods": ["logsSubscribe"]},
]
"""What the node itself does wrong, besides what happens on the way."""


class Chain:
    """The chain's process: an order a line, an answer a line."""

    def __init__(self, process: Process, hello: dict[str, Any]) -> None:
        self.hello = hello
        self._process = process

    async def order(self, order: str, what: Any = None, timeout_s: float = START_S) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({order: {} if what is None else what}).encode() + b"\n")
        return await _line(self._process, timeout_s)


async def _line(process: Process, timeout_s: float) -> Any:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), timeout_s)
    assert line, "the chain's process has ended"
    return json.loads(line)


@asynccontextmanager
async def a_chain() -> AsyncIterator[Chain]:
    arguments = ("-m", "tests.e2e.chain_world", str(SEED), str(JOBS), str(SLOT_MS))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=PIPE, stdout=PIPE, limit=LINE_BYTES, cwd=ROOT
    )
    try:
        yield Chain(process, await _line(process, START_S))
    finally:
        await _end(process)


async def _end(process: Process) -> int:
    if process.returncode is None:
        process.terminate()
    try:
        return await asyncio.wait_for(process.wait(), 15.0)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise


@dataclass
class Listeners:
    """Processes of `hae listener`, and what is done to them."""

    env: dict[str, str]
    logs: Path
    sql: asyncpg.Connection[Any]
    running: list[Process] = field(default_factory=list)
    killed: int = 0
    _started: int = 0

    async def start(self) -> None:
        self._started += 1
        with (self.logs / f"listener-{self._started}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "app", "listener", env=self.env, stdout=log, stderr=log
            )
        self.running.append(process)

    async def leader(self) -> Process:
        """The one that leads, once one does."""

        async def leading() -> Process | None:
            holder = await self.sql.fetchval("SELECT holder FROM chain_leader")
            return next((one for one in self.running if (holder or "").endswith(f":{one.pid}")), None)

        leader: Process = await until(leading, START_S, "one leads")
        return leader

    async def kill(self, *victims: Process) -> None:
        for victim in victims:
            assert victim.returncode is None, f"a listener ended by itself, with {victim.returncode}"
            victim.kill()
        for victim in victims:
            await victim.wait()
            self.running.remove(victim)
            self.killed += 1
            await self.start()

    async def cut_off(self, application: str) -> None:
        """End the connections to the database that go by this name."""
        await self.sql.fetch(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = $1""",
            application,
        )

    async def end(self) -> None:
        """As a supervisor does: politely, and they obey."""
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        codes = [await asyncio.wait_for(process.wait(), 15.0) for process in self.running]
        assert codes == [0] * len(codes)

    def said(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.logs.glob("listener-*.log")))


async def until(what: Callable[[], Any], seconds: float, why: str) -> Any:
    """What ``await what()`` answers, once that is true."""
    end = time.monotonic() + seconds
    while not (found := await what()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {why}"
        await asyncio.sleep(0.02)
    return found


async def test_thousands_of_events_survive_chaos(database_url: str, redis_url: str, tmp_path: Path) -> None:
    print(f"HAE_CHAOS_SEED={SEED} HAE_CHAOS_JOBS={JOBS}")
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        sql = await asyncpg.connect(database_url)
        stack.push_async_callback(sql.close)
        await sql.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        db = Database(database_url)
        stack.push_async_callback(db.close)
        chain = await stack.enter_async_context(a_chain())
        proxy = await stack.enter_async_context(ChaosProxy(chain.hello["url"], chain.hello["ws_url"], seed=SEED))
        listeners = Listeners(_environment(database_url, redis_url, chain, proxy), tmp_path, sql)
        stack.push_async_callback(_kill_all, listeners)
        given = await _jobs_done(db, chain.hello["operators"])
        stored = [await _spec(db, number) for number in range(6)]
        await chain.order("faults", NODE_FAULTS)
        await asyncio.gather(listeners.start(), listeners.start())
        await listeners.leader()
        await chain.order("play", {"given": given, "specs": stored * 2})

        async def played() -> float:
            look = await chain.order("look")
            return 1.0 if look["stage"] == "played" else min(look["slot"] / (JOBS / 8), 0.99)

        async def read() -> float:
            count = await sql.fetchval("SELECT count(*) FROM chain_events WHERE commitment <> 'orphaned'")
            return float(count / len(truth["events"]))

        async def over(progress: Callable[[], Awaitable[float]], share: float = 1.0) -> bool:
            return await progress() >= share

        await _wreak_havoc(WHILE_PLAYING, played, chain, listeners)
        await until(lambda: over(played), PLAY_S, "all is played")
        truth = await chain.order("end")
        await _wreak_havoc(WHILE_READING, read, chain, listeners)
        # Trouble lasts until nearly all was read through it.
        await until(lambda: over(read, 0.98), PLAY_S, "nearly all is read")
        proxy.heal()
        await chain.order("heal")
        healed = time.monotonic()
        await _converge(sql, truth, listeners)
        converged = time.monotonic()
        await listeners.end()
        print(
            truth["figures"], f"{len(proxy.struck)} kinds of trouble, {proxy.struck.total()} in {proxy.asked} requests"
        )
        print(f"{healed - began:.1f} s of trouble, {converged - healed:.1f} s to converge")
        assert truth["figures"]["events"] >= EVENTS or "HAE_CHAOS_JOBS" in os.environ
        assert listeners.killed == 7 and set(proxy.struck) >= set(REQUESTS) | set(SOCKETS)
        await check_events(sql, truth)
        await check_payments(sql, truth)
        await check_nodes(sql, truth)
        await check_jobs(sql, truth, given)
        await check_settlements(db, sql, truth, given)
        assert "Traceback" not in listeners.said(), "a listener met what it did not expect"


def _environment(database_url: str, redis_url: str, chain: Chain, proxy: ChaosProxy) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HAE_", "SOLANA_"))}
    return {
        **kept,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SOLANA_RPC_URL": proxy.urls[0],
        "HAE_CHAIN_FALLBACK_RPC_URL": proxy.urls[1],
        "SOLANA_WS_URL": proxy.ws_url,
        "NODE_REGISTRY_PROGRAM_ID": NODE_REGISTRY,
        "JOB_RECEIPT_PROGRAM_ID": JOB_RECEIPT,
        "PAYMENT_SPLITTER_PROGRAM_ID": PAYMENT_SPLITTER,
        "HAE_CHAIN_HYPER_MINT": chain.hello["mint"],
        "HAE_CHAIN_TREASURY": chain.hello["treasury"],
        "HAE_CHAIN_INCENTIVE_POOL": chain.hello["incentive"],
        "HAE_CHAIN_SPEC_GRACE_S": "2",
        "HAE_CHAIN_TIMEOUT_S": "3",
        "HAE_CHAIN_BATCH": "50",
        "HAE_LOG_LEVEL": "info",
    }


async def _kill_all(listeners: Listeners) -> None:
    for process in listeners.running:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _jobs_done(db: Database, operators: list[str]) -> list[dict[str, Any]]:
    """Jobs that nodes of these operators have done, which wait for their payment."""
    waves = factories.runner(db)
    nodes = {}
    for number, operator in enumerate(operators[: len(GIVEN)]):
        nodes[await factories.node(db, wallet=operator, capacity=1, gpus=1)] = number
    done = await factories.accepted(db, waves, len(GIVEN))
    await offers.report(db, [offers.new_report(one.id, one.node_id, ok=True) for one in done])
    await factories.run_waves(waves)
    asked = dict(await factories.sql(db, "SELECT id, requirements_hash FROM jobs"))
    # What the chain brings up meanwhile is not for them.
    await factories.sql(db, "UPDATE nodes SET state = 'offline', capacity = 1")
    return [
        {"name": one.job_id, "asked": asked[one.job_id], "operator": nodes[one.node_id], "end": end.value}
        for one, end in zip(done, GIVEN, strict=True)
    ]


async def _spec(db: Database, number: int) -> str:
    """A stored spec; its hash."""
    spec = {"type": "render", "prompt": f"scene {number}"}
    submission = factories.submission(
        type="render", payload={"prompt": spec["prompt"]}, requirements_hash=f"{number:064x}"
    )
    spec_hash, _ = await specs.put(db, Principal("key", "specs", frozenset({"agent"})), spec, submission)
    return spec_hash


async def _wreak_havoc(
    deeds: list[str], progress: Callable[[], Awaitable[float]], chain: Chain, listeners: Listeners
) -> None:
    """Kill who leads, kill everyone, cut connections, in an order and at moments between now and 90 % of ``progress``
    that only the seed knows."""
    chance = random.Random(f"{SEED} {deeds}")
    begun = await progress()
    moments = sorted(begun + (0.9 - begun) * chance.random() for _ in deeds)
    for moment, deed in zip(moments, chance.sample(deeds, len(deeds)), strict=True):

        async def due(moment: float = moment) -> bool:
            return await progress() >= moment

        await until(due, PLAY_S, "the next deed is due")
        match deed:
            case "leader":
                await listeners.kill(await listeners.leader())
            case "everyone":
                await listeners.kill(*listeners.running)
            case "pool":
                await listeners.cut_off("hae listener")
            case "lock":
                await listeners.cut_off("hae leader")
            case _:
                await chain.order("faults", [{"kind": "ws_close"}])


async def _converge(sql: asyncpg.Connection[Any], truth: dict[str, Any], listeners: Listeners) -> None:
    """Wait until every program was read to the end, and everything is final."""

    async def settled() -> bool:
        assert all(one.returncode is None for one in listeners.running)
        seen = await sql.fetchval(
            "SELECT count(*) FROM chain_cursors WHERE seen_slot >= $1 AND stalled IS NULL", truth["slot"]
        )
        return seen == 3 and not await sql.fetchval(
            """SELECT EXISTS (SELECT FROM chain_events WHERE commitment = 'confirmed')
            OR EXISTS (SELECT FROM chain_jobs WHERE spec_due_at IS NOT NULL)"""
        )

    try:
        await until(settled, CONVERGE_S, "all is read and final")
    except AssertionError as error:
        raise AssertionError(f"{error}: {await _picture(sql, truth)}") from None


async def _picture(sql: asyncpg.Connection[Any], truth: dict[str, Any]) -> str:
    """How far the database is, for whoever has to find out why."""
    cursors = await sql.fetch("SELECT program, slot, seen_slot, scan_slot, scan_listed, stalled FROM chain_cursors")
    counts = await sql.fetch("SELECT commitment, count(*), min(slot), max(slot) FROM chain_events GROUP BY commitment")
    leader = await sql.fetchrow("SELECT * FROM chain_leader")
    waiting = await sql.fetchval("SELECT count(*) FROM chain_jobs WHERE spec_due_at IS NOT NULL")
    rows = [dict(row) for row in (*cursors, *counts, *filter(None, [leader]))]
    return f"the chain: {truth['figures']}, slot {truth['slot']}; {rows}; {waiting} jobs wait"


async def check_events(sql: asyncpg.Connection[Any], truth: dict[str, Any]) -> None:
    """Every event once, as it was said and where; and in quarantine what belongs there."""
    rows = await sql.fetch(
        """SELECT signature, program, outer_ix, inner_ix, ordinal, slot, name, data, address FROM chain_events
        WHERE commitment = 'finalized'"""
    )
    expected = {tuple(one[:5]): tuple(one[5:]) for one in truth["events"]}
    assert len(expected) == len(truth["events"])
    _same({tuple(row)[:5]: tuple(row)[5:] for row in rows}, expected)
    assert await sql.fetchval("SELECT count(*) FROM chain_events WHERE commitment = 'confirmed'") == 0
    junk = await sql.fetch("SELECT signature, reason FROM chain_quarantine WHERE resolved_at IS NULL")
    lost = set(truth["lost_junk"])
    _same(Counter(tuple(row) for row in junk if row[0] not in lost), Counter(map(tuple, truth["junk"].items())))


async def check_payments(sql: asyncpg.Connection[Any], truth: dict[str, Any]) -> None:
    """Payments with their verdicts, tokens as they moved, and their sums, to the base unit."""
    rows = [dict(row) for row in await sql.fetch("SELECT * FROM chain_payments WHERE commitment = 'finalized'")]
    key = ("signature", "program", "outer_ix", "inner_ix", "ordinal")
    shares = [f"{who}_amount" for who in ("operator", "treasury", "incentive", "orchestrator")]
    kept = ("kind", "address", "verdict", "total", *shares)
    _same(
        {tuple(row[name] for name in key): tuple(row[name] for name in kept) for row in rows},
        {tuple(one["key"]): tuple(one[name] for name in kept) for one in truth["payments"]},
    )
    moved = {
        row["signature"]: {f"{account} {mint}": int(amount) for account, _, mint, amount in row["transfers"]}
        for row in rows
    }
    _same(moved, truth["moved"])
    tokens: Counter[str] = Counter()
    for changes in moved.values():
        for place, amount in changes.items():
            tokens[place] += amount
    _same({place: amount for place, amount in tokens.items() if amount}, truth["tokens"])
    sums = await sql.fetchrow(
        f"""SELECT {", ".join(f"sum({share})" for share in shares)} FROM chain_payments
        WHERE commitment = 'finalized' AND kind = 'distributed' AND verdict = 'valid'"""
    )
    good = [one for one in truth["payments"] if one["kind"] == "distributed" and one["verdict"] == "valid"]
    assert [int(amount) for amount in sums[:3]] == [sum(one[share] for one in good) for share in shares[:3]]
    assert sums[0] > 0


async def check_nodes(sql: asyncpg.Connection[Any], truth: dict[str, Any]) -> None:
    """Nodes as their accounts are, and the engine's nodes as they say."""
    rows = await sql.fetch("""SELECT c.*, n.state FROM chain_nodes c LEFT JOIN nodes n ON n.id = c.node_id""")
    found = {}
    for row in rows:
        if row["address"] not in truth["nodes"]:
            assert not row["registered"]
            continue
        found[row["address"]] = one = {name: row[name] for name in ("chain_node_id", "registered")}
        if row["registered"]:
            one |= {name: row[name] for name in ("owner", "status", "location")}
            one |= {"stake_amount": int(row["stake"]), "reputation_score": row["reputation"]}
            assert (row["state"] == "suspended") == (row["status"] == "suspended")
        assert row["state"] is None or row["registered"] == (row["state"] != "deregistered")
    expected = {
        address: node if node["registered"] else {name: node[name] for name in ("chain_node_id", "registered")}
        for address, node in truth["nodes"].items()
    }
    _same(found, expected)


async def check_jobs(sql: asyncpg.Connection[Any], truth: dict[str, Any], given: list[dict[str, Any]]) -> None:
    """Jobs as their accounts are, each with one job of the engine's at most, and with one where there is work left."""
    snatched = {one["name"] for one in given if one["end"] == End.SNATCHED}
    rows = await sql.fetch("SELECT * FROM chain_jobs")
    found = {}
    for row in rows:
        job = truth["jobs"].get(row["address"])
        if job is None:
            assert row["status"] == "orphaned", row
            continue
        found[row["address"]] = {name: row[name] for name in job}
        assert row["finalized"]
        assert row["job_id"] is not None or row["status"] not in ("pending", "assigned")
        assert row["linked_by"] == "spec" or not row["chain_job_id"].startswith("spec-")
        done, taken = row["completed_operator"], row["assigned_operator"]
        wrong = "completed_operator" if done else "assigned_operator" if taken else None
        assert row["mismatch"] == (wrong if row["chain_job_id"] in snatched else None), row
    _same(found, truth["jobs"])
    links = await sql.fetch("SELECT address, job_id FROM chain_jobs WHERE job_id IS NOT NULL")
    engine = await sql.fetch("SELECT chain_job, id FROM jobs WHERE chain_job IS NOT NULL")
    assert Counter(map(tuple, links)) == Counter(map(tuple, engine))
    assert len({row[0] for row in engine}) == len(engine)


async def check_settlements(
    db: Database, sql: asyncpg.Connection[Any], truth: dict[str, Any], given: list[dict[str, Any]]
) -> None:
    """What the engine's own jobs come to, once its graph has looked at them."""
    await factories.run_waves(factories.runner(db))
    payment = {job["chain_job_id"]: job["payment"] for job in truth["jobs"].values()}
    rows = await sql.fetch("SELECT id, settlement FROM jobs WHERE id = ANY($1)", [one["name"] for one in given])
    _same(dict(rows), {one["name"]: SETTLEMENTS[payment.get(one["name"], "none")] for one in given})
    assert {"settled", "disputed", "awaiting"} == {row[1] for row in rows}
    # A job that the chain cancelled for good is over here, too.
    left = await sql.fetchval(
        """SELECT count(*) FROM jobs j JOIN chain_jobs c ON c.job_id = j.id
        WHERE c.status = 'cancelled' AND j.state NOT IN ('cancelled', 'failed', 'expired')"""
    )
    assert left == 0


def _same(found: dict[Any, Any], expected: dict[Any, Any]) -> None:
    """Equality with a message that one can read."""
    missing = [(key, expected[key]) for key in expected.keys() - found.keys()]
    extra = [(key, found[key]) for key in found.keys() - expected.keys()]
    other = [(key, found[key], expected[key]) for key in found.keys() & expected.keys() if found[key] != expected[key]]
    counts = f"{len(missing)} missing, {len(extra)} too many, {len(other)} different of {len(expected)}"
    assert not (missing or extra or other), f"{counts}: {missing[:3]} / {extra[:3]} / {other[:3]}"
