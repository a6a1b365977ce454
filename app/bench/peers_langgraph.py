"""The peer in plain LangGraph: a thread a job, checkpointed by AsyncPostgresSaver, ``durability="sync"``.

One node a step; the two waits are ``interrupt()``, answered by ``Command(resume=…)``. A saver lets only one statement
run at a time, whatever pool it has, so several savers, each with a compiled graph, are tried as well.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, TypedDict

import uvloop
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from psycopg_pool import AsyncConnectionPool

from app.bench.peers import COUNT, STEPS, TABLES, WAITS, Size, Tuning, best, check, statement

TUNINGS = (Tuning(16, "1 saver"), Tuning(16, "4 savers"), Tuning(64, "8 savers"))


class JobState(TypedDict):
    job_id: str


class Peer:
    """Runs lives on compiled graphs, in turns."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    def graph(self, saver: AsyncPostgresSaver) -> Any:
        builder = StateGraph(JobState)
        for step in STEPS:
            builder.add_node(step, self._node(step))
        for source, target in zip((START, *STEPS), (*STEPS, END), strict=True):
            builder.add_edge(source, target)
        return builder.compile(checkpointer=saver)

    def _node(self, step: str) -> Any:
        async def node(state: JobState) -> dict[str, str]:
            if step in WAITS:
                interrupt(WAITS[step])
            async with self._pool.connection() as connection:
                await connection.execute(*statement(step, state["job_id"]), prepare=True)
            return {}

        return node

    @staticmethod
    async def live(graph: Any, job_id: str) -> None:
        config = {"configurable": {"thread_id": job_id}}
        given: Any = {"job_id": job_id}
        for answer in (*WAITS.values(), None):
            await graph.ainvoke(given, config, durability="sync")
            given = Command(resume=answer)


async def play(url: str, size: Size, tunings: Sequence[Tuning] = TUNINGS) -> dict[str, Any]:
    """``jobs_per_s`` of the best tuning on the empty database ``url``."""
    async with AsyncExitStack() as stack:
        pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            url, min_size=8, max_size=8, open=False, kwargs={"autocommit": True}
        )
        await stack.enter_async_context(pool)
        async with pool.connection() as connection:
            for table in TABLES:
                await connection.execute(table)
        savers = [await stack.enter_async_context(AsyncPostgresSaver.from_conn_string(url)) for _ in range(8)]
        await savers[0].setup()
        peer = Peer(pool)
        graphs = [peer.graph(saver) for saver in savers]

        async def drive(tuning: Tuning, ids: Sequence[str]) -> None:
            used = graphs[: int(tuning.variant.split()[0])]
            room = asyncio.Semaphore(tuning.concurrency)

            async def one(number: int, job_id: str) -> None:
                async with room:
                    await peer.live(used[number % len(used)], job_id)

            await asyncio.gather(*(one(number, job_id) for number, job_id in enumerate(ids)))

        found = await best(tunings, size, drive)
        async with pool.connection() as connection:
            row = await (await connection.execute(COUNT)).fetchone()
    check(row, size, len(tunings))
    return found


def main() -> None:
    size = Size(**json.load(sys.stdin))
    # Tracing would more than halve it.
    os.environ["LANGSMITH_TRACING"] = "false"
    print(json.dumps(uvloop.run(play(os.environ["DATABASE_URL"], size))), flush=True)


if __name__ == "__main__":
    main()
