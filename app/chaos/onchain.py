"""The run's chain: a process of its own, what clients and operators do on it, and the trouble that it makes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import msgspec

from app.chaos.nodes import NodeSpec
from app.demo.api import Api, ChainApi
from app.demo.children import Child, DemoError
from app.demo.onchain import ChainOrder, CreateJob, EndJob, NodeOnChain, Opened, Pay, operator_wallet
from app.node_worker.connections import Connections

SLOT_MS = 200
FINALIZE_DEPTH = 8
CLIENTS = 3
LOOK_S = 1.0
_INFERENCE = 0
_PRICE = 1_000_007
_ENDED = """SELECT j.id, l.chain_job_id, j.state, n.wallet FROM jobs j JOIN chain_jobs l ON l.address = j.chain_job
    LEFT JOIN nodes n ON n.id = j.node_id WHERE j.state IN ('completed', 'failed', 'cancelled', 'expired')"""


def node_name(number: int) -> str:
    """A node's name on chain; its wallet is ``operator_wallet`` of it."""
    return f"chaos-{number:02}"


def order(nodes: int) -> bytes:
    """What the chain process is told: all nodes are registered on it."""
    registered = [NodeOnChain(node_name(number), "EU", 10**12, 100, 0) for number in range(nodes)]
    return msgspec.json.encode(ChainOrder(registered, SLOT_MS, FINALIZE_DEPTH, CLIENTS))


def wallets(nodes: int) -> dict[str, str]:
    """Names on chain by wallet."""
    return {operator_wallet(node_name(number)): node_name(number) for number in range(nodes)}


class Onchain:
    """Creates jobs on chain as clients ask for it, and ends and pays those that the engine ended."""

    def __init__(
        self, chain: ChainApi, connections: Connections, opened: Opened, names: dict[str, str], seed: int
    ) -> None:
        self.opened = opened
        self.chain = chain
        self._rpc = Api(connections, opened.url)
        self._names = names
        self._seed = seed
        self._created: dict[str, int] = {}
        self._ended: set[str] = set()

    async def create(self, wanted: asyncio.Queue[tuple[str, str]]) -> None:
        """Create what is asked for as it comes, for ever."""
        while True:
            job_id, spec_hash = await wanted.get()
            await self._create(job_id, spec_hash)

    async def create_unasked(self, count: int) -> None:
        """Create jobs that the engine hears of from the chain alone, whose specs nobody stores."""
        for number in range(count):
            name = f"chain-{self._seed}-{number}"
            await self._create(name, hashlib.sha256(name.encode()).hexdigest())

    async def _create(self, name: str, spec_hash: str) -> None:
        client = len(self._created) % CLIENTS
        self._created[name] = client
        await self.chain.create(CreateJob(name, client, _INFERENCE, _PRICE, spec_hash))

    @property
    def open(self) -> int:
        """Jobs of the chain that are not over on it."""
        return len(self._created) - len(self._ended)

    async def settle(self, sql: asyncpg.Connection[Any]) -> None:
        """End on chain what the engine has ended and the chain has not."""
        for job_id, name, state, wallet in await sql.fetch(_ENDED):
            if name in self._ended or name not in self._created:
                continue
            self._ended.add(name)
            end = EndJob(name, self._created[name])
            if state == "completed" and wallet in self._names:
                pay = Pay.SHORT if int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:1]) < 16 else Pay.RIGHT
                end = EndJob(name, self._created[name], self._names[wallet], pay, processed=len(self._ended) % 5 == 0)
            try:
                await self.chain.end([end])
            except OSError:
                self._ended.discard(name)
                raise

    async def fork(self, depth: int) -> None:
        """Let another fork win, on which everything of the last slots lands again."""
        await self.chain.fork(depth)

    async def trouble(self, faults: Sequence[dict[str, Any]]) -> None:
        """Put faults of the chain's node in force."""
        await self._devchain("devchain_setFaults", [list(faults)])

    async def heal(self) -> None:
        """Lift all faults of the node."""
        await self._devchain("devchain_clearFaults", [])

    async def _devchain(self, method: str, params: Sequence[Any]) -> None:
        # Its own faults strike these calls, too.
        for _ in range(20):
            with suppress(DemoError):
                answer = await self._rpc.call(
                    "POST", "/", {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
                )
                if "error" not in answer:
                    return
        raise DemoError(f"the chain does not take {method}")


async def opened(child: Child, within_s: float) -> Opened:
    """Where the chain process serves. Raises DemoError."""
    return msgspec.json.decode(await child.says("{", within_s), type=Opened)


def specs(count: int, seed: int, scarce: str) -> list[NodeSpec]:
    """The nodes' own side, by number: most have a slot or two, a sixth is where few are."""
    return [
        NodeSpec(operator_wallet(node_name(number)), 1 + (number + seed) % 2, scarce if number % 6 == 0 else "EU")
        for number in range(count)
    ]
