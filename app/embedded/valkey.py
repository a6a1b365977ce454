"""The embedded Valkey: wake-ups, live streams and caches only, so nothing is written to disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.embedded.errors import EmbeddedError, failed
from app.embedded.process import spawn, wait_until

if TYPE_CHECKING:
    from app.embedded.layout import Layout

_READY_TIMEOUT_S = 15.0
_STOP_WAIT_S = 10.0


def url(layout: Layout) -> str:
    """The server's URL, as redis-py takes it."""
    return f"unix://{layout.valkey_socket}"


def ensure_running(layout: Layout) -> None:
    """Uses the server that runs, or starts one; returns when it answers. The caller holds the start lock."""
    if answers(layout):
        return
    if layout.valkey_socket.exists() and not layout.valkey_socket.is_socket():
        raise EmbeddedError(f"{layout.valkey_socket} is in the way (hae's socket belongs there): move it")
    spawn(
        [layout.valkey_program, *_settings(layout)],
        account=layout.account,
        cwd=layout.sockets,
        log=layout.valkey_log,
    )
    if not wait_until(lambda: answers(layout), timeout_s=_READY_TIMEOUT_S):
        raise failed(f"Valkey did not come up in {layout.data_dir}", layout.valkey_log)


def answers(layout: Layout) -> bool:
    """Whether a server answers on the socket."""
    try:
        with _client(layout) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def shut_down(layout: Layout) -> None:
    """Stops the server; what it held is gone, and nothing is lost by that."""
    try:
        with _client(layout) as client:
            client.shutdown(nosave=True, now=True, force=True)
    except redis.ConnectionError:
        # It had ended already, or closed the connection by ending.
        return
    wait_until(lambda: not answers(layout), timeout_s=_STOP_WAIT_S)


def _client(layout: Layout) -> redis.Redis:
    # Whether a server is there is asked, not hoped for: the caller decides when to ask again.
    once = Retry(NoBackoff(), 0)
    return redis.Redis(unix_socket_path=str(layout.valkey_socket), socket_timeout=5.0, retry=once)


def _settings(layout: Layout) -> list[str]:
    settings = {
        "port": "0",
        "unixsocket": str(layout.valkey_socket),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "maxmemory": "256mb",
        # All it holds may go: evicting beats refusing writes.
        "maxmemory-policy": "allkeys-lru",
        "daemonize": "no",
        "loglevel": "warning",
    }
    return [part for name, value in settings.items() for part in (f"--{name}", value)]
