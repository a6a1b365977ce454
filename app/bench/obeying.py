"""How a driver process of a benchmark is run: an order on its standard input, what came of it as its last line."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop


def obey(play: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]) -> None:
    """Play the order, a JSON object, and print the outcome; app/bench/children.py gives it."""
    # As in `hae`: most of what is loaded lives as long as the process.
    gc.set_threshold(50_000, 20, 50)
    print(json.dumps(uvloop.run(_played(play, json.load(sys.stdin)))), flush=True)


async def _played(play: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]], order: dict[str, Any]) -> dict[str, Any]:
    return await play(order)
