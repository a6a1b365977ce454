"""A chain of its own for the replay benchmark: ``python -m app.bench.backlog_chain`` reads orders, one JSON a line.

``{"backlog": n}`` lands n transactions of one event each, a thousand in a block, and lets them become final.
``{"live": n, "per_s": r}`` then lands n more at that rate. Each order is answered with one line of JSON. It ends with
its standard input.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from solders.transaction import VersionedTransaction

from app.chain.devchain.backlog import job_events
from app.chain.devchain.blocks import Block, Commitment
from app.chain.devchain.chain import DevChain
from app.chain.devchain.config import ChainConfig
from app.chain.devchain.network import Network
from app.chain.devchain.records import Landed
from app.chain.devchain.server import Served, serve

PER_BLOCK = 1_000
BATCH = 100_000
"""Transactions made at once: their blockhash is good for 150 blocks."""
FRESH = 100
SLOT_S = 0.05


_seeds = itertools.count(2**31)


class Confirmations:
    """When each transaction was confirmed, by the machine's clock, in seconds."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    def on_slot(self, slot: int, parent: int, root: int) -> None:
        return None

    def on_landed(self, landed: Landed) -> None:
        return None

    def on_processed(self, block: Block) -> None:
        return None

    def on_block(self, commitment: Commitment, block: Block) -> None:
        if commitment is Commitment.CONFIRMED:
            now = time.time()
            self.at.update({str(landed.signature): now for landed in block.landed})


def backlog(chain: DevChain, network: Network, count: int) -> None:
    """Land ``count`` events and make them final."""
    for start in range(0, count, BATCH):
        chain.load(job_events(network, min(BATCH, count - start), seed=start), per_block=PER_BLOCK)
    chain.advance(chain.config.finalize_depth + 40)


def fresh(network: Network, count: int) -> Iterator[VersionedTransaction]:
    """``count`` events, signed a few at a time: a blockhash is good for 150 blocks."""
    for start in range(0, count, FRESH):
        yield from job_events(network, min(FRESH, count - start), seed=next(_seeds))


async def live(served: Served, network: Network, count: int, per_s: float) -> dict[str, float]:
    """Land ``count`` events, evenly; ``signature → when it was confirmed``."""
    seen = Confirmations()
    served.chain.observers.append(seen)
    transactions = fresh(network, count)
    began = time.monotonic()
    landed = 0
    while len(seen.at) < count:
        due = min(count, int((time.monotonic() - began) * per_s) + 1)
        for transaction in [next(transactions) for _ in range(due - landed)]:
            served.chain.send(transaction, verify=False)
        landed = due
        served.chain.advance()
        await asyncio.sleep(SLOT_S)
    served.chain.observers.remove(seen)
    return seen.at


async def main() -> None:
    chain = DevChain(ChainConfig(slot_ms=0))
    network = Network(chain)
    loop = asyncio.get_running_loop()
    async with serve(chain) as served:
        _say({"url": served.url, "ws_url": served.ws_url})
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            order = json.loads(line)
            if "backlog" in order:
                backlog(chain, network, order["backlog"])
                _say({"slot": chain.slot})
            else:
                _say(await live(served, network, order["live"], order["per_s"]))


def _say(what: Any) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
