"""The processes that a benchmark measures: started as they are deployed, watched, stopped, never left behind."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from app.demo.children import Child, Children

LONG_S = 3600.0


class Processes(Children):
    """The children of one measurement, on one database and one Valkey; an async context manager whose end is theirs."""

    def __init__(self, database_url: str, redis_url: str, more: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.env |= {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "HAE_LOG_LEVEL": "warning",
            **(more or {}),
        }
        self.started: list[Child] = []

    async def __aenter__(self) -> Processes:
        return self

    async def hae(self, name: str, arguments: Sequence[str], profile: str | None = None) -> Child:
        """Start ``hae arguments``; with ``profile`` a cProfile of it lands in that file when it ends."""
        under = [] if profile is None else ["app.bench.profiled", profile]
        child = await self.start(name, [*under, "app", *arguments])
        self.started.append(child)
        return child

    async def play(self, module: str, order: Mapping[str, Any]) -> dict[str, Any]:
        """Run ``python -m module`` with an order on its standard input; its last line, a JSON object.

        Raises RuntimeError, with what it printed, when it fails.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.env,
            start_new_session=True,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(json.dumps(order).encode()), LONG_S)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        self.check()
        if process.returncode:
            last = [(child.name, list(child.lines)[-1:]) for child in self.started]
            said = "".join(f"\n{name}: …{line[-800:]}" for name, lines in last for line in lines)
            raise RuntimeError(f"{module} failed:\n{err.decode(errors='replace')[-2000:]}{said}")
        answer: dict[str, Any] = json.loads(out.splitlines()[-1])
        return answer


def cpu_s(child: Child) -> float:
    """Seconds of CPU that a running child has used."""
    times = psutil.Process(child.process.pid).cpu_times()
    return float(times.user + times.system)
