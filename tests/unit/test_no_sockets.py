"""The guard that keeps unit tests off the network holds."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

REFUSED = "tried to use a socket"


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_connecting_and_binding_are_refused(family: socket.AddressFamily, tmp_path: Path) -> None:
    address = str(tmp_path / "s") if family == socket.AF_UNIX else ("localhost", 1)
    with socket.socket(family) as created:
        with pytest.raises(RuntimeError, match=REFUSED):
            created.connect(address)
        with pytest.raises(RuntimeError, match=REFUSED):
            created.bind(address)


def test_resolving_a_name_is_refused() -> None:
    with pytest.raises(RuntimeError, match=REFUSED):
        socket.create_connection(("localhost", 1))


async def test_asyncio_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=REFUSED):
        await asyncio.open_connection("127.0.0.1", 1)
    with pytest.raises(RuntimeError, match=REFUSED):
        await asyncio.open_unix_connection(tmp_path / "s")
