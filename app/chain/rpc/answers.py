"""What an HTTP answer means: results, the node's errors, or trouble. Nothing here raises, whatever was sent.

Codes: Agave's rpc-client-api/src/custom_error.rs, JSON-RPC 2.0 section 5.1, and those that providers made up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from app.chain.rpc.errors import RpcError
from app.chain.rpc.trouble import Kind, Trouble

MAX_RETRY_AFTER_S: Final = 60.0
"""An endpoint can be left alone at its own wish for a minute at a time, no longer."""

_LONGEST_MESSAGE = 1000

_LIMITED = frozenset({429, -32429})
_NODE_UNHEALTHY = -32005
"""Behind, by Agave; "limit exceeded" with several providers. With data, with null, or without."""
_MIN_CONTEXT_SLOT = -32016
_DOUBTFUL = frozenset({-32603, -32011, -32012, -32019})
"""Internal error, no transaction history here, scan error, long-term storage unreachable."""
_LIMIT_WORDS = re.compile(r"rate.?limit|too many requests|request limit|requests per second", re.IGNORECASE)

_BATCH_REFUSED = frozenset({400, 402, 403, 405, 413, 415, 422, 501})
_TOO_LARGE = 413

_NOT_JSON: Final = object()


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer; ``retry_after``: the header as it came, "" for none."""

    status: int
    retry_after: str
    body: bytes


Answer = Any
"""A result (any JSON), an RpcError, or a Trouble."""


def single(reply: Reply, number: int) -> Answer:
    """The answer to request ``number``."""
    wait = retry_after(reply.retry_after)
    if reply.status == 429:
        return Trouble(Kind.LIMITED, "HTTP 429", wait)
    message = _json(reply.body)
    if isinstance(message, dict):
        said, error = message.get("id"), message.get("error")
        # Who refuses before reading the request cannot know its id.
        if error is not None and (said is None or _is(said, number)):
            return of_error(error, wait)
        if "result" in message and error is None and reply.status < 300:
            return message["result"] if _is(said, number) else Trouble(Kind.BROKEN, "an answer to another request")
    if reply.status == _TOO_LARGE:
        return RpcError(_TOO_LARGE, "the request is too large (HTTP 413)")
    return _of_status(reply, wait, message)


def batch(reply: Reply, first: int, count: int) -> list[Answer] | Trouble:
    """The answers to requests ``first`` to ``first + count - 1``, in that order, or trouble with all of them."""
    wait = retry_after(reply.retry_after)
    if reply.status == 429:
        return Trouble(Kind.LIMITED, "HTTP 429", wait)
    message = _json(reply.body)
    if isinstance(message, list):
        return _matched(message, first, count, wait)
    if isinstance(message, dict) and message.get("error") is not None:
        error = of_error(message["error"], wait)
        if isinstance(error, Trouble) and error.kind in (Kind.LIMITED, Kind.BEHIND):
            return error
        return Trouble(Kind.REFUSED, "batch refused")
    if reply.status in _BATCH_REFUSED:
        return Trouble(Kind.REFUSED, f"batch refused (HTTP {reply.status})")
    return _of_status(reply, wait, message)


def of_error(error: Any, wait: float | None = None) -> RpcError | Trouble:
    """A JSON-RPC error object as what it means. Codes nobody knows are the node's final word."""
    code = _code(error)
    if code is None:
        return Trouble(Kind.BROKEN, "an error without a code", wait)
    message = str(error.get("message", ""))[:_LONGEST_MESSAGE]
    if code in _LIMITED or _LIMIT_WORDS.search(message):
        return Trouble(Kind.LIMITED, f"rate limited ({code})", wait)
    if code == _NODE_UNHEALTHY:
        return Trouble(Kind.LIMITED, f"behind or rate limited ({code})", wait)
    if code == _MIN_CONTEXT_SLOT:
        return Trouble(Kind.BEHIND, f"has not reached the slot ({code})")
    said = RpcError(code, message, error.get("data"))
    return Trouble(Kind.DOUBTFUL, f"failed at the request ({code})", error=said) if code in _DOUBTFUL else said


def _matched(messages: list[Any], first: int, count: int, wait: float | None) -> list[Answer] | Trouble:
    missing = Trouble(Kind.MISSING, "an answer is missing")
    found: list[Any] = [missing] * count
    stray: RpcError | Trouble | None = None
    matched = False
    for message in messages:
        if not isinstance(message, dict):
            continue
        number, error = message.get("id"), message.get("error")
        if type(number) is not int or not 0 <= number - first < count:
            stray = stray or (of_error(error, wait) if error is not None else None)
            continue
        if found[number - first] is not missing or (error is None and "result" not in message):
            continue
        found[number - first] = message["result"] if error is None else of_error(error, wait)
        matched = True
    if matched or stray is None:
        return found
    if isinstance(stray, Trouble) and stray.kind is Kind.LIMITED:
        return stray
    return Trouble(Kind.REFUSED, "batch refused")


def _of_status(reply: Reply, wait: float | None, message: Any) -> Trouble:
    if reply.status >= 300:
        return Trouble(Kind.BROKEN, f"HTTP {reply.status}", wait)
    if not reply.body:
        return Trouble(Kind.BROKEN, "an empty answer", wait)
    return Trouble(Kind.BROKEN, "not JSON" if message is _NOT_JSON else "not JSON-RPC", wait)


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _NOT_JSON


def _is(said: Any, number: int) -> bool:
    return type(said) is int and said == number


def _code(error: Any) -> int | None:
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, bool) or not isinstance(code, int | float | str):
        return None
    try:
        return int(code)
    except (ValueError, OverflowError):
        return None


def retry_after(text: str) -> float | None:
    """A Retry-After header in seconds, capped (RFC 9110, 10.2.3: a number or a date); None for nothing readable."""
    text = text.strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
    # NaN compares false with everything.
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S) if seconds == seconds else None
