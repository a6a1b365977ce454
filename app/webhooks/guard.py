"""The SSRF guard: where the HTTP client's connections come from.

A name is resolved once; every address it has must be allowed, and one of these very addresses is dialled,
so that a second answer of the name server cannot lead elsewhere. Host header and SNI keep the name. There
is no way around: the client's pool gets no other backend, no proxy, and follows no redirect.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor

import httpcore

from app.webhooks.networks import AddressPolicy

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""All addresses of a host, in the order of preference; raises OSError when there are none."""

_MAX_DIALS = 4
_LOOKUP_THREADS = 16


class RefusedError(Exception):
    """The receiver may not be dialled. The text says why without naming host, address or URL."""


class Resolver:
    """getaddrinfo in threads of its own: a name server that hangs must not use up the process's common
    threads.

    Concurrent look-ups of one host share a thread, so a hanging name holds one, however many wait for it.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUP_THREADS, thread_name_prefix="hae-webhook-dns")
        self._running: dict[str, asyncio.Future[list[str]]] = {}

    async def __call__(self, host: str, port: int) -> list[str]:
        lookup = self._running.get(host)
        if lookup is None:
            lookup = asyncio.get_running_loop().run_in_executor(self._threads, _lookup, host)
            self._running[host] = lookup
            lookup.add_done_callback(lambda _: self._running.pop(host, None))
        return await asyncio.shield(lookup)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _lookup(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError("not a host name") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Guard(httpcore.AsyncNetworkBackend):
    """httpcore's network backend that dials vetted addresses only; unix sockets never.

    ``allow_networks``: see AddressPolicy. ``ports``: those that may be dialled, empty for any. Raises
    RefusedError for a receiver that may not be dialled, httpcore's ConnectError or ConnectTimeout for one
    that cannot be.
    """

    def __init__(
        self,
        allow_networks: Iterable[str] = (),
        ports: Collection[int] = (),
        resolve: Resolve | None = None,
    ) -> None:
        self._policy = AddressPolicy(allow_networks)
        self._ports = frozenset(ports)
        self._resolver = Resolver()
        self._resolve = resolve or self._resolver
        self._dial = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        deadline = None if timeout is None else time.monotonic() + timeout
        addresses = await self._allowed(host, port, timeout)
        return await self._dial_one_of(addresses, port, deadline, local_address, socket_options)

    async def check(self, host: str, port: int, timeout_s: float) -> None:
        """Find out whether a receiver may be dialled, without dialling it: raises as connect_tcp does.

        It is checked again whenever it is dialled, for its name may lead elsewhere by then.
        """
        await self._allowed(host, port, timeout_s)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise RefusedError("unix sockets are not dialled")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def close(self) -> None:
        self._resolver.close()

    async def _allowed(self, host: str, port: int, timeout_s: float | None) -> list[str]:
        """The host's addresses, once all of them may be dialled."""
        if self._ports and port not in self._ports:
            raise RefusedError("the receiver's port is not among those allowed")
        try:
            async with asyncio.timeout(timeout_s):
                addresses = await self._resolve(host, port)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("name look-up timed out") from error
        except OSError as error:
            raise httpcore.ConnectError("name not found") from error
        return self._vetted(addresses)

    def _vetted(self, addresses: list[str]) -> list[str]:
        for address in addresses:
            kind = self._policy.why_refused(address)
            if kind is not None:
                raise RefusedError(f"the receiver has an address that is not public ({kind})")
        return addresses[:_MAX_DIALS]

    async def _dial_one_of(
        self,
        addresses: list[str],
        port: int,
        deadline: float | None,
        local_address: str | None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = httpcore.ConnectError("name has no address")
        for position, address in enumerate(addresses):
            # An even share of the time that is left: a first address that swallows packets leaves some to
            # the next.
            share = None
            if deadline is not None:
                share = max(0.0, deadline - time.monotonic()) / (len(addresses) - position)
            try:
                return await self._dial.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure
