"""A run's world: real servers, a chain, the engine's processes behind fault proxies, nodes, clients and receivers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.chaos import bugs, engine, onchain
from app.chaos.calls import Caller, Recorder
from app.chaos.clients import ACCOUNTS, SCARCE, Clients
from app.chaos.engine import Size
from app.chaos.feed import FeedReader
from app.chaos.history import History
from app.chaos.legacy import LegacyNode
from app.chaos.nodes import SimNode
from app.chaos.onchain import Onchain
from app.chaos.planners import Planners
from app.chaos.processes import Process, free_ports
from app.chaos.proxy import Link
from app.chaos.receivers import Receivers
from app.chaos.servers import Servers
from app.demo.api import ChainApi
from app.demo.children import Children
from app.demo.grounds import own_directory, started
from app.node_worker.connections import Connections
from app.store import migrate


@dataclass(slots=True)
class World:
    """``links``: by process and server (``postgres``, ``valkey``, ``rpc``, ``ws``). ``dethroned``: the last leading
    listener that was killed: its epoch, and when.

    ``on_postgres``, ``on_valkey``: held while a fault stops or starts that server, which one at a time can do.
    """

    directory: Path
    history: History
    servers: Servers
    receivers: Receivers
    processes: dict[str, Process]
    links: dict[tuple[str, str], Link]
    urls: list[str]
    connections: Connections
    nodes: list[SimNode]
    legacy: list[LegacyNode]
    clients: Clients
    planners: Planners
    readers: list[FeedReader]
    onchain: Onchain
    probe: Recorder
    dethroned: tuple[int, float] | None = None
    on_postgres: asyncio.Lock = field(default_factory=asyncio.Lock)
    on_valkey: asyncio.Lock = field(default_factory=asyncio.Lock)

    def of_kind(self, kind: str) -> list[Process]:
        """The processes of `hae serve`, `hae worker` or `hae listener`."""
        return [process for process in self.processes.values() if process.kind == kind]


@asynccontextmanager
async def staged(size: Size, seed: int, bug: str, note: Callable[[str], None]) -> AsyncIterator[World]:
    """Set everything up, and take it down again, whatever happens. Raises StartError, DemoError and EmbeddedError.

    The engine serves and the nodes have registered when this returns.
    """
    history = History()
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(own_directory("hae-chaos-"))
        note("PostgreSQL, Valkey and a chain start")
        children = await stack.enter_async_context(Children())
        chain = await children.start("chain", ["app.demo.chain"])
        await chain.tell(onchain.order(size.nodes + size.legacy))
        servers = await stack.enter_async_context(started(lambda: _servers(directory / "data")))
        receivers = await stack.enter_async_context(Receivers(history))
        opened = await onchain.opened(chain, engine.START_S)
        if bug:
            await bugs.plant_schema(servers.database_url, bug)
        config = directory / "chaos.json"
        config.write_text(json.dumps(engine.settings(opened) | {"webhooks": receivers.settings()}), encoding="utf-8")
        secrets = await engine.secrets(servers.database_url)
        note("the engine's processes start")
        ports = free_ports(size.serves)
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        processes: dict[str, Process] = {}
        links: dict[tuple[str, str], Link] = {}
        for name, command in engine.commands(size, ports):
            env = children.env | await engine.linked(stack, links, name, servers, opened) | {"HAE_CONFIG": str(config)}
            processes[name] = Process(name, command, env, directory, bug)
        # Pushed after the links, which have to stand until the processes have ended.
        stack.push_async_callback(engine.stop, processes)
        await asyncio.gather(*(process.start() for process in processes.values()))
        connections = await stack.enter_async_context(Connections())

        def recorder(actor: str, secret: str, first: int = 0) -> Recorder:
            return Recorder(history, Caller(connections, urls, secret, first), actor)

        probe = recorder("probe", secrets["operator"])
        await engine.until_ready([Caller(connections, [url], secrets["operator"]) for url in urls], processes)
        specs = onchain.specs(size.nodes, seed, SCARCE)
        nodes = [
            SimNode(spec, recorder(f"node-{number:02}", secrets["node"], number), f"{seed} node {number}")
            for number, spec in enumerate(specs)
        ]
        for node, other in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
            node.other = other
        names = list(onchain.wallets(size.nodes + size.legacy))
        legacy = [
            LegacyNode(names[size.nodes + number], recorder(f"legacy-{number}", secrets["legacy"], number))
            for number in range(size.legacy)
        ]
        clients = Clients(
            seed, [recorder(f"client-{number}", secrets[f"agent{number}"], number) for number in range(ACCOUNTS)]
        )
        planners = Planners(
            seed, [recorder(f"planner-{number}", secrets[f"agent{number}"], number) for number in range(ACCOUNTS)]
        )
        readers = [
            FeedReader(recorder("reader-all", secrets["operator"])),
            *(
                FeedReader(recorder(f"reader-{number}", secrets[f"agent{number}"], number), engine.account(number))
                for number in range(2)
            ),
        ]
        api = ChainApi(connections, opened.url)
        wallets = onchain.wallets(size.nodes + size.legacy)
        acting = Onchain(api, connections, opened, wallets, seed)
        world = World(
            directory=directory,
            history=history,
            servers=servers,
            receivers=receivers,
            processes=processes,
            links=links,
            urls=urls,
            connections=connections,
            nodes=nodes,
            legacy=legacy,
            clients=clients,
            planners=planners,
            readers=readers,
            onchain=acting,
            probe=probe,
        )
        stack.push_async_callback(_silence, world)
        for node in nodes:
            node.start()
        for worker in legacy:
            worker.start()
        yield world


async def _silence(world: World) -> None:
    await asyncio.gather(*(node.stop() for node in world.nodes))
    await asyncio.gather(*(node.stop() for node in world.legacy))


def _servers(data_dir: Path) -> Servers:
    """Both, started and migrated."""
    servers = Servers(data_dir)
    try:
        servers.start()
        migrate.upgrade(servers.database_url)
    except BaseException:
        servers.close()
        raise
    return servers
