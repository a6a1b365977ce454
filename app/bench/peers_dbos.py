"""The peer in DBOS: a durable workflow a job, a step a transition, ``DBOS.recv`` for the two waits.

Tried are asynchronous workflows and workflows in threads, with plain steps and with transactions of a DBOS datasource,
which commit the step's record together with what it writes. Messages to workflows that wait are sent in bulk.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any

import psycopg
from dbos import DBOS, AsyncSQLAlchemyDatasource, DBOSConfig, SendMessage, SetWorkflowID, SQLAlchemyDatasource
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from app.bench.peers import COUNT, STEPS, TABLES, WAITS, Size, Tuning, best, check, statement

POOL = 16
PATIENCE_S = 60.0
TUNINGS = (
    Tuning(16, "async, steps"),
    Tuning(16, "threads, steps"),
    Tuning(16, "async, transactions"),
    Tuning(16, "threads, transactions"),
    Tuning(64, "async, steps"),
    Tuning(64, "threads, steps"),
)


class Answers:
    """Sends what workflows wait for, as soon as they say that they do: all that do at the moment in one go."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[str, str] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> Answers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._asked.put(None)
        self._thread.join()

    def ask(self, job_id: str, topic: str) -> None:
        self._asked.put((job_id, topic))

    def _send(self) -> None:
        over = False
        while not over:
            found = [self._asked.get()]
            while not self._asked.empty():
                found.append(self._asked.get())
            over = None in found
            messages = [SendMessage(one[0], "yes", one[1]) for one in found if one is not None]
            if messages:
                DBOS.send_bulk(messages)


async def play(url: str, size: Size, tunings: Sequence[Tuning] = TUNINGS) -> dict[str, Any]:
    """``jobs_per_s`` of the best tuning on the empty database ``url``. DBOS is one a process: once only in each."""
    _make_tables(url)
    config: DBOSConfig = {
        "name": "peer",
        "system_database_url": url,
        "sys_db_pool_size": 2 * POOL,
        "max_executor_threads": 4 * POOL,
        "log_level": "ERROR",
    }
    DBOS(config=config)
    datasource = SQLAlchemyDatasource.create(url, {"pool_size": POOL})
    async_datasource = await AsyncSQLAlchemyDatasource.create(url, {"pool_size": POOL})
    kwargs = {"autocommit": True}
    pool: ConnectionPool[Any] = ConnectionPool(url, min_size=POOL, max_size=POOL, open=False, kwargs=kwargs)
    async_pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        url, min_size=POOL, max_size=POOL, open=False, kwargs=kwargs
    )
    answers = Answers()

    @DBOS.step()
    def step(name: str, job_id: str) -> None:
        with pool.connection() as connection:
            connection.execute(*statement(name, job_id), prepare=True)

    @DBOS.step()
    async def async_step(name: str, job_id: str) -> None:
        async with async_pool.connection() as connection:
            await connection.execute(*statement(name, job_id), prepare=True)

    @datasource.transaction(isolation_level="READ COMMITTED")
    def transaction(name: str, job_id: str) -> None:
        datasource.sql_session().connection().exec_driver_sql(*statement(name, job_id))

    @async_datasource.transaction(isolation_level="READ COMMITTED")
    async def async_transaction(name: str, job_id: str) -> None:
        connection = await async_datasource.sql_session().connection()
        await connection.exec_driver_sql(*statement(name, job_id))

    def through(move: Callable[[str, str], Any], job_id: str) -> None:
        for name in STEPS:
            if name in WAITS:
                answers.ask(job_id, WAITS[name])
                DBOS.recv(WAITS[name], PATIENCE_S)
            move(name, job_id)

    async def async_through(move: Callable[[str, str], Any], job_id: str) -> None:
        for name in STEPS:
            if name in WAITS:
                answers.ask(job_id, WAITS[name])
                await DBOS.recv_async(WAITS[name], PATIENCE_S)
            await move(name, job_id)

    @DBOS.workflow()
    def in_steps(job_id: str) -> None:
        through(step, job_id)

    @DBOS.workflow()
    def in_transactions(job_id: str) -> None:
        through(transaction, job_id)

    @DBOS.workflow()
    async def async_in_steps(job_id: str) -> None:
        await async_through(async_step, job_id)

    @DBOS.workflow()
    async def async_in_transactions(job_id: str) -> None:
        await async_through(async_transaction, job_id)

    in_threads = {"threads, steps": in_steps, "threads, transactions": in_transactions}
    in_loop = {"async, steps": async_in_steps, "async, transactions": async_in_transactions}

    async def drive(tuning: Tuning, ids: Sequence[str]) -> None:
        if tuning.variant in in_threads:
            await _in_threads(in_threads[tuning.variant], ids, tuning.concurrency)
        else:
            await _in_loop(in_loop[tuning.variant], ids, tuning.concurrency)

    DBOS.launch()
    pool.open()
    await async_pool.open()
    try:
        with answers:
            found = await best(tunings, size, drive)
    finally:
        await async_pool.close()
        pool.close()
        await asyncio.to_thread(DBOS.destroy)
    with psycopg.connect(url) as connection:
        row = connection.execute(COUNT).fetchone()
    check(row, size, len(tunings))
    return found


def _make_tables(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for table in TABLES:
            connection.execute(table)


async def _in_loop(life: Any, ids: Sequence[str], concurrency: int) -> None:
    room = asyncio.Semaphore(concurrency)

    async def one(job_id: str) -> None:
        async with room:
            with SetWorkflowID(job_id):
                handle = await DBOS.start_workflow_async(life, job_id)
            await handle.get_result()

    await asyncio.gather(*(one(job_id) for job_id in ids))


async def _in_threads(life: Any, ids: Sequence[str], concurrency: int) -> None:
    def one(job_id: str) -> None:
        with SetWorkflowID(job_id):
            life(job_id)

    with ThreadPoolExecutor(concurrency) as executor:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(executor, partial(one, job_id)) for job_id in ids))


def main() -> None:
    size = Size(**json.load(sys.stdin))
    print(json.dumps(asyncio.run(play(os.environ["DATABASE_URL"], size))), flush=True)


if __name__ == "__main__":
    main()
