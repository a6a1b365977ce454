"""Faults of PostgreSQL and Valkey."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import redis.asyncio as redis

from app.chaos.world import World

Fault = Callable[[World, random.Random], Awaitable[str]]
"""Strikes, heals what it struck before it returns, and says what that was."""

_HANG_S = (1.0, 2.5)
_LONG_HANG_S = (6.0, 8.0)
"""Longer than leases, calls and waits for a connection last."""
_LONG = 0.25


def hang_s(chance: random.Random) -> float:
    """How long something hangs."""
    return chance.uniform(*(_LONG_HANG_S if chance.random() < _LONG else _HANG_S))


async def _postgres_restart(world: World, chance: random.Random) -> str:
    await asyncio.to_thread(world.servers.stop_postgres)
    try:
        await asyncio.sleep(chance.uniform(0.0, 1.5))
    finally:
        await asyncio.to_thread(world.servers.start_postgres)
    return "immediate shutdown"


async def _postgres_kill(world: World, chance: random.Random) -> str:
    await asyncio.to_thread(world.servers.kill_postgres)
    await asyncio.to_thread(world.servers.start_postgres)
    return "SIGKILL"


async def _postgres_restart_and_kill(world: World, chance: random.Random) -> str:
    """PostgreSQL goes, and while it recovers, and right after it, so do processes that wait for it."""
    await asyncio.to_thread(world.servers.stop_postgres)
    starting = asyncio.create_task(asyncio.to_thread(world.servers.start_postgres))
    struck = chance.sample(list(world.processes.values()), 2)
    await asyncio.sleep(chance.uniform(0.0, 0.3))
    await struck[0].kill()
    await starting
    await struck[1].kill()
    return f"immediate shutdown, {struck[0].name}, {struck[1].name}"


async def _postgres_hang(world: World, chance: random.Random) -> str:
    await asyncio.to_thread(world.servers.hang_postgres)
    try:
        await asyncio.sleep(hang_s(chance))
    finally:
        await asyncio.to_thread(world.servers.resume_postgres)
    return "SIGSTOP"


async def _valkey_flush(world: World, chance: random.Random) -> str:
    async with redis.Redis(unix_socket_path=str(world.servers.valkey_socket)) as client:
        await client.flushall()
    return "FLUSHALL"


async def _valkey_kill(world: World, chance: random.Random) -> str:
    await asyncio.to_thread(world.servers.kill_valkey)
    try:
        await asyncio.sleep(chance.uniform(0.0, 2.0))
    finally:
        await asyncio.to_thread(world.servers.start_valkey)
    return "SIGKILL"


async def _valkey_hang(world: World, chance: random.Random) -> str:
    await asyncio.to_thread(world.servers.hang_valkey)
    try:
        await asyncio.sleep(hang_s(chance))
    finally:
        await asyncio.to_thread(world.servers.resume_valkey)
    return "SIGSTOP"


def _one_by_one(server: str, fault: Fault) -> Fault:
    """Faults of one server wait for each other: what one has stopped, another can neither stop nor start."""

    async def strike(world: World, chance: random.Random) -> str:
        async with world.on_postgres if server == "postgres" else world.on_valkey:
            return await fault(world, chance)

    return strike


SERVER_FAULTS: Final[Mapping[str, Fault]] = {
    "postgres_restart": _one_by_one("postgres", _postgres_restart),
    "postgres_kill": _one_by_one("postgres", _postgres_kill),
    "postgres_restart_and_kill": _one_by_one("postgres", _postgres_restart_and_kill),
    "postgres_hang": _one_by_one("postgres", _postgres_hang),
    "valkey_flush": _one_by_one("valkey", _valkey_flush),
    "valkey_kill": _one_by_one("valkey", _valkey_kill),
    "valkey_hang": _one_by_one("valkey", _valkey_hang),
}
"""By name."""
