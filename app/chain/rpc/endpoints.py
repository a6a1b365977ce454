"""Endpoints: their addresses, how they are doing, and which one is asked next. No clock: callers say what time it is.

Addresses hold API keys. What is shown of one is its host and port; what a node says is cleaned of the rest.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx

from app.chain.rpc.budget import Budget
from app.chain.rpc.errors import RpcError
from app.chain.rpc.transport import MAX_AT_ONCE, Target
from app.chain.rpc.trouble import Kind, Trouble
from app.core.errors import InvalidInput
from app.core.retry import backoff_s
from app.telemetry import MASK, redact

REST_BASE_S = 0.25
REST_CAP_S = 15.0
_REFUSAL_S = 300.0
"""How long a refused batch size is remembered: a refusal may have been a passing fault."""
_SHORTEST_SECRET = 6


def check_url(text: str, name: str, schemes: Sequence[str]) -> str:
    """``text``, if it is a URL with a host and one of ``schemes``; InvalidInput names the setting, not the text."""
    try:
        parts = urlsplit(text)
        usable = text.isprintable() and " " not in text and bool(parts.hostname) and parts.port != 0
        usable = usable and parts.scheme in schemes and not parts.fragment and bool(httpx.URL(text).host)
    except (ValueError, httpx.InvalidURL):
        usable = False
    if not usable:
        allowed = " or ".join(f"{scheme}://" for scheme in schemes)
        raise InvalidInput(f"{name}: expected a URL that begins with {allowed} and names a host", field=name)
    return text


def host_of(url: str) -> str:
    """Host and port of a URL, all of it that may be shown."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "?"
    except ValueError:
        return "?"


@dataclass(frozen=True, slots=True, repr=False)
class Endpoint:
    """A node's JSON-RPC address. ``requests_per_s``: what it allows us, 0 for no limit; a batch of n counts n."""

    url: str
    requests_per_s: float = 0.0

    def __repr__(self) -> str:
        return f"Endpoint({host_of(self.url)!r}, requests_per_s={self.requests_per_s:g})"


class Lane:
    """An endpoint in use. ``free``: to be held during an exchange. ``busy``: exchanges under way or waiting for that.

    ``troubles``: those in a row, since the last answer.
    """

    def __init__(self, endpoint: Endpoint, name: str, batch: int) -> None:
        self.name = name
        self.target = Target(endpoint.url)
        self.budget = Budget(endpoint.requests_per_s)
        self.free = asyncio.Semaphore(MAX_AT_ONCE)
        self.busy = 0
        self.troubles = 0
        self._batch = batch if endpoint.requests_per_s <= 0 else max(1, min(batch, int(endpoint.requests_per_s)))
        self._fewer = self._batch
        self._fewer_until = 0.0
        self._rest_until = 0.0
        self._troubled_at = -math.inf
        self._told = False
        self._secrets = _secrets(endpoint.url)

    def rest_s(self, now: float) -> float:
        """Seconds that it is left alone for, 0 when it may be asked."""
        return max(0.0, self._rest_until - now)

    def batch(self, now: float) -> int:
        """How many requests it may be given at once: no more than it took lately, nor than a second of its budget."""
        return self._fewer if now < self._fewer_until else self._batch

    def shrink(self, refused: int, now: float) -> None:
        """It did not take a batch of ``refused``."""
        self._fewer = max(1, min(refused // 2, self.batch(now)))
        self._fewer_until = now + _REFUSAL_S

    def blame(self, trouble: Trouble, started: float, now: float) -> bool:
        """Let it rest after ``trouble``, twice as long each time in a row; True when that is news.

        Requests that set off (``started``) before the last trouble met the same one, and count once.
        """
        if trouble.retry_after_s:
            self._rest_until = max(self._rest_until, now + trouble.retry_after_s)
        if started < self._troubled_at:
            return False
        self.troubles += 1
        self._troubled_at = now
        if trouble.kind is Kind.DROPPED and self.troubles == 1:
            return False
        if not trouble.retry_after_s:
            # Jitter of 1 is full jitter.
            rest = backoff_s(self.troubles, base_s=REST_BASE_S, cap_s=REST_CAP_S, jitter=1.0)
            self._rest_until = max(self._rest_until, now + rest)
        news, self._told = not self._told, True
        return news

    def praise(self, started: float) -> bool:
        """It answered a request that set off at ``started``; True when that is news."""
        if started < self._troubled_at:
            return False
        self.troubles = 0
        news, self._told = self._told, False
        return news

    def clean(self, error: RpcError) -> RpcError:
        """``error`` with nothing of the address in its message, should the node have quoted it."""
        for secret in self._secrets:
            error.message = error.message.replace(secret, MASK)
        error.message = redact(error.message)
        error.args = (error.code, error.message, error.data)
        return error


def lanes(endpoints: Sequence[Endpoint], batch: int) -> list[Lane]:
    """A lane an endpoint, in order of preference, each with a name of its own. Raises InvalidInput."""
    if not endpoints:
        raise InvalidInput("solana.rpc_url: no endpoint is given", field="solana.rpc_url")
    hosts: list[str] = []
    made: list[Lane] = []
    for endpoint in endpoints:
        host = host_of(check_url(endpoint.url, "solana.rpc_url", ("https", "http")))
        hosts.append(host)
        count = hosts.count(host)
        made.append(Lane(endpoint, host if count == 1 else f"{host} #{count}", batch))
    return made


def pick(candidates: Sequence[Lane], now: float, avoided: Collection[Lane] = ()) -> Lane | None:
    """The first that may be asked now; one that is back from a rest proves itself to one request before others follow.

    None when all rest or are ``avoided``.
    """
    awake = [lane for lane in candidates if lane.rest_s(now) <= 0 and lane not in avoided]
    for lane in awake:
        if not (lane.troubles and lane.busy):
            return lane
    return awake[0] if awake else None


def _secrets(url: str) -> list[str]:
    parts = urlsplit(url)
    found: list[Any] = [parts.username, parts.password, parts.path.strip("/"), parts.query]
    found += parts.path.split("/") + [value for _, value in parse_qsl(parts.query)]
    texts = {text for each in found if each for text in (each, unquote(each))}
    # The longest first, or a part's mask would hide the whole from its own.
    return sorted((text for text in texts if len(text) >= _SHORTEST_SECRET), key=len, reverse=True)
