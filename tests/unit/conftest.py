"""Unit tests open no socket."""

from __future__ import annotations

import socket
from typing import NoReturn

import pytest


@pytest.fixture(autouse=True)
def _no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    # Creating one stays allowed: every event loop wakes itself through a socket pair.
    def refuse(*_: object, **__: object) -> NoReturn:
        raise RuntimeError("a unit test tried to use a socket: move it to tests/integration")

    for method in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, method, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
