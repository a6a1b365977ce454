"""Carries out the runs that this process has, and tells those who follow any run of its changes.

All that a reader learns comes from the run's row, so that it makes no difference which process has the run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from itertools import groupby
from operator import ne
from typing import TypeVar

from app.core.access import Principal
from app.core.errors import Conflict, HaeError, Unavailable
from app.http.langgraph_api.inputs import Asked
from app.http.langgraph_api.progress import Progress
from app.http.problems import Problem, problem_from
from app.services import agent_runs, threads
from app.services.agent_runs import LEASE_S, NewRun
from app.services.desk import Desk
from app.store.agent_runs import RunMark, RunRow
from app.store.db import Database
from graphs.agent import AgentRunner
from tools.registry import TOOLS

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
HEARTBEAT_S = 15.0
"""Followers hear something after that much silence."""
MOST = 2_000
"""Runs that one process has at once."""
_RETRY_S = 0.5
_STOPPED_WITHIN_S = 3.0


class _Lost(Exception):
    """The run is over, or to be ended, by somebody else's word."""


class _Run:
    """A run under way in this process. ``progress``: None until it starts. ``failed``: what of ours went wrong."""

    def __init__(self, principal: Principal, row: RunRow, asked: Asked) -> None:
        self.principal = principal
        self.row = row
        self.asked = asked
        self.progress: Progress | None = None
        self.failed: Problem | None = None
        self.lost = False
        self.saving = asyncio.Lock()


