"""What a demo stands on: a chain, a directory of its own, real servers in it, the engine's processes, keys."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from app import embedded
from app.core.access import Scope
from app.demo.children import Child, Children, DemoError
from app.demo.grounds import own_directory, started
from app.demo.onchain import ChainOrder, Opened, node_on_chain
from app.demo.receivers import Receivers
from app.demo.scenario import FleetNode, FleetOrder, Scenario
from app.embedded import EmbeddedServers
from app.services import audit, keys
from app.store import migrate
from app.store.db import Database

ACCOUNT = "demo-agent"
AGENTS = 8
"""Agents that submit at once, each with an API key of its own: they compete for the nodes."""
START_S = 40.0
SLOT_MS = 200
FINALIZE_DEPTH = 8
"""Slots until a block is final: so few, that what waits for it is seen within a minute."""
_POLLS_PER_S = 80.0
"""Long-polls a second that all nodes together may cost: what their heartbeat interval follows from."""


@dataclass(slots=True)
class Stage:
    """A running engine. ``living`` and ``doomed`` are the fleets' processes, ``workers`` and ``listener`` the engine's.

    ``chain``: the chain, as it said it can be reached.
    """

    url: str
    db: Database
    receivers: Receivers
    children: Children
    chain: Opened
    workers: list[Child]
    listener: Child
    living: list[Child]
    doomed: Child
    agent_keys: list[str]
    operator_key: str

    async def restart_worker(self) -> None:
        """Start the first `hae worker` again after it was killed."""
        self.workers[0] = await self.children.start("hae worker", ["app", "worker"])

    async def restart_listener(self) -> None:
        """Start `hae listener` again after it was killed."""
        self.listener = await self.children.start("hae listener", ["app", "listener"])


@asynccontextmanager
async def staged(scenario: Scenario) -> AsyncIterator[Stage]:
    """Set everything up and take it down again, whatever happens. Raises DemoError and EmbeddedError.

    All nodes are on chain, and known to the engine from there, when this returns; their workers have their orders and
    are registering.
    """
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(own_directory("hae-demo-"))
        children = await stack.enter_async_context(Children())
        # Their imports, and the nodes' registration on chain, take as long as PostgreSQL's first start: all at once.
        ledger = await children.start("chain", ["app.demo.chain"])
        await ledger.tell(msgspec.json.encode(_chain_order(scenario)))
        living = [await children.start("fleet", ["app.demo.fleet"]) for _ in scenario.fleets]
        doomed = await children.start("doomed fleet", ["app.demo.fleet"])
        servers = await stack.enter_async_context(started(lambda: _servers(directory / "data")))
        receivers = await stack.enter_async_context(Receivers())
        chain = msgspec.json.decode(await ledger.says("{", START_S), type=Opened)
        config = directory / "demo.json"
        config.write_text(json.dumps(_settings(len(scenario.nodes), chain) | {"webhooks": receivers.settings()}))
        db = Database(servers.database_url, pool_size=2, application="hae demo")
        stack.push_async_callback(db.close)
        # Before their servers end; the nodes first and at once, since a thousand good-byes would take seconds.
        stack.push_async_callback(children.stop, kill_first=[*living, doomed])
        children.env |= {
            "DATABASE_URL": servers.database_url,
            "REDIS_URL": servers.redis_url,
            "HAE_CONFIG": str(config),
        }
        listener = await children.start("hae listener", ["app", "listener"])
        serve = await children.start("hae serve", ["app", "serve", "--host", "127.0.0.1", "--port", "0"])
        workers = [await children.start("hae worker", ["app", "worker"]) for _ in range(scenario.workers)]
        made = [await keys.create(db, ACCOUNT, [Scope.AGENT], f"hae demo {number + 1}") for number in range(AGENTS)]
        _, node_key = await keys.create(db, "demo-operator", [Scope.NODE], "hae demo fleets")
        _, operator_key = await keys.create(db, "demo-operator", [Scope.OPERATOR], "hae demo")
        line = await serve.says("http://", START_S)
        url = line[line.index("http://") :].split()[0]
        await _indexed(db, children, scenario)
        for child, nodes in [*zip(living, scenario.fleets, strict=True), (doomed, scenario.doomed)]:
            await child.tell(_order(url, node_key, scenario.seed, nodes))
        agents = [secret for _, secret in made]
        yield Stage(url, db, receivers, children, chain, workers, listener, living, doomed, agents, operator_key)


async def _indexed(db: Database, children: Children, scenario: Scenario) -> None:
    """Wait until the engine knows all nodes from the chain. Raises DemoError."""
    give_up = time.monotonic() + START_S
    while (await audit.node_ids(db)).keys() != scenario.nodes.keys():
        children.check()
        if time.monotonic() > give_up:
            raise DemoError(f"the listener did not read all nodes from the chain within {START_S:g} s")
        await asyncio.sleep(0.1)


def _chain_order(scenario: Scenario) -> ChainOrder:
    return ChainOrder([node_on_chain(node) for node in scenario.nodes.values()], SLOT_MS, FINALIZE_DEPTH)


def _settings(nodes: int, chain: Opened) -> dict[str, object]:
    """Shorter times than in service, so that falling back and falling silent can be seen within a minute."""
    heartbeat_s = max(3.0, nodes / _POLLS_PER_S)
    return {
        "nodes": {
            "offline_after_s": heartbeat_s + 1.0,
            "heartbeat_interval_s": heartbeat_s,
            "heartbeat_flush_s": 1.0,
        },
        "jobs": {"offer_ttl_s": 3.0, "queue_ttl_s": 15, "run_timeout_s": 30},
        "solana": {
            "rpc_url": chain.url,
            "ws_url": chain.ws_url,
            **chain.programs(),
        },
        "chain": {
            **chain.accounts(),
            "spec_grace_s": 3.0,
            "scan_s": 1.0,
            # As deep as a fork can go, and a little more.
            "overlap_slots": FINALIZE_DEPTH + 4,
        },
        "log": {"level": "warning", "format": "text"},
    }


def _order(url: str, key: str, seed: int, nodes: list[FleetNode]) -> bytes:
    return msgspec.json.encode(FleetOrder(url, key, seed, nodes))


def _servers(data_dir: Path) -> EmbeddedServers:
    """PostgreSQL and Valkey, migrated."""
    servers = embedded.start(data_dir)
    try:
        migrate.upgrade(servers.database_url)
    except BaseException:
        servers.close()
        raise
    return servers
