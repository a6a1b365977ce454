"""No query of a job's life reads a whole table: each statement that really runs, explained on a database that is full.

The statements are those that an engine at work sends to the server, HTTP side and worker. Each is planned for any
parameters (a generic plan), as it is in the long run, with 100,000 rows in the tables that grow.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

import app.store.db
from app.core.access import Scope
from app.core.requirements import Requirements
from app.services import nodes, offers
from app.store.db import Database
from tests import factories
from tests.integration.services.chain_cases import ChainJobCase, World
from tests.support.live_engine import Hae, Node, running_engine, settings_for, until_state

GROWING = (
    "jobs", "offers", "results", "job_history", "events", "feed", "deliveries", "signals", "match_decisions",
    "idempotency_keys",
)  # fmt: skip
ROWS = 100_000
HASH = "a1" * 32
SMALL = 1_000
"""Rows of what may be read as a whole: partitions that are still empty, indexes of what is not over yet."""

# Most jobs are over, one in two hundred is on a node.
_FILL = f"""
    SET LOCAL synchronous_commit = off;
    CREATE TEMPORARY TABLE made ON COMMIT DROP AS SELECT n, 'job_0' || lpad(n::text, 25, '0') AS job_id,
        'offer_0' || lpad(n::text, 25, '0') AS offer_id, 'evt_0' || lpad(n::text, 25, '0') AS event_id,
        'account' || n % 50 AS account, 'key_' || n % 100 AS key_id, 'node_' || n % 1000 AS node_id,
        date_trunc('month', now()) + make_interval(secs => n) AS at, n % 200 = 0 AS live
    FROM generate_series(1, {ROWS}) AS n;
    INSERT INTO jobs (id, account, key_id, type, state, reason, policy, timeout_s, queue_ttl_s, expires_at, node_id,
        offer_id, price, cost, created_at, finished_at, requirements_hash)
    SELECT job_id, account, key_id, 'llm_inference', CASE WHEN live THEN 'running' ELSE 'completed' END, 'filled',
        'reputation_weighted', 600, 600, at, node_id, offer_id, 1000000, CASE WHEN NOT live THEN 5 END, at,
        CASE WHEN NOT live THEN at END, md5(job_id) FROM made;
    INSERT INTO offers (id, job_id, node_id, attempt, state, holds_slots, price, created_at, expires_at)
    SELECT offer_id, job_id, node_id, 1, 'accepted', live, 1000000, at, at FROM made;
    INSERT INTO results (offer_id, job_id, node_id, attempt, digest, created_at)
    SELECT offer_id, job_id, node_id, 1, md5(offer_id), at FROM made WHERE NOT live;
    INSERT INTO job_history (job_id, at, from_state, to_state, attempt, reason, actor)
    SELECT job_id, at, 'running', 'completed', 1, 'filled', 'engine' FROM made;
    INSERT INTO events (id, at, written_in, kind, account, job_id, node_id)
    SELECT event_id, at, 0, 'job.completed', account, job_id, node_id FROM made;
    INSERT INTO feed (position, at, event_id, account) SELECT 1000000 + n, at, event_id, account FROM made;
    INSERT INTO deliveries (event_id, endpoint, at, state, due_at)
    SELECT event_id, 'hook', at, CASE WHEN live THEN 'pending' ELSE 'delivered' END, at FROM made;
    INSERT INTO signals (job_id, kind, due_at) SELECT job_id, 'deadline', at + interval '1 year' FROM made;
    INSERT INTO match_decisions (job_id, attempt, node_id, at) SELECT job_id, 1, node_id, at FROM made;
    INSERT INTO idempotency_keys (account, key, digest, job_id, created_at)
    SELECT account, job_id, md5(job_id), job_id, at FROM made;
