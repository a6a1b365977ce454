from __future__ import annotations

import asyncio

import httpcore
import pytest

from app.webhooks.guard import Guard, RefusedError


def answering(*addresses: str) -> Guard:
    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return Guard(resolve=resolve)


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["2606:4700::1111", "::1"], ["169.254.169.254"]],
)
async def test_one_bad_address_refuses_the_name(addresses: list[str]) -> None:
    with pytest.raises(RefusedError) as caught:
        await answering(*addresses).connect_tcp("rebind.example", 443, timeout=1)
    assert not any(address in str(caught.value) for address in addresses)
    assert "rebind" not in str(caught.value)


async def test_a_name_without_addresses_cannot_be_reached() -> None:
    with pytest.raises(httpcore.ConnectError):
        await answering().connect_tcp("nothing.example", 443, timeout=1)


async def test_ports_outside_the_list_are_refused() -> None:
    guard = Guard(ports=[443])
    with pytest.raises(RefusedError, match="port"):
        await guard.connect_tcp("hooks.example", 22, timeout=1)


async def test_unix_sockets_are_refused() -> None:
    with pytest.raises(RefusedError):
        await Guard().connect_unix_socket("/run/docker.sock")


async def test_a_look_up_that_hangs_ends_in_a_timeout() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(httpcore.ConnectTimeout):
        await Guard(resolve=never).connect_tcp("slow.example", 443, timeout=0.01)


async def test_a_look_up_that_fails_cannot_be_reached() -> None:
    async def fails(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(httpcore.ConnectError):
        await Guard(resolve=fails).connect_tcp("gone.example", 443, timeout=1)
