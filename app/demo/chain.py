"""The demo's chain process: a local Solana chain, and everyone who acts on it.

``python -m app.demo.chain`` reads its order (ChainOrder) as one line from standard input, registers the nodes, prints
where it serves (Opened) and runs until SIGTERM, or until standard input closes. Its cast acts when it is asked to by
further methods of the chain's own JSON-RPC, each with a list of orders: demo_create, demo_end, demo_fork (a depth),
demo_status, demo_ledger.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec

from app.chain.devchain import ChainConfig, DevChain, serve
from app.chain.devchain.node import Node, method
from app.chain.devchain.params import Params
from app.demo.cast import Cast
from app.demo.onchain import ChainOrder, CreateJob, EndJob
from app.demo.ordered import run_ordered


def offer(cast: Cast) -> None:
    """Let the chain's JSON-RPC take orders for ``cast``."""

    @method("demo_create")
    def create(node: Node, params: Params) -> Any:
        return [cast.create(one) for one in msgspec.convert(params.at(0), list[CreateJob])]

    @method("demo_end")
    def end(node: Node, params: Params) -> Any:
        for one in msgspec.convert(params.at(0), list[EndJob]):
            cast.end(one)

    @method("demo_fork")
    def fork(node: Node, params: Params) -> Any:
        return cast.fork(params.integer(0))

    @method("demo_status")
    def status(node: Node, params: Params) -> Any:
        return cast.status()

    @method("demo_ledger")
    def ledger(node: Node, params: Params) -> Any:
        return cast.ledger()


async def _run(order: ChainOrder, stop: asyncio.Event) -> int:
    chain = DevChain(ChainConfig(slot_ms=order.slot_ms, finalize_depth=order.finalize_depth))
    cast = Cast(chain, order.clients)
    cast.register(order.nodes)
    offer(cast)
    async with serve(chain) as served:
        print(msgspec.json.encode(cast.opened(served.url, served.ws_url)).decode(), flush=True)
        await stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(run_ordered(ChainOrder, "demo chain", _run))
