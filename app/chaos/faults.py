"""The faults: each strikes one run's world, lasts for a moment, is healed, and says what it struck."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Final

import asyncpg

from app.chaos.clients import SCARCE
from app.chaos.engine import LEASE_S
from app.chaos.faults_servers import SERVER_FAULTS, Fault, hang_s
from app.chaos.history import History
from app.chaos.processes import Process
from app.chaos.proxy import Trouble
from app.chaos.receivers import Manner
from app.chaos.world import World

SKEW_S = 3600.0
BUSY_WITHIN_S = 3.0


def _kill(kind: str) -> Fault:
    async def strike(world: World, chance: random.Random) -> str:
        process = chance.choice(world.of_kind(kind))
        await process.kill()
        return process.name

    return strike


async def _kill_all_workers(world: World, chance: random.Random) -> str:
    await asyncio.gather(*(process.kill() for process in world.of_kind("worker")))
    return "workers"


async def _kill_leader(world: World, chance: random.Random) -> str:
    """Kill the listener that leads, any one when none does."""
    sql = await asyncpg.connect(world.servers.database_url)
    try:
        epoch, holder = await sql.fetchrow("SELECT epoch, holder FROM chain_leader WHERE id = 1") or (0, "")
    finally:
        await sql.close()
    listeners = world.of_kind("listener")
    pid = int(holder.rpartition(":")[2]) if holder else 0
    leader = next((process for process in listeners if process.pid == pid), None)
    world.dethroned = (epoch, History.now()) if leader is not None else None
    await (leader or chance.choice(listeners)).kill()
    return f"{leader.name}, the leader" if leader is not None else "no leader"


async def _kill_again(world: World, chance: random.Random) -> str:
    """Kill a process, and its next life while that is still finding its feet."""
    process = chance.choice(list(world.processes.values()))
    await process.kill()
    await asyncio.sleep(chance.uniform(0.1, 1.5))
    await process.kill()
    return process.name


def _hang(kind: str, *, everyone: bool = False) -> Fault:
    async def strike(world: World, chance: random.Random) -> str:
        found = world.of_kind(kind)
        struck = found if everyone else [chance.choice(found)]
        await _hung(struck, chance)
        return ", ".join(process.name for process in struck)

    return strike


async def _hung(processes: list[Process], chance: random.Random) -> None:
    for process in processes:
        process.hang()
    try:
        await asyncio.sleep(hang_s(chance))
    finally:
        for process in processes:
            process.resume()


def _link(trouble: Trouble, *servers: str) -> Fault:
    async def strike(world: World, chance: random.Random) -> str:
        named = [name for name in world.links if name[1] in servers]
        struck = chance.sample(named, min(len(named), chance.choice((1, 1, 3))))
        for name in struck:
            world.links[name].trouble(trouble)
        try:
            await asyncio.sleep(hang_s(chance) if trouble is Trouble.HANG else chance.uniform(0.3, 2.5))
        finally:
            for name in struck:
                world.links[name].trouble(Trouble.NONE)
        return ", ".join("-".join(name) for name in struck)

    return strike


def _chain(*choices: list[dict[str, object]]) -> Fault:
    async def strike(world: World, chance: random.Random) -> str:
        faults = chance.choice(choices)
        await world.onchain.trouble(faults)
        try:
            await asyncio.sleep(chance.uniform(1.0, 3.0))
        finally:
            await world.onchain.heal()
        return ", ".join(str(fault["kind"]) for fault in faults)

    return strike


async def _fork(world: World, chance: random.Random) -> str:
    depth = chance.randint(1, 6)
    await world.onchain.fork(depth)
    return f"{depth} slots"


def _receivers(manner: Manner) -> Fault:
    async def strike(world: World, chance: random.Random) -> str:
        struck = [chance.choice(world.receivers.names[:4]), *chance.sample(world.receivers.names[4:], 4)]
        world.receivers.misbehave(struck, manner)
        try:
            await asyncio.sleep(chance.uniform(1.0, 2.5))
        finally:
            world.receivers.misbehave(struck, Manner.GOOD)
        return ", ".join(struck)

    return strike


async def _clock_jump(world: World, chance: random.Random) -> str:
    """Some processes' clocks jump by an hour, and back after a while."""
    struck = chance.sample(list(world.processes.values()), 3)
    by_s = {process: chance.choice((-SKEW_S, SKEW_S)) for process in struck}
    for process, seconds in by_s.items():
        process.skew.write(seconds)
    try:
        await asyncio.sleep(chance.uniform(2.0, 5.0))
    finally:
        for process in struck:
            process.skew.write(0.0)
    return ", ".join(f"{process.name} {seconds:+.0f} s" for process, seconds in by_s.items())


