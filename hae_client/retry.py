"""When a call is sent again, and after how long; and how long a wait goes on."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, field

import httpx

from hae_client.calls import LONGEST_WAIT_S
from hae_client.errors import ApiError, HypernodeError, Unreachable

log = logging.getLogger("hae_client")
"""Tells, as information, of calls that are tried again."""

_BASE_S = 0.25
_CAP_S = 8.0
PAUSE_S = 0.5
"""Before asking again for what ended early for no reason known."""
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
"""The request has not left."""
_HOPELESS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.TooManyRedirects, httpx.DecodingError)


@dataclass(slots=True)
class Tries:
    """The tries of one call, or those of a stream to come back.

    ``for_s``: seconds from the first failure in which it is tried again. ``repeatable``: whether it may be, although it
    may have been carried out.
    """

    for_s: float
    repeatable: bool = True
    _failed: int = 0
    _since: float = field(default=0.0)

    def again_in(self, error: HypernodeError | httpx.RequestError) -> float:
        """Seconds until the next try. Raises when there is none: an ApiError as it came, else Unreachable."""
        now = time.monotonic()
        if not self._failed:
            self._since = now
        self._failed += 1
        # Half of each pause is left to chance, lest all clients of a server that restarts come back at once.
        pause = min(_CAP_S, _BASE_S * 2.0 ** min(self._failed - 1, 30)) * random.uniform(0.5, 1.0)
        if isinstance(error, ApiError):
            pause = max(pause, error.retry_after or 0.0)
        if not self._worth(error) or now + pause > self._since + self.for_s:
            if isinstance(error, HypernodeError):
                raise error
            raise Unreachable(_told(error)) from error
        if self._failed == 1:
            log.info(
                "%s; trying again for %g s", error if isinstance(error, HypernodeError) else _told(error), self.for_s
            )
        return pause

    def succeeded(self) -> None:
        """A failure from here on is a first one."""
        self._failed = 0

    def _worth(self, error: HypernodeError | httpx.RequestError) -> bool:
        if isinstance(error, HypernodeError):
            return error.retryable and self.repeatable
        return not isinstance(error, _HOPELESS) and (self.repeatable or isinstance(error, _UNSENT))


def _told(error: httpx.RequestError) -> str:
    url = error.request.url
    return f"no answer from {url.scheme}://{url.netloc.decode()}: {str(error) or type(error).__name__}"


class Patience:
    """How much of a wait is left, in long-polls."""

    def __init__(self, timeout_s: float | None) -> None:
        self._until = None if timeout_s is None else time.monotonic() + timeout_s
        self._asked_at = 0.0

    def next_s(self) -> float:
        """What the next long-poll asks for, in seconds."""
        self._asked_at = time.monotonic()
        left = LONGEST_WAIT_S if self._until is None else self._until - self._asked_at
        return min(LONGEST_WAIT_S, max(0.0, left))

    def over(self) -> bool:
        return self._until is not None and time.monotonic() >= self._until

    def pause_s(self, asked_s: float) -> float:
        """A server that shuts down answers waits at once: it is not asked again at once."""
        return PAUSE_S if time.monotonic() - self._asked_at < min(asked_s, PAUSE_S) else 0.0
