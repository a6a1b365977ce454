"""Subscriptions on the wire, and what faults do to sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from solders.keypair import Keypair
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus

from app.chain.devchain import Served
from app.chain.devchain import websocket as module
from tests.integration.chain.devchain.clients import DEADLINE_S, Socket, ask, call, manual, socket, until

SOL = 10**9


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with manual() as served:
        yield served


async def test_notifications_arrive_in_order_after_the_answer(served: Served) -> None:
    async with socket(served) as one:
        logs = await one.ask("logsSubscribe", "all", {"commitment": "processed"})
        slots = await one.ask("slotSubscribe")
        landed = [served.chain.airdrop(Keypair().pubkey(), SOL) for _ in range(50)]
        served.chain.advance()
        told = [await one.next() for _ in range(51)]
        assert [each["subscription"] for each in told] == [logs] * 50 + [slots]
        assert [each["result"]["value"]["signature"] for each in told[:50]] == [str(each.signature) for each in landed]
        assert await one.ask("slotUnsubscribe", slots) is True
        served.chain.advance()
        assert await one.ask("logsUnsubscribe", logs) is True
        assert one.early == []


async def test_a_signature_that_has_landed_already(served: Served) -> None:
    signature = str(served.chain.airdrop(Keypair().pubkey(), SOL).signature)
    async with socket(served) as one:
        number = await one.ask("signatureSubscribe", signature, {"commitment": "processed"})
        told = await one.next()
        assert (told["subscription"], told["result"]["value"]) == (number, {"err": None})


async def test_bad_messages_are_answered(served: Served) -> None:
    async with socket(served) as one:
        await one.connection.send("{")
        assert (await one._receive())["error"]["code"] == -32700
        assert (await one.ask("getSlot"))["code"] == -32601
        assert (await one.ask("logsUnsubscribe", 99))["code"] == -32602
        await one.connection.send(b'[{"jsonrpc":"2.0","id":7,"method":"slotSubscribe"},5]')
        assert (await one._receive())["id"] == 7
        assert (await one._receive())["error"]["code"] == -32600


async def test_who_is_gone_is_forgotten(served: Served) -> None:
    async with socket(served) as one:
        await one.ask("slotSubscribe")
        observer = served.chain.observers[0]
        assert len(observer) == 1  # type: ignore[arg-type]
    await until(lambda: len(observer) == 0)  # type: ignore[arg-type]


async def test_who_cannot_keep_up_is_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_QUEUED", 20)
    async with socket(served) as one:
        await one.ask("slotSubscribe")
        served.chain.advance(50)
        with pytest.raises(ConnectionClosedError):
            await drained(one)


async def drained(one: Socket) -> None:
    """Read until there is no more."""
    while True:
        await one.next()


# Faults


async def test_sockets_are_closed_cleanly(served: Served) -> None:
    async with socket(served) as one, socket(served) as other:
        async with httpx.AsyncClient(base_url=served.url) as client:
            await ask(client, "devchain_setFaults", {"kind": "ws_close"})
        for each in (one, other):
            with pytest.raises(ConnectionClosedOK):
                await each._receive()
    async with socket(served) as again:
        assert await again.ask("slotSubscribe")


async def test_sockets_are_cut_off(served: Served) -> None:
    async with socket(served) as one:
        await one.ask("slotSubscribe")
        served.faults.add("ws_drop")
        with pytest.raises(ConnectionClosedError):
            await one._receive()


async def test_sockets_stay_open_and_dead(served: Served) -> None:
    async with socket(served) as one:
        number = await one.ask("slotSubscribe")
        pong = await one.connection.ping()
        async with asyncio.timeout(DEADLINE_S):
            await pong
        served.faults.add("ws_half_open")
        served.chain.advance(3)
        dead = await one.connection.ping()
        await one.connection.send(json.dumps(call("slotUnsubscribe", number)))
        async with socket(served) as other:
            # Time enough for an answer: another client has been served meanwhile, more than once.
            await other.ask("slotSubscribe")
            served.chain.advance()
            await other.next()
        assert isinstance(dead, asyncio.Future) and not dead.done()
        assert one.early == []
        assert one.connection.state.name == "OPEN"
        one.connection.transport.abort()


async def test_faults_may_wait_for_notifications(served: Served) -> None:
    async with socket(served) as one:
        await one.ask("slotSubscribe")
        served.faults.add("ws_drop", skip=2)
        served.chain.advance(1)
        assert (await one.next())["result"]["slot"] == served.chain.slot
        served.chain.advance(1)
        assert (await one.next())["result"]["slot"] == served.chain.slot
        served.chain.advance(1)
        with pytest.raises(ConnectionClosedError):
            await one.next()


async def test_new_sockets_are_refused(served: Served) -> None:
    served.faults.add("ws_refuse", count=1)
    with pytest.raises(InvalidStatus, match="503"):
        async with socket(served):
            pass
    async with socket(served) as one:
        assert await one.ask("slotSubscribe")


async def test_notifications_are_kept_back(served: Served) -> None:
    async with socket(served) as one:
        await one.ask("slotSubscribe")
        logs = await one.ask("logsSubscribe", "all", {"commitment": "processed"})
        served.faults.add("suppress", count=2, methods=["logsSubscribe"])
        served.chain.advance()
        landed = [served.chain.airdrop(Keypair().pubkey(), SOL) for _ in range(3)]
        assert (await one.next())["result"]["slot"] == served.chain.slot
        told = await one.next()
        assert told["subscription"] == logs
        assert told["result"]["value"]["signature"] == str(landed[2].signature)


async def test_logs_are_cut_alike_wherever_they_are_told(served: Served) -> None:
    async with socket(served) as one:
        await one.ask("logsSubscribe", "all", {"commitment": "processed"})
        served.faults.add("truncate_logs", value=0)
        served.chain.airdrop(Keypair().pubkey(), SOL)
        assert (await one.next())["result"]["value"]["logs"] == ["Log truncated"]


async def test_subscribing_may_fail_too(served: Served) -> None:
    served.faults.add("rpc_429", count=1, methods=["logsSubscribe"])
    async with socket(served) as one:
        assert (await one.ask("logsSubscribe", "all"))["code"] == 429
        assert isinstance(await one.ask("logsSubscribe", "all"), int)
