"""A worker process under SIGTERM: the first drains, the second ends it at once."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator

import pytest

from tests.support.node_api import NodeApi

SCRIPT = """
import asyncio, sys
from functools import partial
from app.node_worker import NodeConfig, run_node, until_signalled
config = NodeConfig(server_url=sys.argv[1], api_key="test-key", wallet="wallet", gpu_model="a100",
                    price_per_gpu_hour_hyper="0.1", executor="simulate")
sys.exit(asyncio.run(until_signalled(partial(run_node, config))))
"""


@pytest.fixture
async def process(api: NodeApi) -> AsyncIterator[asyncio.subprocess.Process]:
    started = await asyncio.create_subprocess_exec(sys.executable, "-c", SCRIPT, api.server.url)
    await api.until(lambda: bool(api.nodes), timeout_s=60)
    yield started
    if started.returncode is None:
        started.kill()
        await started.wait()


async def test_the_first_signal_drains(api: NodeApi, process: asyncio.subprocess.Process) -> None:
    node_id = api.node_id("wallet")
    offer = api.offers[api.offer(node_id, input={"input": {"simulate": {"duration_s": 0.5}}})]
    await api.until(lambda: offer.state == "accepted")
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert offer.state == "done"
    assert api.nodes[node_id].state == "draining"


async def test_the_second_signal_ends_it_at_once(api: NodeApi, process: asyncio.subprocess.Process) -> None:
    node_id = api.node_id("wallet")
    offer = api.offers[api.offer(node_id, input={"input": {"simulate": {"hang": True}}})]
    await api.until(lambda: offer.state == "accepted")
    process.send_signal(signal.SIGTERM)
    await api.until(lambda: api.nodes[node_id].state == "draining")
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 130
    assert offer.report is None
