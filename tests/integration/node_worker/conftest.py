"""A contract server and workers against it, ended with the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from app.node_worker import NodeConfig, NodeStats, run_fleet
from tests.support.chat_server import ChatServer
from tests.support.node_api import NodeApi


class Nodes:
    """Starts workers; ``stop`` drains those of this test."""

    def __init__(self, api: NodeApi) -> None:
        self.api = api
        self.stop = asyncio.Event()
        self.stats = NodeStats()
        self.tasks: list[asyncio.Task[int]] = []

    def config(self, wallet: str = "wallet", **changes: Any) -> NodeConfig:
        given: dict[str, Any] = {
            "server_url": self.api.server.url,
            "api_key": self.api.key,
            "wallet": wallet,
            "gpu_model": "a100",
            "price_per_gpu_hour_hyper": "0.1",
            "progress_interval_s": 0.05,
            **changes,
        }
        return NodeConfig(**given)

    def start(self, *configs: NodeConfig) -> asyncio.Task[int]:
        task = asyncio.create_task(run_fleet(configs, self.stop, stats=self.stats))
        self.tasks.append(task)
        return task

    async def drained(self) -> None:
        """Stop every worker of this test and wait for its end, after which ``stats`` are complete."""
        self.stop.set()
        assert await asyncio.gather(*self.tasks) == [0] * len(self.tasks)

    async def until(self, condition: Callable[[NodeStats], bool]) -> None:
        """Wait for something that only the worker knows."""
        async with asyncio.timeout(20):
            while not condition(self.stats):  # noqa: ASYNC110 (counters tell nobody of a change)
                await asyncio.sleep(0.01)

    async def online(self, wallet: str = "wallet", **changes: Any) -> str:
        """Start one node and wait until it polls; returns its id."""
        self.start(self.config(wallet, **changes))
        node_id = self.api.node_id(wallet)
        await self.api.until(lambda: node_id in self.api.nodes and self.api.nodes[node_id].polls > 0)
        return node_id


@pytest.fixture
async def api() -> AsyncIterator[NodeApi]:
    served = NodeApi()
    await served.server.start()
    yield served
    await served.server.stop()


@pytest.fixture
async def nodes(api: NodeApi) -> AsyncIterator[Nodes]:
    started = Nodes(api)
    yield started
    for task in started.tasks:
        task.cancel()
    await asyncio.gather(*started.tasks, return_exceptions=True)


@pytest.fixture
async def chat() -> AsyncIterator[ChatServer]:
    served = ChatServer(key="model-key")
    await served.server.start()
    yield served
    await served.server.stop()