async def _nodes_silent(world: World, chance: random.Random) -> str:
    """Nodes fall silent for about as long as a lease lasts, their runs go on, and then all of them speak at once."""
    living = [node for node in world.nodes if not node.dead_at]
    struck = chance.sample(living, max(1, len(living) // 2))
    for node in struck:
        node.hush()
    try:
        await asyncio.sleep(LEASE_S + chance.uniform(-0.5, 2.0))
    finally:
        for node in struck:
            node.speak()
    return f"{len(struck)} nodes"


async def _node_dead(world: World, chance: random.Random) -> str:
    """Nodes that have jobs are never heard of again; in quiet times others, with the next jobs that they get."""
    # Not of those that are scarce: jobs that only they can do would wait for the end of their time.
    living = [node for node in world.nodes if not node.dead_at and node.spec.region != SCARCE]
    give_up = History.now() + BUSY_WITHIN_S
    while True:
        busy = [node for node in living if node.runs]
        if busy or History.now() > give_up:
            break
        await asyncio.sleep(0.02)
    struck = chance.sample(busy or living, min(2, len(busy) or len(living) - 1))
    for node in struck:
        node.doom()
    return ", ".join(node.node_id for node in struck)


_RPC_FAULTS: tuple[list[dict[str, object]], ...] = (
    [{"kind": "http_500", "probability": 0.7}],
    [{"kind": "http_429", "probability": 0.7}],
    [{"kind": "rpc_429", "probability": 0.7}, {"kind": "rpc_32005", "probability": 0.5}],
    [{"kind": "drop", "probability": 0.6}, {"kind": "drop_mid", "probability": 0.5}],
    [{"kind": "slow", "value": 4, "probability": 0.3}],
    [{"kind": "null_transaction", "probability": 0.5}, {"kind": "lag", "value": 5}],
)
_WS_FAULTS: tuple[list[dict[str, object]], ...] = (
    [{"kind": "ws_close"}, {"kind": "ws_refuse"}],
    [{"kind": "ws_drop"}],
    [{"kind": "ws_half_open"}],
    [{"kind": "suppress", "methods": ["logsSubscribe"]}],
)


FAULTS: Final[Mapping[str, Fault]] = {
    "kill_serve": _kill("serve"),
    "kill_worker": _kill("worker"),
    "kill_workers": _kill_all_workers,
    "kill_listener": _kill_leader,
    "kill_again": _kill_again,
    "hang_serve": _hang("serve"),
    "hang_worker": _hang("worker"),
    "hang_workers": _hang("worker", everyone=True),
    "hang_listener": _hang("listener"),
    **SERVER_FAULTS,
    "link_cut": _link(Trouble.CUT, "postgres", "valkey"),
    "link_hang": _link(Trouble.HANG, "postgres", "valkey"),
    "link_drip": _link(Trouble.DRIP, "postgres", "valkey"),
    "link_delay": _link(Trouble.DELAY, "postgres", "valkey"),
    "chain_link_cut": _link(Trouble.CUT, "rpc", "ws"),
    "chain_link_hang": _link(Trouble.HANG, "rpc", "ws"),
    "rpc": _chain(*_RPC_FAULTS),
    "websocket": _chain(*_WS_FAULTS),
    "fork": _fork,
    "receivers_500": _receivers(Manner.ERROR),
    "receivers_timeout": _receivers(Manner.TIMEOUT),
    "receivers_drip": _receivers(Manner.DRIP),
    "receivers_redirect": _receivers(Manner.REDIRECT),
    "clock_jump": _clock_jump,
    "nodes_silent": _nodes_silent,
    "node_dead": _node_dead,
}
"""Every kind of fault by its name. What single nodes do wrong (app/chaos/nodes.py) comes on top, all the time."""
