"""Executors by name. A new one is a class with base.Executor's methods and a line in EXECUTORS."""

from __future__ import annotations

from collections.abc import Callable

from app.core.errors import InvalidInput
from app.node_worker.config import NodeConfig
from app.node_worker.executors.base import Executor
from app.node_worker.executors.echo import EchoExecutor
from app.node_worker.executors.openai import OpenAIExecutor
from app.node_worker.executors.simulate import SimulateExecutor

EXECUTORS: dict[str, Callable[[NodeConfig], Executor]] = {
    "echo": lambda config: EchoExecutor(),
    "openai": lambda config: OpenAIExecutor(config.openai),
    "simulate": lambda config: SimulateExecutor(config.speed),
}


def build_executor(config: NodeConfig) -> Executor:
    """The executor that ``config.executor`` names; raises InvalidInput listing the known names."""
    try:
        build = EXECUTORS[config.executor]
    except KeyError:
        known = ", ".join(sorted(EXECUTORS))
        raise InvalidInput(f"unknown executor {config.executor!r}; known are {known}", field="executor") from None
    return build(config)
