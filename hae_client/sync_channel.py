# Generated from aio_channel.py by ``python -m hae_client.generate``: edit that one.
"""What carries the calls: connections, retries, streams that come back."""

from __future__ import annotations

import time
from collections.abc import Generator
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from hae_client.calls import Call
from hae_client.config import access
from hae_client.errors import ApiError, HypernodeError, api_error
from hae_client.retry import PAUSE_S, Tries
from hae_client.sse import Event, Reader
from hae_client.version import AGENT

SILENCE_S = 45.0
"""A stream that is silent for that long is broken: the server sends a comment every 15 seconds."""
_LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=100)
"""Each wait and each stream holds a connection; more of them than that take turns."""

Answer = TypeVar("Answer")


class Channel:
    """One server, as one key. See Client for the arguments."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retry_for_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.access = access(url, key)
        self.timeout_s = timeout_s
        self.retry_for_s = retry_for_s
        self._http = httpx.Client(
            base_url=self.access.url,
            headers={"User-Agent": AGENT, **self.access.headers()},
            limits=_LIMITS,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def follow(self, path: str, query: dict[str, Any], after: int) -> Generator[Event, None]:
        """The events of a stream behind the position ``after``, until it has no more. Raises ApiError for a refusal,
        Unreachable when no connection could be made for ``retry_for_s`` seconds."""
        reader, tries = Reader(after), Tries(self.retry_for_s)
        timeout = httpx.Timeout(self.timeout_s, read=SILENCE_S, pool=None)
        while True:
            headers = {"Accept": "text/event-stream"}
            if reader.after:
                headers["Last-Event-ID"] = str(reader.after)
            # What a broken connection left half told is told again by the next.
            reader = Reader(reader.after)
            try:
                with self._http.stream("GET", path, params=query, headers=headers, timeout=timeout) as answer:
                    if answer.status_code == 204:
                        return
                    if answer.status_code != 200:
                        content = answer.read()
                        raise api_error(answer.status_code, content, answer.headers.get("retry-after", ""))
                    tries.succeeded()
                    before = reader.after
                    for chunk in answer.iter_bytes():
                        yield from reader.feed(chunk)
                    pause = max(reader.retry_s, PAUSE_S if reader.after == before else 0.0)
            except (httpx.RequestError, HypernodeError) as error:
                pause = tries.again_in(error)
            time.sleep(pause)

    def do(self, call: Call[Answer]) -> Answer:
        """Carry a call out, more than once if need be and if that does no harm."""
        answer = self.send(call)
        return call.read(answer.status_code, answer.content)

    def send(self, call: Call[Any]) -> httpx.Response:
        """The first answer that is none to try again after. Raises ApiError for a refusal, Unreachable without any."""
        tries = Tries(self.retry_for_s, call.repeatable)
        request = call.request()
        timeout = httpx.Timeout(self.timeout_s, read=self.timeout_s + call.wait_s, pool=None)
        while True:
            try:
                answer = self._http.request(**request, timeout=timeout)
                if answer.is_success:
                    return answer
                raise api_error(answer.status_code, answer.content, answer.headers.get("retry-after", ""))
            except (httpx.RequestError, ApiError) as error:
                pause = tries.again_in(error)
            time.sleep(pause)
