"""A server for a local chain: JSON-RPC over HTTP, subscriptions over WebSocket on the next port."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from websockets.asyncio import server as websockets_server

from app.chain.devchain import methods  # noqa: F401
from app.chain.devchain.chain import DevChain
from app.chain.devchain.config import ChainConfig
from app.chain.devchain.faults import Faults
from app.chain.devchain.http import HttpConnection
from app.chain.devchain.node import Node
from app.chain.devchain.websocket import SocketHub

_PORT_TRIES = 100
_MAX_SOCKET_MESSAGE = 1024 * 1024
# Refused handshakes and cut connections are what this server is for.
_quiet = logging.getLogger("app.chain.devchain.websockets")
_quiet.setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Served:
    """A chain that clients can reach while the context of ``serve`` is open."""

    url: str
    ws_url: str
    chain: DevChain
    faults: Faults
    node: Node


@asynccontextmanager
async def serve(
    chain: DevChain | ChainConfig | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Served]:
    """Serve ``chain`` (or a new one) on ``port`` and ``port + 1``; 0 finds a free pair.

    Slots advance by themselves unless the chain's ``slot_ms`` is 0. Raises ValueError for a ``host`` that other
    machines could reach, OSError for ports that are taken.
    """
    address = _loopback(host)
    if not isinstance(chain, DevChain):
        chain = DevChain(chain)
    node = Node(chain, Faults(chain.config.seed))
    hub = SocketHub(node)
    open_connections: set[HttpConnection] = set()
    async with AsyncExitStack() as stack:
        http_port = await _listen(stack, node, hub, open_connections, address, port)
        hub.open()
        stack.callback(hub.close)
        stack.callback(_abort, open_connections)
        if chain.config.slot_ms:
            ticking = asyncio.create_task(_tick(chain, chain.config.slot_ms / 1000))
            stack.push_async_callback(_stopped, ticking)
        shown = f"[{address}]" if ":" in address else address
        yield Served(f"http://{shown}:{http_port}", f"ws://{shown}:{http_port + 1}", chain, node.faults, node)


def _loopback(host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        if ipaddress.ip_address(host).is_loopback:
            return host
    except ValueError:
        pass
    raise ValueError(f"a local chain is served on loopback addresses only, not on {host}")


async def _listen(
    stack: AsyncExitStack,
    node: Node,
    hub: SocketHub,
    open_connections: set[HttpConnection],
    host: str,
    port: int,
) -> int:
    """Open both ports; answers the first."""
    loop = asyncio.get_running_loop()
    for attempt in range(_PORT_TRIES):
        http = await loop.create_server(lambda: HttpConnection(node, open_connections), host, port)
        taken: int = http.sockets[0].getsockname()[1]
        try:
            sockets = await websockets_server.serve(
                hub.serve,
                host,
                taken + 1,
                process_request=hub.admit,
                ping_interval=None,
                max_size=_MAX_SOCKET_MESSAGE,
                compression=None,
                server_header=None,
                logger=_quiet,
            )
        except (OSError, OverflowError) as error:
            http.close()
            if port or attempt == _PORT_TRIES - 1:
                raise OSError(f"port {taken + 1} for WebSockets: {error}") from error
            continue
        stack.push_async_callback(_closed, http, sockets)
        return taken
    raise OSError("no two free ports in a row")


def _abort(open_connections: set[HttpConnection]) -> None:
    for connection in list(open_connections):
        connection.abort()


async def _closed(http: asyncio.Server, sockets: websockets_server.Server) -> None:
    http.close()
    sockets.close()
    await http.wait_closed()
    await sockets.wait_closed()


async def _tick(chain: DevChain, period_s: float) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        # Slots missed while the loop was busy are not made up for.
        due = max(due + period_s, loop.time())
        await asyncio.sleep(due - loop.time())
        chain.advance()


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