"""


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> dict[str, None]:
    """Every statement that connections of the store send to the server from here on, once."""
    sent: dict[str, None] = {}
    prepare: Callable[[Any], Any] = app.store.db._decode_json

    async def listened_to(connection: asyncpg.Connection[Any]) -> None:
        await prepare(connection)
        connection.add_query_logger(lambda query: sent.setdefault(query.query))

    monkeypatch.setattr(app.store.db, "_decode_json", listened_to)
    return sent


async def _work(hae: Hae) -> None:
    """Have an engine do what engines do all day."""
    ops = hae.client(await hae.key("ops", Scope.OPERATOR))
    agent = hae.client(await hae.key("alice", Scope.AGENT))
    miner = hae.client(await hae.key("miner", Scope.NODE))
    node = await Node.register(miner, "wallet_plans", gpu_model="A100", capacity=4)

    async def submit(**changes: Any) -> str:
        answer = await agent.post("/v1/jobs", json={"type": "llm_inference", "prompt": "why", **changes})
        assert answer.status_code in (200, 201), answer.text
        job_id: str = answer.json()["job_id"]
        return job_id

    done = await submit(idempotency_key="once")
    assert await submit(idempotency_key="once") == done
    await node.run_next()
    await until_state(agent, done, {"completed"})

    lost = await submit(max_retries=0)
    offer_id = await node.next_offer()
    await node.say(offer_id, "accept")
    await node.say(offer_id, "failure", error="no")
    await until_state(agent, lost, {"failed"})

    declined = await submit()
    await node.say(await node.next_offer(), "decline", reason="busy")
    cancelled = await submit(gpu_models=["H100"])
    for path in ("", "/match", "/history", "/events"):
        assert (await agent.get(f"/v1/jobs/{done}{path}")).status_code == 200
    for query in ("", "?state=running", "?type=llm_inference&limit=5"):
        assert (await agent.get(f"/v1/jobs{query}")).status_code == 200
        assert (await ops.get(f"/v1/jobs{query}")).status_code == 200
    # More than there are slots: one waits, and is taken along when another one is cancelled in the middle of its run.
    crowd = [await submit() for _ in range(4)]
    held: dict[str, str] = {}
    while len(held) < 4:
        for offer in await node.offers():
            held[offer["job_id"]] = offer["offer_id"]
            await node.say(offer["offer_id"], "accept")
    running = next(iter(held))
    for job_id in (running, *crowd, declined, cancelled):
        await agent.post(f"/v1/jobs/{job_id}/cancel")
        await until_state(agent, job_id, {"cancelled"})
    await miner.post(f"/v1/node/{node.id}/heartbeat", json={})
    for query in ("", "?after=1&limit=2", "?kind=job_completed"):
        for who in (agent, ops):
            assert (await who.get(f"/v1/events{query}")).status_code == 200
    assert (await ops.get("/health")).status_code == 200


async def _get_paid(db: Database) -> None:
    """Have a job run that is on chain, from its creation to its settlement, one lose its lease, and one that only the
    chain knows."""
    world, job = World(db), ChainJobCase()
    await factories.node(db, wallet="Owner", gpu_model="h200")
    waves = factories.runner(db)
    asked = Requirements(gpu_models=("h200",))
    (offer,) = await factories.accepted(db, waves, requirements=asked, requirements_hash=HASH)
    await world.record(job.created(1), job.assigned(2), accounts=job.account(HASH))
    await offers.report(db, [offers.new_report(offer.id, offer.node_id, ok=True)])
    await factories.run_waves(waves)
    events = job.completed(3), job.paid(4)
    await world.record(*events)
    await factories.run_waves(waves)
    await world.promote(*events)
    await factories.run_waves(waves)
    assert await factories.sql(db, "SELECT settlement FROM jobs WHERE id = $1", offer.job_id) == [("settled",)]
    await factories.accepted(db, waves, requirements=asked)
    assert await nodes.sweep_leases(db, 0.0) == 1
    await factories.run_waves(factories.runner(db, lease_s=0.0))
    await world.record(ChainJobCase("other", "JobAccount2").created(5))
    await world.due()
    await world.orphan(*events)


async def test_no_statement_of_a_jobs_life_reads_a_whole_table(
    database_url: str, redis_url: str, statements: dict[str, None]
) -> None:
    hook = {"name": "hook", "kind": "custom", "url": "http://127.0.0.1:1/", "secret": "whsec_" + "A" * 40}
    settings = settings_for(
        database_url,
        redis_url,
        webhooks={"endpoints": [hook], "allow_networks": ["127.0.0.0/8"]},
        jobs={"max_queued_per_key": 100, "max_active_per_key": 50, "cancel_grace_s": 0.1, "offer_ttl_s": 600.0},
        worker={"poll_s": 0.1, "sweep_s": 0.1},
    )
    async with running_engine(settings) as hae:
        await _work(hae)
    db = Database(database_url)
    try:
        await _get_paid(db)
    finally:
        await db.close()
    explained = [text for text in statements if text.split(None, 1)[0].upper() in _PLANNED]
    connection = await asyncpg.connect(database_url, statement_cache_size=0)
    try:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(_FILL)
        await connection.execute(f"ANALYZE {', '.join(GROWING)}")
        scans = [(text, scan) for text in explained for scan in await _scans(connection, text)]
        # What is looked for is found.
        assert await _scans(connection, "SELECT FROM jobs WHERE error = $1") == ["Seq Scan of jobs"]
        walked = "SELECT FROM jobs WHERE type = $1 ORDER BY id LIMIT 1"
        assert await _scans(connection, walked) == ["Index Scan of jobs_pkey"]
    finally:
        await connection.close()
    untouched = [table for table in GROWING if not any(f" {table} " in f"{text} " for text in explained)]
    assert not untouched, "the engine did nothing with these tables"
    assert not scans, "\n\n".join(f"{scan} in:\n{text}" for text, scan in scans)


_PLANNED = {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}


async def _scans(connection: asyncpg.Connection[Any], statement: str) -> list[str]:
    """The growing tables, or partitions of them that are not small, that the statement's plan reads as a whole."""
    await connection.execute(f"DEALLOCATE ALL; PREPARE explained AS {statement}")
    count = await connection.fetchval("SELECT cardinality(parameter_types) FROM pg_prepared_statements")
    given = f"({', '.join(['NULL'] * count)})" if count else ""
    plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE explained{given}")
    found = []
    steps = [json.loads(plan)[0]["Plan"]]
    while steps:
        node = steps.pop()
        steps += node.get("Plans", [])
        name = node.get("Relation Name", "")
        if not any(name == one or name.startswith(f"{one}_2") for one in GROWING):
            continue
        read = None
        if node["Node Type"] == "Seq Scan":
            read = name
        elif node["Node Type"].startswith("Index") and "Filter" in node and "Index Cond" not in node:
            # All of an index, row by row, until enough of them pass a filter.
            read = node["Index Name"]
        if read and await connection.fetchval("SELECT reltuples FROM pg_class WHERE relname = $1", read) > SMALL:
            found.append(f"{node['Node Type']} of {read}")
    return found