class RunKeeper:
    """The runs of one server process. ``run`` and ``desk.run`` are to be kept running."""

    def __init__(self, db: Database, agents: AgentRunner, poll_s: float) -> None:
        self._db = db
        self._agents = agents
        self._stop = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._asides: set[asyncio.Task[None]] = set()
        self.desk: Desk[RunMark] = Desk(self._marks, poll_s)

    async def add(self, principal: Principal, new: NewRun, asked: Asked, *, make_thread: bool = False) -> RunRow:
        """Record a run and begin it; with ``make_thread``, have its thread first.

        Raises NotFound without its thread, Conflict where the thread is busy, Unavailable when there are too many.
        """
        if len(self._tasks) >= MOST:
            raise Unavailable("this server has as many runs as it can take", code="too_many_runs", retry_after=1.0)
        async with self._db.unit() as uow:
            if make_thread and new.thread_id is not None:
                await threads.ensure(uow, principal, new.thread_id, {}, may_exist=True)
            row, displaced = await agent_runs.add(uow, principal, new)
        self.desk.wake(displaced)
        task = asyncio.create_task(self._live(_Run(principal, row, asked)), name=f"run-{row.id}")
        self._tasks[row.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(row.id, None))
        return row

    @property
    def under_way(self) -> set[str]:
        """Ids of the runs that this process has."""
        return set(self._tasks)

    async def follow(self, principal: Principal, run_id: str, thread_id: str | None) -> AsyncIterator[RunRow | None]:
        """The run's row now and after each change, None after a silence; ends when the run is over, is gone, or this
        server stops. Raises Unavailable when the database is away."""
        leaving = False
        while True:
            try:
                row = await agent_runs.get(self._db, principal, run_id, thread_id)
            except Unavailable:
                raise
            except HaeError:
                return
            yield row
            if row.over or leaving:
                return
            while await self.desk.wait(run_id, partial(ne, row.mark), HEARTBEAT_S) is None:
                if self._stop.is_set():
                    # The run, if it is one of this process, is ended now: one more look tells how.
                    leaving = True
                    await self._ended_here(run_id)
                    break
                yield None

    def call_off(self, principal: Principal, run_id: str, thread_id: str | None) -> None:
        """Have a run cancelled whose client has gone away."""
        task = asyncio.create_task(self._call_off(principal, run_id, thread_id), name=f"call-off-{run_id}")
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)

    async def cancel(self, principal: Principal, run_id: str, thread_id: str | None, *, rollback: bool = False) -> None:
        """See agent_runs.cancel."""
        await agent_runs.cancel(self._db, principal, run_id, thread_id, rollback=rollback)
        self.desk.wake([run_id])

    async def run(self, stop: asyncio.Event) -> None:
        """Renew the leases of this process until ``stop``, then end its runs as interrupted."""
        self._stop = stop
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), LEASE_S / 3)
            except TimeoutError:
                await self._tend()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def _tend(self) -> None:
        try:
            if self._tasks:
                await agent_runs.renew(self._db, list(self._tasks))
            await agent_runs.prune(self._db)
        except HaeError as error:
            log.warning("leases of runs are not renewed: %s", error.detail)

    async def _marks(self, run_ids: list[str]) -> dict[str, RunMark]:
        return await agent_runs.marks(self._db, run_ids)

    async def _call_off(self, principal: Principal, run_id: str, thread_id: str | None) -> None:
        try:
            await self.cancel(principal, run_id, thread_id)
        except HaeError as error:
            log.info("run %s goes on without its client: %s", run_id, error.detail)

    async def _ended_here(self, run_id: str) -> None:
        """Wait for the end of a run of this process, which stops; of others it knows nothing."""
        task = self._tasks.get(run_id)
        if task is not None:
            await asyncio.wait({task}, timeout=_STOPPED_WITHIN_S)

    async def _live(self, run: _Run) -> None:
        """A run from its record to its end."""
        work = asyncio.create_task(self._work(run))
        ending = asyncio.create_task(self._to_be_ended(run.row.id))
        try:
            await asyncio.wait({work, ending}, return_when=asyncio.FIRST_COMPLETED)
            cut = not work.done()
        finally:
            ending.cancel()
            work.cancel()
            await asyncio.wait({work, ending})
        error = None if work.cancelled() else work.exception()
        if run.lost:
            return
        if error is not None and not isinstance(error, _Lost):
            run.failed = problem_from(error)
            log.error("run %s failed, reference %s", run.row.id, run.failed.reference, exc_info=error)
        await self._finish(run, cut or isinstance(error, _Lost))

    async def _finish(self, run: _Run, cut: bool) -> None:
        status, told = "success", None
        if run.failed is not None:
            status, told = "error", run.failed
        elif cut:
            status, told = "interrupted", problem_from(self._why())
        if run.progress is not None and told is not None:
            run.progress.give_up(told)
        output, values = (None, {}) if run.progress is None else (run.progress.output, run.progress.values)
        error = None if told is None else f"{told.code}: {told.detail}"
        try:
            await self._patiently(lambda: agent_runs.finish(self._db, run.row, status, output, values, error))
        except Unavailable as away:
            log.warning("the end of run %s is not recorded: %s", run.row.id, away.detail)
        self.desk.wake([run.row.id])

    def _why(self) -> HaeError:
        if self._stop.is_set():
            return Unavailable(
                "the server stopped before this call had its answer",
                code="server_stopping",
                next_action="Make the call again; what was submitted goes on, and list_jobs tells of it.",
            )
        return Conflict(
            "the run was cancelled before this call had its answer",
            code="run_cancelled",
            next_action="Make the call again if it is still wanted.",
        )

    async def _to_be_ended(self, run_id: str) -> None:
        """Returns when the run is to be cancelled, is over by somebody else's word, or the server stops."""
        while not self._stop.is_set():
            mark = await self.desk.wait(run_id, lambda mark: mark.cancel_requested or mark.over, HEARTBEAT_S)
            if mark is not None:
                return

    async def _work(self, run: _Run) -> None:
        await self._turn(run)
        assert run.progress is not None
        calls = range(len(run.progress.calls))
        # Calls that only read are made side by side; those that change something one by one, in their order.
        for reading, group in groupby(calls, lambda index: self._reads(run, index)):
            indices = list(group)
            if reading:
                await asyncio.gather(*(self._call(run, index) for index in indices))
            else:
                for index in indices:
                    await self._write(run, index)
            if run.lost:
                return

    async def _turn(self, run: _Run) -> None:
        """Wait until no earlier run of the thread is under way, and start."""
        while True:
            earlier, values = await self._patiently(lambda: agent_runs.turn(self._db, run.row))
            if earlier:
                await self.desk.wait(earlier, lambda mark: mark.over, HEARTBEAT_S)
                continue
            progress = Progress(run.row.id, run.asked, values)
            if await self._patiently(partial(agent_runs.start, self._db, run.row.id, progress.output)):
                run.progress = progress
                self.desk.wake([run.row.id])
                return
            mark = (await self._patiently(lambda: self._marks([run.row.id])))[run.row.id]
            run.lost = mark.over
            if mark.over or mark.cancel_requested:
                raise _Lost

    @staticmethod
    def _reads(run: _Run, index: int) -> bool:
        assert run.progress is not None
        tool = TOOLS.get(run.progress.calls[index]["tool"])
        return tool is None or tool.read_only

    async def _write(self, run: _Run, index: int) -> None:
        """A call that is seen through even when the run is cancelled: its answer must not be lost."""
        call = asyncio.create_task(self._call(run, index))
        try:
            await asyncio.shield(call)
        except asyncio.CancelledError:
            await asyncio.wait({call})
            raise

    async def _call(self, run: _Run, index: int) -> None:
        """Make a call and write its answer, or its problem, into the run's row."""
        assert run.progress is not None
        call = run.progress.calls[index]
        try:
            answer = await self._agents.call(run.principal, call["tool"], call["arguments"])
        except Exception as error:
            problem = problem_from(error)
            if problem.reference:
                log.error("run %s: %s failed, reference %s", run.row.id, call["tool"], problem.reference)
                run.failed = problem
            run.progress.ended(index, problem=problem)
        else:
            run.progress.ended(index, answer)
        async with run.saving:
            if not await self._patiently(partial(agent_runs.save, self._db, run.row.id, run.progress.output)):
                run.lost = True
        self.desk.wake([run.row.id])

    async def _patiently(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Ask again while the database is away, for as long as the run's lease may last."""
        clock = asyncio.get_running_loop()
        until = clock.time() + LEASE_S
        while True:
            try:
                return await ask()
            except Unavailable:
                if clock.time() > until:
                    raise
                await asyncio.sleep(_RETRY_S)
