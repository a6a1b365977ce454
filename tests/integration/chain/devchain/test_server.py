from __future__ import annotations

import asyncio
import socket as sockets

import httpx
import pytest

from app.chain.devchain import ChainConfig, DevChain, serve
from tests.integration.chain.devchain.clients import ask, socket, until


async def test_slots_advance_by_themselves() -> None:
    async with serve(ChainConfig(slot_ms=5)) as served:
        await until(lambda: served.chain.slot > 5)
        async with httpx.AsyncClient(base_url=served.url) as client:
            before = await ask(client, "getSlot", {"commitment": "processed"})
            await until(lambda: served.chain.slot > before + 3)
    slot = served.chain.slot
    await asyncio.sleep(0)
    assert served.chain.slot == slot


async def test_websockets_are_on_the_next_port() -> None:
    async with serve(ChainConfig(slot_ms=0)) as served:
        port, ws_port = (int(url.rsplit(":", 1)[1]) for url in (served.url, served.ws_url))
        assert ws_port == port + 1


async def test_a_chain_lives_longer_than_its_server() -> None:
    chain = DevChain(ChainConfig(slot_ms=0))
    for _ in range(2):
        async with serve(chain) as served, socket(served) as one:
            assert await one.ask("slotSubscribe")
            chain.advance()
            await one.next()
        assert chain.observers == []
    assert chain.slot == 3


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
async def test_only_this_machine_may_come(host: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        async with serve(ChainConfig(slot_ms=0), host=host):
            pass


async def test_localhost_and_ipv6_are_this_machine() -> None:
    async with serve(ChainConfig(slot_ms=0), host="localhost") as served:
        assert served.url.startswith("http://127.0.0.1:")
    async with (
        serve(ChainConfig(slot_ms=0), host="::1") as served,
        httpx.AsyncClient(base_url=served.url) as client,
        socket(served) as one,
    ):
        assert await ask(client, "getHealth") == "ok"
        assert await one.ask("slotSubscribe")


async def test_ports_that_are_taken() -> None:
    with sockets.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            async with serve(ChainConfig(slot_ms=0), port=port):
                pass
        with pytest.raises(OSError, match="in use"):
            async with serve(ChainConfig(slot_ms=0), port=port - 1):
                pass
