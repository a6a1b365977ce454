"""What a receiver's answer means for a delivery."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

MAX_RETRY_AFTER_S = 24 * 3600.0
"""A receiver can put its own notifications off by a day at a time, no longer."""


class Verdict(StrEnum):
    DELIVERED = "delivered"
    RETRY = "retry"
    """Try again by the schedule, and not before ``retry_after_s``."""
    DEAD = "dead"
    """This delivery cannot succeed."""
    DISABLED = "disabled"
    """The receiver is gone: neither this delivery nor any other to the endpoint can succeed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one try. ``reason`` names neither URL nor secret. ``hold_s``: leave the endpoint alone that
    long.
    """

    verdict: Verdict
    reason: str = ""
    status_code: int | None = None
    retry_after_s: float | None = None
    hold_s: float = 0.0


def judge(kind: str, status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> Outcome:
    """The outcome of an HTTP answer from an endpoint of ``kind``; ``headers`` in lower case, ``now`` aware.

    2xx is delivered; 410, and 404 from Discord, say that the receiver is gone; everything else, redirects
    included, is tried again, as Standard Webhooks has it.
    """
    wait = retry_after_s(kind, headers, body, now)
    if 200 <= status < 300:
        return Outcome(Verdict.DELIVERED, status_code=status, hold_s=_spent(headers))
    if status == 410 or (status == 404 and kind == "discord"):
        return Outcome(Verdict.DISABLED, f"receiver is gone (HTTP {status})", status)
    if 300 <= status < 400:
        return Outcome(Verdict.RETRY, f"redirects are not followed (HTTP {status})", status)
    if status == 429:
        return Outcome(Verdict.RETRY, "receiver is rate limiting (HTTP 429)", status, wait, wait or _spent(headers))
    return Outcome(Verdict.RETRY, f"receiver answered HTTP {status}", status, wait)


def retry_after_s(kind: str, headers: Mapping[str, str], body: bytes, now: datetime) -> float | None:
    """Seconds the receiver asks to wait, capped, the longest of what it says; None when it says nothing
    readable.

    Read are Retry-After (RFC 9110: seconds or a date), and for Discord ``retry_after`` in the body and
    X-RateLimit-Reset-After of a used-up limit.
    """
    waits = [_delay(headers.get("retry-after", ""), now)]
    if kind == "discord":
        waits += [_discord_body(body), _spent(headers) or None]
    said = [wait for wait in waits if wait is not None]
    return max(said) if said else None


def _delay(text: str, now: datetime) -> float | None:
    text = text.strip()
    if not text:
        return None
    seconds = _seconds(text)
    if seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return _capped((moment - now).total_seconds())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _discord_body(body: bytes) -> float | None:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    wait = said.get("retry_after") if isinstance(said, dict) else None
    return _seconds(wait) if isinstance(wait, int | float | str) else None


def _spent(headers: Mapping[str, str]) -> float:
    """Seconds until a rate limit that this answer used up is reset, 0 when some of it is left."""
    if headers.get("x-ratelimit-remaining", "").strip() != "0":
        return 0.0
    return _seconds(headers.get("x-ratelimit-reset-after", "")) or 0.0


def _seconds(value: int | float | str) -> float | None:
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return None if math.isnan(seconds) else _capped(seconds)


def _capped(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
