"""A node's settings are checked when they are made."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.errors import InvalidInput
from app.node_worker.config import Behaviour, NodeConfig
from app.node_worker.executors import EXECUTORS, build_executor

GOOD: dict[str, Any] = {
    "server_url": "https://engine.example",
    "api_key": "secret-key",
    "wallet": "w",
    "gpu_model": "a100",
    "gpus": 8,
    "price_per_gpu_hour_hyper": "0.12",
}


def test_slots_default_to_the_gpus_and_the_minimum_to_the_price() -> None:
    config = NodeConfig(**GOOD)
    assert (config.slots, config.min_price) == (8, 120_000_000)
    assert NodeConfig(**GOOD, capacity=2).slots == 2


def test_the_key_does_not_show() -> None:
    assert "secret-key" not in repr(NodeConfig(**GOOD))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"server_url": "engine.example"}, "server_url"),
        ({"server_url": "ftp://engine.example"}, "server_url"),
        ({"api_key": ""}, "api_key"),
        ({"wallet": ""}, "wallet"),
        ({"price_per_gpu_hour_hyper": "0"}, "price_per_gpu_hour_hyper"),
        ({"min_price_per_gpu_hour_hyper": "-1"}, "min_price_per_gpu_hour_hyper"),
        ({"capabilities": ("flying",)}, "capabilities"),
        ({"region": "MARS"}, "region"),
        ({"job_types": ("mining",)}, "job_types"),
        ({"gpus": 0}, "capacity"),
        ({"capacity": 0}, "capacity"),
        ({"poll_wait_s": 60.0}, "poll_wait_s"),
        ({"speed": 0.0}, "speed"),
    ],
)
def test_values_without_sense_are_refused(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        NodeConfig(**{**GOOD, **change})
    assert caught.value.field == field


def test_rates_lie_between_none_and_all() -> None:
    with pytest.raises(InvalidInput, match="fail_rate"):
        Behaviour(fail_rate=1.5)


def test_an_unknown_executor_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="unknown executor 'magic'; known are echo, openai, simulate"):
        build_executor(NodeConfig(**GOOD, executor="magic"))
    assert set(EXECUTORS) == {"echo", "openai", "simulate"}
