"""Where the time of a profiled process went: a profile's functions, gathered by what they are for.

Functions without an area of their own (built-ins, the standard library) count for the areas that called them.
"""

from __future__ import annotations

import pstats
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Function = tuple[str, int, str]
Stats = Mapping[Function, tuple[int, int, float, float, Mapping[Function, tuple[int, int, float, float]]]]

OTHER = "other"
LOOP = "event loop, sockets, waiting"

_PLACES: tuple[tuple[str, str], ...] = (
    ("app/matchmaker/explain", "explaining matches"),
    ("app/matchmaker/relax", "explaining matches"),
    ("app/services/decisions", "explaining matches"),
    ("app/services/recording", "explaining matches"),
    ("app/store/recording", "explaining matches"),
    ("app/matchmaker/", "matching"),
    ("app/services/placing", "matching"),
    ("app/services/offering", "matching"),
    ("app/services/claiming", "claiming"),
    ("app/store/claims", "claiming"),
    ("app/services/backlog", "backlog"),
    ("app/store/backlog", "backlog"),
    ("app/services/waves", "waves: decisions on rows"),
    ("app/services/phases", "waves: decisions on rows"),
    ("app/services/quotas", "quotas"),
    ("app/core/chaining", "hash chain of history"),
    ("app/core/ids", "ids"),
    ("app/core/", "waves: decisions on rows"),
    ("app/store/deltas", "hints and news over Valkey"),
    ("app/store/bus", "hints and news over Valkey"),
    ("app/services/deltas", "hints and news over Valkey"),
    ("/redis/", "hints and news over Valkey"),
    ("app/services/views", "view"),
    ("app/store/node_feed", "view"),
    ("app/store/", "rows: to and from SQL"),
    ("app/webhooks/", "webhooks and feed"),
    ("app/workers/", "worker loops"),
    ("app/services/", "services"),
    ("app/http/", "routes"),
    ("tools/", "tools: reading, checking, hashing requests"),
    ("graphs/", "graphs' own code"),
    ("/litestar/", "Litestar"),
    ("/anyio/", "Litestar"),
    ("/langgraph/", "LangGraph"),
    ("/langchain_core/", "LangGraph"),
    ("/langsmith/", "LangGraph"),
    ("/asyncpg/", "asyncpg"),
    ("/asyncio/", LOOP),
    ("/uvloop/", LOOP),
    ("/selectors.py", LOOP),
    ("importlib", "imports"),
)
_BUILT_IN = (("msgspec", "JSON"), ("granian", LOOP), ("select.epoll", LOOP), ("marshal", "imports"))


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Seconds of own time by area, most first, and of the heaviest functions ``(where, seconds, calls)``."""

    total_s: float
    areas: dict[str, float]
    functions: list[tuple[str, float, int]]


def breakdown(file: str, *, heaviest: int = 40) -> Breakdown:
    """Read a profile that cProfile has written."""
    loaded: Any = pstats.Stats(file)
    stats: Stats = loaded.stats
    shares = _Shares(stats)
    areas: defaultdict[str, float] = defaultdict(float)
    for function, (_, _, own_s, _, _) in stats.items():
        for area, share in shares.of(function).items():
            areas[area] += own_s * share
    by_own = sorted(stats.items(), key=lambda item: item[1][2], reverse=True)[:heaviest]
    return Breakdown(
        sum(row[2] for row in stats.values()),
        dict(sorted(areas.items(), key=lambda area: area[1], reverse=True)),
        [(_told(function), row[2], row[1]) for function, row in by_own],
    )


class _Shares:
    """Which areas a function's own time counts for, as shares that add up to 1."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._known: dict[Function, dict[str, float]] = {}

    def of(self, function: Function) -> dict[str, float]:
        known = self._known.get(function)
        if known is not None:
            return known
        area = _area(function)
        if area is not None:
            shares = {area: 1.0}
        else:
            # Until it is known, so that callers which call each other come to an end.
            self._known[function] = {OTHER: 1.0}
            shares = self._by_callers(function)
        self._known[function] = shares
        return shares

    def _by_callers(self, function: Function) -> dict[str, float]:
        callers = {caller: row[2] for caller, row in self._stats[function][4].items() if caller != function}
        whole = sum(callers.values())
        if whole <= 0:
            return {OTHER: 1.0}
        shares: defaultdict[str, float] = defaultdict(float)
        for caller, own_s in callers.items():
            for area, share in self.of(caller).items() if caller in self._stats else [(OTHER, 1.0)]:
                shares[area] += share * own_s / whole
        return dict(shares)


def _area(function: Function) -> str | None:
    file, _, name = function
    if file == "~":
        return next((area for mark, area in _BUILT_IN if mark in name), None)
    path = file.replace("\\", "/")
    return next((area for mark, area in _PLACES if mark in path), None)


def _told(function: Function) -> str:
    file, line, name = function
    if file == "~":
        return name
    return f"{'/'.join(file.split('/')[-3:])}:{line} {name}"
