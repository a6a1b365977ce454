"""Many processes of each kind on one PostgreSQL, their ends by SIGTERM, and a PostgreSQL that comes late or dies."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import asyncpg
import httpx
import psutil
import pytest

from app.core.access import Scope
from app.services import keys
from app.store import migrate
from app.store.db import Database
from tests.support.live_engine import Node, problem_of, until_state
from tests.support.own_postgres import OwnPostgres, own_postgres
from tests.support.processes import NO_CHAIN, Hae, hae, until_ready
from tests.support.receiver import Answer, Receiver

pytestmark = pytest.mark.e2e
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LEADERS = """SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND application_name = 'hae leader' AND datname = current_database()"""
"""The server processes that hold the listeners' lock."""


async def key_for_all(database_url: str) -> str:
    db = Database(database_url)
    try:
        return (await keys.create(db, "acme", [scope.value for scope in Scope]))[1]
    finally:
        await db.close()


@asynccontextmanager
async def asking(url: str, key: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


async def submit(client: httpx.AsyncClient, **wanted: Any) -> str:
    answer = await client.post("/v1/jobs", json={"type": "llm_inference", "prompt": "hi", **wanted})
    assert answer.is_success, answer.text
    job_id: str = answer.json()["job_id"]
    return job_id


async def complete(agent: httpx.AsyncClient, node: Node) -> str:
    """A job, submitted here and run by the node there."""
    job_id = await submit(agent)
    await node.run_next()
    await until_state(agent, job_id, ["completed"])
    return job_id


async def test_several_of_each_work_side_by_side_and_die_without_harm(database_url: str, redis_url: str) -> None:
    key = await key_for_all(database_url)
    env = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, **NO_CHAIN}
    arguments = ("up", "--port", "0", "--serves", "2", "--workers", "2", "--listeners", "2")
    async with AsyncExitStack() as stack:
        sql = await asyncpg.connect(database_url)
        stack.push_async_callback(sql.close)
        engine = await stack.enter_async_context(hae(*arguments, env=env))
        urls = {await engine.url(), await engine.url()}
        assert len(urls) == 2
        first, second = [await stack.enter_async_context(asking(url, key)) for url in sorted(urls)]
        for client in (first, second):
            await until_ready(client)
        node = await Node.register(first, "wallet", capabilities=["inference"])
        done = [await complete(agent, node) for agent in (first, second, first)]

        leader = await until_leader(sql)
        victims = [children(engine, "worker")[0], children(engine, "serve")[0], psutil.Process(leader)]
        for victim in victims:
            victim.kill()
        # The one that is left serves on, and what was killed comes back.
        agent = first if await answers(first) else second
        node = Node(agent, node.id)
        done.append(await complete(agent, node))
        again = await stack.enter_async_context(asking(await engine.url(), key))
        await until_ready(again)
        done.append(await complete(again, node))
        assert await until_leader(sql, other_than=leader) in {child.pid for child in children(engine, "listener")}

        told = await sql.fetch(
            "SELECT job_id, count(*) FROM job_history WHERE to_state = 'completed' GROUP BY job_id ORDER BY job_id"
        )
        assert [tuple(row) for row in told] == [(job_id, 1) for job_id in sorted(done)]
        parts = psutil.Process(engine.child.pid).children(recursive=True)
        assert await engine.end() == 0
        assert [part for part in parts if part.is_running()] == []


def children(engine: Hae, command: str) -> list[psutil.Process]:
    found = psutil.Process(engine.child.pid).children()
    return [child for child in found if command in child.cmdline()]


async def answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/livez")).is_success
    except httpx.TransportError:
        return False


async def until_leader(sql: asyncpg.Connection[Any], *, other_than: int = 0) -> int:
    """The process that leads, once it is another than this. Never do two hold the lock."""
    async with asyncio.timeout(30):
        while True:
            held = await sql.fetch(LEADERS)
            assert len(held) <= 1
            holder = await sql.fetchval("SELECT holder FROM chain_leader")
            if held and holder and int(holder.rsplit(":", 1)[1]) != other_than:
                return int(holder.rsplit(":", 1)[1])
            await asyncio.sleep(0.05)


def settings_of(database_url: str, redis_url: str, receiver: Receiver) -> dict[str, str]:
    """The environment of processes that tell the receiver of everything."""
    endpoint = {
        "name": "here",
        "kind": "custom",
        "url": receiver.url(),
        "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "HAE_WEBHOOKS_ENDPOINTS": json.dumps([endpoint]),
        "HAE_WEBHOOKS_ALLOW_NETWORKS": '["127.0.0.0/8"]',
        **NO_CHAIN,
    }


