"""Events as the outside sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.answers import hyper

_AMOUNTS = ("cost", "amount")


def told(data: Mapping[str, Any]) -> dict[str, Any]:
    """An event's ``data`` with its amounts as decimal strings of HYPER under ``…_hyper``."""
    shown = {name: value for name, value in data.items() if name not in _AMOUNTS}
    return shown | {f"{name}_hyper": hyper(data[name]) for name in _AMOUNTS if name in data}
