"""HYPER amounts: integers of base units (1e-9 HYPER) inside, decimal strings outside.

No float ever holds an amount; ``cost_hyper`` in webhook payloads is the one place where a JSON number leaves, because
the network's documents promise it.
"""

from __future__ import annotations

import re

from app.core.errors import InvalidInput

DECIMALS = 9
UNIT: int = 10**DECIMALS
"""Base units in one HYPER."""

MAX_AMOUNT = 2**63 - 1
"""Largest amount stored (PostgreSQL bigint)."""

_DECIMAL = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,9}))?", re.ASCII)


def parse_hyper(text: str, field: str = "amount") -> int:
    """Base units for a decimal string such as ``"2.5"``: digits, at most nine decimals, no sign, no exponent.

    Raises InvalidInput naming ``field`` on anything else, and on amounts above MAX_AMOUNT.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise InvalidInput(
            f'{field} must be a decimal string of HYPER with at most {DECIMALS} decimals, such as "2.5"',
            field=field,
        )
    amount = int(match[1]) * UNIT + int((match[2] or "").ljust(DECIMALS, "0"))
    if amount > MAX_AMOUNT:
        raise InvalidInput(f"{field} is more than {format_hyper(MAX_AMOUNT)} HYPER", field=field)
    return amount


def parse_price(text: str, field: str = "price") -> int:
    """As parse_hyper, and refuses zero: nobody works for nothing."""
    amount = parse_hyper(text, field)
    if amount == 0:
        raise InvalidInput(f"{field} must be more than zero", field=field)
    return amount


def format_hyper(amount: int) -> str:
    """The shortest decimal string of ``amount`` base units: 2_500_000_000 → ``"2.5"``."""
    sign = "-" if amount < 0 else ""
    whole, rest = divmod(abs(amount), UNIT)
    decimals = f"{rest:0{DECIMALS}d}".rstrip("0")
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"


def run_cost(price_per_gpu_hour: int, gpus: int, duration_ms: int) -> int:
    """What a run costs in base units: price of a GPU-hour x GPUs x time, rounded up to one base unit.

    At most MAX_AMOUNT: a senseless price must not make a finished job impossible to store.
    """
    return min(MAX_AMOUNT, -(-price_per_gpu_hour * gpus * max(duration_ms, 0) // 3_600_000))
