"""What a run leaves behind for whoever wants to understand it: logs, the record, the database."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import msgspec

from app.chaos.world import World
from app.embedded import wheels
from app.embedded.process import environment


async def keep(directory: Path, world: World, violations: list[str]) -> None:
    """Write all of it into ``directory``: ``history.jsonl``, ``faults.jsonl``, logs, ``database.sql``."""
    await asyncio.to_thread(_keep_files, directory, world, violations)
    dump = await asyncio.create_subprocess_exec(
        str(wheels.bin_dir() / "pg_dump"),
        "--no-owner",
        "--dbname",
        world.servers.database_url,
        "--file",
        str(directory / "database.sql"),
        env=environment(),
        stderr=asyncio.subprocess.PIPE,
    )
    _, trouble = await dump.communicate()
    if dump.returncode:
        raise RuntimeError(f"pg_dump failed: {trouble.decode(errors='replace')[-300:]}")


def _keep_files(directory: Path, world: World, violations: list[str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    encode = msgspec.json.encode
    history = world.history
    (directory / "history.jsonl").write_bytes(b"".join(encode(op) + b"\n" for op in history.ops))
    (directory / "faults.jsonl").write_bytes(b"".join(encode(fault) + b"\n" for fault in history.faults))
    (directory / "violations.txt").write_text("".join(f"{line}\n" for line in violations), encoding="utf-8")
    for log in (*(process.log for process in world.processes.values()), *world.servers.logs):
        if log.exists():
            shutil.copyfile(log, directory / log.name)
