"""Reads server-sent events as a browser does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable
from typing import Any


async def events_in(lines: AsyncIterable[str], limit: int = 0) -> list[dict[str, Any]]:
    """Events until the stream ends, or ``limit`` of them: ``id`` and ``event`` as text, ``data`` decoded."""
    found: list[dict[str, Any]] = []
    event: dict[str, Any] = {}
    async for line in lines:
        name, _, value = line.partition(": ")
        if name == "data":
            event["data"] = json.loads(value)
        elif name:
            event[name] = value
        elif "data" in event:
            found.append(event)
            event = {}
            if len(found) == limit:
                break
    return found
