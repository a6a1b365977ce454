"""CPU time of processes, with all of a PostgreSQL server's as one."""

from __future__ import annotations

from collections.abc import Mapping

import psutil

from app.store.db import Database


async def postmaster(db: Database) -> int:
    """Process id of the PostgreSQL server behind ``db``, which runs on this machine."""
    async with db.unit() as uow:
        backend: int = await uow.sql.fetchval("SELECT pg_backend_pid()")
        return psutil.Process(backend).ppid()


class CpuTimes:
    """Seconds of CPU by name of process; ``postgres`` is the server of process id ``server`` with its children."""

    def __init__(self, pids: Mapping[str, int], server: int) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._server = psutil.Process(server)

    def read(self) -> dict[str, float]:
        spent = {name: sum(process.cpu_times()[:2]) for name, process in self._processes.items()}
        # Children that have ended are in their parent's account.
        spent["postgres"] = sum(self._server.cpu_times()[:4])
        for child in self._server.children():
            try:
                spent["postgres"] += sum(child.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue
        return spent

    def cores(self, before: Mapping[str, float], seconds: float) -> dict[str, float]:
        """How many cores each kept busy in the ``seconds`` since ``before`` was read."""
        return {name: round((now - before[name]) / seconds, 2) for name, now in self.read().items()}
