"""The peer of every durability figure: pgbench's simple-update on the same server."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import parse_qs, urlsplit

from app.embedded import pgbench_path

_TPS = re.compile(r"tps = ([0-9.]+) \(without initial connection time\)")


async def simple_update_tps(url: str, *, seconds: int, clients: int = 8, scale: int = 10) -> float:
    """Transactions a second of ``pgbench -N`` (builtin simple-update) on the empty database ``url``."""
    await _pgbench(url, "-i", "-q", "-s", str(scale))
    printed = await _pgbench(url, "-N", "-n", "-c", str(clients), "-j", "2", "-T", str(seconds), "-M", "prepared")
    found = _TPS.search(printed)
    if found is None:
        raise RuntimeError(f"pgbench printed no tps: {printed[-500:]}")
    return float(found[1])


async def _pgbench(url: str, *arguments: str) -> str:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    env = {
        "PGHOST": query.get("host", [parts.hostname or "localhost"])[0],
        "PGUSER": parts.username or "postgres",
        "PGDATABASE": parts.path.lstrip("/"),
        **({"PGPORT": str(parts.port)} if parts.port else {}),
        **({"PGPASSWORD": parts.password} if parts.password else {}),
    }
    process = await asyncio.create_subprocess_exec(
        str(pgbench_path()),
        *arguments,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"pgbench failed: {output.decode(errors='replace')[-500:]}")
    return output.decode(errors="replace")
