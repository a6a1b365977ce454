"""The engine's part of the world: its processes, their links, their settings, the keys of its callers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.chaos.calls import Caller
from app.chaos.clients import ACCOUNTS
from app.chaos.history import History
from app.chaos.onchain import FINALIZE_DEPTH
from app.chaos.processes import Process
from app.chaos.proxy import Link
from app.chaos.servers import Servers
from app.core.access import Scope
from app.demo.onchain import Opened
from app.services import keys
from app.store.db import Database

START_S = 60.0
LEASE_S = 4.0


@dataclass(frozen=True, slots=True)
class Size:
    """How many of each there are."""

    serves: int = 3
    workers: int = 2
    listeners: int = 2
    nodes: int = 50
    legacy: int = 3


class StartError(Exception):
    """The world did not come up; the message says which part."""


def commands(size: Size, ports: list[int]) -> Iterator[tuple[str, list[str]]]:
    for number, port in enumerate(ports):
        yield f"serve{number}", ["serve", "--host", "127.0.0.1", "--port", str(port)]
    for number in range(size.workers):
        yield f"worker{number}", ["worker"]
    for number in range(size.listeners):
        yield f"listener{number}", ["listener"]


async def linked(
    stack: AsyncExitStack, links: dict[tuple[str, str], Link], name: str, servers: Servers, opened: Opened
) -> dict[str, str]:
    """Open a process's links; the environment that leads it through them."""
    upstreams: dict[str, Path | int] = {"postgres": servers.postgres_socket, "valkey": servers.valkey_socket}
    if name.startswith("listener"):
        upstreams |= {"rpc": _port(opened.url), "ws": _port(opened.ws_url)}
    for server, upstream in upstreams.items():
        links[name, server] = await stack.enter_async_context(Link(upstream))
    at = {server: f"127.0.0.1:{links[name, server].port}" for server in upstreams}
    env = {
        "DATABASE_URL": f"postgresql://hae@{at['postgres']}/hae?sslmode=disable",
        "REDIS_URL": f"redis://{at['valkey']}",
    }
    if "rpc" in at:
        env |= {
            "SOLANA_RPC_URL": f"http://{at['rpc']}{urlsplit(opened.url).path}",
            "SOLANA_WS_URL": f"ws://{at['ws']}{urlsplit(opened.ws_url).path}",
        }
    return env


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def settings(chain: Opened) -> dict[str, Any]:
    """Shorter times than in service, so that everything that can run out runs out within a run."""
    return {
        "server": {"drain_s": 0.1, "grace_s": 3.0},
        "database": {"pool_size": 6, "pool_timeout_s": 3.0},
        "nodes": {
            "lease_s": LEASE_S,
            "offline_after_s": LEASE_S + 2.0,
            "heartbeat_interval_s": 1.0,
            "heartbeat_flush_s": 0.3,
            "breaker_cooldown_s": 2.0,
            "penalty_half_life_s": 5.0,
        },
        "jobs": {"offer_ttl_s": 3.0, "queue_ttl_s": 60, "run_timeout_s": 12, "cancel_grace_s": 2.0, "max_retries": 5},
        "worker": {"sweep_s": 0.5, "poll_s": 0.25},
        "solana": chain.programs(),
        "chain": {
            **chain.accounts(),
            "spec_grace_s": 2.0,
            "scan_s": 1.0,
            "timeout_s": 3.0,
            "overlap_slots": FINALIZE_DEPTH + 4,
        },
        "log": {"level": "warning", "format": "text"},
    }


def account(number: int) -> str:
    """The account of the agent of this number."""
    return f"chaos-agent-{number}"


async def secrets(database_url: str) -> dict[str, str]:
    """API keys by who has them. Operators' workers have an account each, as that protocol knows them by it."""
    wanted = {"operator": ("chaos-operator", Scope.OPERATOR), "node": ("chaos-nodes", Scope.NODE)}
    wanted |= {"legacy": ("chaos-legacy", Scope.NODE)}
    wanted |= {f"agent{number}": (account(number), Scope.AGENT) for number in range(ACCOUNTS)}
    db = Database(database_url, pool_size=1, application="hae chaos")
    try:
        return {name: (await keys.create(db, whose, [scope]))[1] for name, (whose, scope) in wanted.items()}
    finally:
        await db.close()


async def until_ready(callers: list[Caller], processes: dict[str, Process]) -> None:
    """Wait until every API process is ready. Raises StartError."""
    give_up = History.now() + START_S
    for caller in callers:
        while (await caller.call("GET", "/readyz", timeout_s=2.0)).status != HTTPStatus.OK:
            ended = [line for process in processes.values() for line in process.ended_badly]
            if ended or History.now() > give_up:
                raise StartError(f"the engine did not come up within {START_S:g} s: {'; '.join(ended[:3])}")
            await asyncio.sleep(0.1)


async def stop(processes: dict[str, Process]) -> None:
    await asyncio.gather(*(process.stop() for process in processes.values()))
