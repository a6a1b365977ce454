"""The sync client out of the async one: the same words without those that wait."""

from __future__ import annotations

import re

_HEADER = "# Generated from {name} by ``python -m hae_client.generate``: edit that one."
_WORDS = {
    "AsyncChannel": "Channel",
    "AsyncClient": "Client",
    "aio_channel": "sync_channel",
    "AsyncBaseTransport": "BaseTransport",
    "AsyncIterator": "Iterator",
    "AsyncGenerator": "Generator",
    "asynccontextmanager": "contextmanager",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "aclosing": "closing",
    "aclose": "close",
    "aread": "read",
    "aiter_bytes": "iter_bytes",
    "anext": "next",
    "asyncio": "time",
}
_SWAPS = tuple((re.compile(rf"\b{old}\b"), new) for old, new in _WORDS.items())
_EACH = re.compile(r"for (\w+) in (.+):\n +yield \1\n")
_WAITS = re.compile(r"\b(async|await) ")


def sync_source(name: str, source: str) -> str:
    """The source of the module that the one called ``name`` becomes, not yet formatted."""
    for old, new in _SWAPS:
        source = old.sub(new, source)
    source = _EACH.sub(r"yield from \2\n", _WAITS.sub("", source))
    return f"{_HEADER.format(name=name)}\n{source}"
