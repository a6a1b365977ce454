"""Terms to bid on, from what the network says of its prices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.errors import HaeError
from app.core.money import format_hyper, parse_price

_STEPS = 5
"""Raises from the first bid to the highest."""

Answer = Mapping[str, Any]


def offered(quote: Answer, match: Answer, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What a negotiation found. ``terms``: as `execute` and `scale` take them; empty where nobody has a price."""
    return {
        "available_now": bool(quote.get("available_now")),
        "matched": bool(match.get("matched")),
        "why": match.get("told", ""),
        "duration_s": quote.get("duration_s", 0),
        "cost_hyper": quote.get("cost_hyper", ""),
        "cheapest_cost_hyper": quote.get("cheapest_cost_hyper", ""),
        "median_cost_hyper": quote.get("median_cost_hyper", ""),
        "price_per_gpu_hour_hyper": quote.get("price_per_gpu_hour_hyper", ""),
        "candidates": match.get("candidates", []),
        "relaxations": match.get("relaxations", []),
        "terms": terms(match.get("candidates", []), str(wanted.get("max_price_per_gpu_hour_hyper", ""))),
    }


def terms(candidates: Any, ceiling: str) -> dict[str, Any]:
    """Bids that begin at the cheapest candidate's price and end at ``ceiling``, or at the dearest candidate's price
    where there is none. HYPER per GPU-hour as decimal strings."""
    prices = sorted(filter(None, (_price(one.get("price_per_gpu_hour_hyper", "")) for one in candidates)))
    first = prices[0] if prices else 0
    most = _price(ceiling) or (prices[-1] if prices else 0)
    if not first or most < first:
        return {}
    # Rounded up, so that the last raise reaches the ceiling.
    step = -(-(most - first) // _STEPS)
    return {
        "start_price_per_gpu_hour_hyper": format_hyper(first),
        "raise_step_hyper": format_hyper(step) if step else "",
        "max_price_per_gpu_hour_hyper": format_hyper(most),
    }


def _price(text: Any) -> int | None:
    try:
        return parse_price(text, "price") if isinstance(text, str) and text else None
    except HaeError:
        return None