async def test_sigterm_ends_every_process_in_order_with_clients_and_deliveries_open(
    database_url: str, redis_url: str
) -> None:
    key = await key_for_all(database_url)
    answering = asyncio.Event()
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(Receiver(Answer(wait_for=answering)))
        sql = await asyncpg.connect(database_url)
        stack.push_async_callback(sql.close)
        env = settings_of(database_url, redis_url, receiver)
        server, worker, listener = [
            await stack.enter_async_context(hae(*arguments, env=env))
            for arguments in (("serve", "--port", "0"), ("worker",), ("listener",))
        ]
        client = await stack.enter_async_context(asking(await server.url(), key))
        await until_ready(client)
        job_id = await submit(client, gpu_models=["h100"])
        node = await Node.register(client, "wallet", capabilities=["inference"])
        stream = await stack.enter_async_context(client.stream("GET", f"/v1/jobs/{job_id}/events"))
        lines = stream.aiter_lines()
        assert await anext(lines)
        polls = [
            asyncio.create_task(client.get(f"/v1/jobs/{job_id}/wait", params={"wait_s": 45})),
            asyncio.create_task(client.get(f"/v1/node/{node.id}/offers", params={"wait": 45})),
        ]
        await receiver.until(1)
        await listener.until_said("leading")
        for process in (server, worker, listener):
            process.child.send_signal(signal.SIGTERM)
        async for _ in lines:
            pass
        assert [(await poll).status_code for poll in polls] == [200, 200]
        answering.set()
        for process in (server, worker, listener):
            async with asyncio.timeout(30):
                assert await process.child.wait() == 0, process.said()
        assert await sql.fetchval("SELECT count(*) FROM deliveries WHERE state <> 'delivered' AND tries > 0") == 0
        assert await sql.fetch(LEADERS) == []


@pytest.fixture
async def postgres() -> AsyncIterator[OwnPostgres]:
    """A migrated one of the test's own."""
    with own_postgres() as server:
        await asyncio.to_thread(migrate.upgrade, server.url)
        yield server


async def test_postgres_may_come_late_and_die_and_everything_goes_on_by_itself(
    postgres: OwnPostgres, redis_url: str
) -> None:
    key = await key_for_all(postgres.url)
    postgres.stop()
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(Receiver())
        env = settings_of(postgres.url, redis_url, receiver)
        server, worker, listener = [
            await stack.enter_async_context(hae(*arguments, env=env))
            for arguments in (("serve", "--port", "0"), ("worker",), ("listener",))
        ]
        client = await stack.enter_async_context(asking(await server.url(), key))
        assert (await client.get("/livez")).status_code == 200
        await is_away(client)
        for process in (worker, listener):
            await process.until_said("waiting for the database")

        postgres.start()
        await until_ready(client)
        node = await Node.register(client, "wallet", capabilities=["inference"])
        done = [await complete(client, node)]
        await listener.until_said("leading, epoch 1")

        postgres.kill()
        await is_away(client)
        for process in (server, worker, listener):
            process.child.send_signal(signal.SIGSTOP)
        postgres.start(max_connections=30, superuser_reserved_connections=0)
        crowd = await every_connection(postgres.url)
        for process in (server, worker, listener):
            process.child.send_signal(signal.SIGCONT)
        await is_away(client)
        for connection in crowd:
            await connection.close()
        await until_ready(client)
        done.append(await complete(client, node))
        await listener.until_said("leading, epoch 2")

        # Connections that stay open while nothing answers: no request may wait for ever, least of all this one.
        postgres.hang()
        assert (await until_ready(client, False)).json()["database"] == "away"
        postgres.go_on()
        await until_ready(client)
        async with asyncio.timeout(30):
            while not set(done) <= completed(receiver):
                receiver.arrived.clear()
                await receiver.arrived.wait()
        for process in (server, worker, listener):
            assert await process.end() == 0, process.said()
            assert "Traceback" not in process.said()


async def every_connection(database_url: str) -> list[asyncpg.Connection[Any]]:
    """All connections that the server allows."""
    taken: list[asyncpg.Connection[Any]] = []
    with suppress(asyncpg.TooManyConnectionsError):
        while True:
            taken.append(await asyncpg.connect(database_url))
    return taken


def completed(receiver: Receiver) -> set[str]:
    """The jobs of whose completion the receiver was told."""
    told = [one.json for one in list(receiver.received)]
    return {one["job_id"] for one in told if one["event"] == "job_completed"}


async def is_away(client: httpx.AsyncClient) -> None:
    unready = await until_ready(client, False)
    assert (unready.status_code, unready.headers["retry-after"]) == (503, "1")
    assert unready.json() == {"ready": False, "database": "away", "valkey": "ok"}
    refused = await client.post("/v1/jobs", json={"type": "render"})
    problem_of(refused, 503, code="database_unavailable")
    assert int(refused.headers["retry-after"]) >= 1
