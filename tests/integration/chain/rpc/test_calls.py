"""Single calls to nodes that behave, misbehave and lie, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import logging
import traceback
from typing import Any

import pytest

from app.chain.rpc import (
    Endpoint,
    RpcClient,
    RpcError,
    RpcUnavailable,
    transport,
)
from app.core.errors import InvalidInput, Unavailable
from tests.integration.chain.rpc.conftest import TROUBLES, Clients
from tests.support.receiver import Answer, Receiver
from tests.support.rpc_server import RpcFault, RpcServer, error, ok

WAIT_S = 20.0


async def test_calls_share_one_kept_connection(node: RpcServer, client_of: Clients) -> None:
    client = client_of(node)
    assert [await client.call("echo", [n]) for n in range(50)] == list(range(50))
    assert node.receiver.connections == 1
    numbers = [body["id"] for body in node.bodies]
    assert len(set(numbers)) == 50
    assert node.bodies[0] | {"id": 0} == {"jsonrpc": "2.0", "id": 0, "method": "echo", "params": [0]}
    headers = node.receiver.received[0].headers
    assert headers["content-type"] == "application/json"
    assert headers["host"] == f"127.0.0.1:{node.receiver.port}"


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
async def test_trouble_that_passes_is_waited_out(node: RpcServer, client_of: Clients, trouble: Any) -> None:
    node.script += [trouble, trouble]
    assert await client_of(node).slot() == 7
    assert len(node.bodies) == 3


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
async def test_trouble_that_stays_is_left_to_the_next(
    node: RpcServer, other: RpcServer, client_of: Clients, trouble: Any
) -> None:
    node.always = trouble
    client = client_of(node, other)
    assert [await client.slot() for _ in range(5)] == [8] * 5


@pytest.mark.parametrize(
    "limit",
    [
        Answer(429, {"retry-after": "30"}),
        lambda body: ok({"error": {"code": 429, "message": "slow down"}}, retry_after="30"),
        lambda body: ok({"id": body["id"], "error": {"code": -32005, "message": "behind"}}, retry_after="30"),
    ],
)
async def test_who_asks_for_a_rest_gets_it(node: RpcServer, other: RpcServer, client_of: Clients, limit: Any) -> None:
    node.always = limit
    client = client_of(node, other)
    assert [await client.slot() for _ in range(20)] == [8] * 20
    assert len(node.bodies) == 1


async def test_the_preferred_endpoint_is_tried_again_after_its_rest(
    node: RpcServer, other: RpcServer, client_of: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.chain.rpc")
    node.script += [Answer(502)] * 3
    client = client_of(node, other)
    answers: list[int] = []
    async with asyncio.timeout(WAIT_S):
        while not answers or answers[-1] != 7:
            answers.append(await client.slot())
    assert answers[0] == 8
    assert len(node.bodies) == 4
    told = [record.getMessage() for record in caplog.records if record.name.startswith("app.chain.rpc")]
    assert len(told) == 2
    host = f"127.0.0.1:{node.receiver.port}"
    assert told[0].startswith(f"Solana RPC {host}: HTTP 502; it rests for ")
    assert told[1] == f"Solana RPC {host} answers again"


async def test_a_server_that_is_gone_is_left_to_the_next(other: RpcServer, client_of: Clients) -> None:
    async with RpcServer() as gone:
        url = gone.url
    assert await client_of(Endpoint(url), other).slot() == 8


async def test_a_kept_connection_that_was_closed_meanwhile_costs_nothing(node: RpcServer, client_of: Clients) -> None:
    client = client_of(node, tries=2)
    assert await client.slot() == 7
    node.script.append(Answer(raw=b""))
    assert await client.slot() == 7
    assert len(node.bodies) == 3


async def test_silence_is_left_to_the_next(node: RpcServer, other: RpcServer, client_of: Clients) -> None:
    node.always = Answer(wait_for=asyncio.Event())
    assert await client_of(node, other, timeout_s=0.3).slot() == 8


DRIPS = [Answer(body=b" ", endless=True, drip_s=0.01), Answer(raw=b"H", endless=True, drip_s=0.01)]


@pytest.mark.parametrize("drip", DRIPS)
async def test_an_answer_that_drips_for_ever_times_out(
    node: RpcServer, other: RpcServer, client_of: Clients, drip: Answer
) -> None:
    node.always = drip
    assert await client_of(node, other, timeout_s=0.3).slot() == 8


@pytest.mark.parametrize("tries", [1, 4])
async def test_tries_are_counted(node: RpcServer, client_of: Clients, tries: int) -> None:
    node.always = Answer(502)
    with pytest.raises(RpcUnavailable) as caught:
        await client_of(node, tries=tries).slot()
    assert len(node.bodies) == tries
    assert isinstance(caught.value, Unavailable)
    assert caught.value.retryable


async def test_a_rest_that_outlasts_our_patience_is_not_waited_for(
    node: RpcServer, other: RpcServer, client_of: Clients
) -> None:
    node.always, other.always = Answer(429, {"retry-after": "50"}), Answer(429, {"retry-after": "40"})
    client = client_of(node, other, timeout_s=2.0)
    with pytest.raises(RpcUnavailable) as caught:
        await client.slot()
    assert (len(node.bodies), len(other.bodies)) == (1, 1)
    assert caught.value.retry_after == pytest.approx(40.0, abs=5.0)
    with pytest.raises(RpcUnavailable):
        await client.slot()
    assert (len(node.bodies), len(other.bodies)) == (1, 1)


async def test_when_all_rest_the_shortest_rest_is_waited_for(
    node: RpcServer, other: RpcServer, client_of: Clients
) -> None:
    node.script += [Answer(429, {"retry-after": "60"})]
    other.script += [Answer(429, {"retry-after": "0.05"})]
    assert await client_of(node, other).slot() == 8
    assert (len(node.bodies), len(other.bodies)) == (1, 2)


@pytest.mark.parametrize("code", [-32002, -32003, -32007, -32600, -32601, -32602, -32015, -31999, 5])
async def test_a_nodes_error_is_the_answer(node: RpcServer, other: RpcServer, client_of: Clients, code: int) -> None:
    data = {"err": {"NoSuchVariant": [{"yet": 1}]}, "logs": ["one", "two"]}
    node.always = lambda body: error(body, code, data=data)
    with pytest.raises(RpcError) as caught:
        await client_of(node, other).call("sendTransaction", ["…"])
    assert (caught.value.code, caught.value.message, caught.value.data) == (code, "told so", data)
    assert (len(node.bodies), len(other.bodies)) == (1, 0)


async def test_a_request_that_every_node_fails_at_gets_their_error_and_hurts_no_other(
    node: RpcServer, other: RpcServer, client_of: Clients
) -> None:
    def poison(value: Any) -> Any:
        raise RpcFault(-32603, "Internal error")

    node.methods["poison"] = other.methods["poison"] = poison
    client = client_of(node, other)
    with pytest.raises(RpcError, match="Internal error"):
        await client.call("poison", [1])
    assert (len(node.bodies), len(other.bodies)) == (2, 1)
    assert await client.slot() == 7


async def test_who_has_not_reached_the_slot_leaves_it_to_the_next_without_a_rest(
    node: RpcServer, other: RpcServer, client_of: Clients
) -> None:
    def behind(value: Any, config: Any) -> Any:
        assert config == {"minContextSlot": 5}
        raise RpcFault(-32016, "Minimum context slot has not been reached")

    node.methods["echo"] = behind
    other.methods["echo"] = lambda value, config: config["minContextSlot"]
    client = client_of(node, other)
    assert await client.call("echo", [1], min_slot=5) == 5
    assert await client.slot() == 7


async def test_the_slot_joins_the_configuration_that_is_there(node: RpcServer, client_of: Clients) -> None:
    node.methods["echo"] = lambda *params: params
    client = client_of(node)
    assert await client.call("echo", ["a", {"b": 1}], min_slot=0) == ["a", {"b": 1, "minContextSlot": 0}]
    assert await client.call("echo", [], min_slot=3) == [{"minContextSlot": 3}]
    assert await client.call("echo", ["a", {"b": 1}]) == ["a", {"b": 1}]


async def test_answers_may_be_compressed(node: RpcServer, client_of: Clients) -> None:
    def packed(body: Any) -> Answer:
        plain = node.well(body)
        return Answer(200, {"content-encoding": "gzip"}, gzip.compress(plain.body))

    node.script.append(packed)
    assert await client_of(node).call("echo", ["x" * 10_000]) == "x" * 10_000
    assert node.receiver.received[0].headers["accept-encoding"] == "gzip"


async def test_an_answer_without_end_is_cut(
    node: RpcServer, client_of: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 100_000)
    node.script += [Answer(body=b" " * 10_000, endless=True)] * 3
    with pytest.raises(RpcError, match="too large"):
        await client_of(node).slot()
    assert await client_of(node).slot() == 7
    assert node.receiver.sent_bytes < 50_000_000


async def test_proxies_of_the_environment_are_not_used(
    node: RpcServer, client_of: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await client_of(node).slot() == 7


async def test_keys_in_addresses_are_in_no_log_and_no_error(
    client_of: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = ("s3cr3tkey", "s3cr3tpath", "s3cr3tword", "s3cr3tuser")

    def tell(request: Any) -> Answer:
        assert request.path == "/s3cr3tpath?api-key=s3cr3tkey"
        quoted = f"no access with {request.path} for s3cr3tuser"
        answers = [
            Answer(502),
            Answer(raw=b""),
            Answer(429, {"retry-after": "0"}),
            error(request.json, -32000, quoted),
        ]
        return answers[len(receiver.received) - 1]

    async with Receiver(tell) as receiver:
        url = receiver.url("/s3cr3tpath?api-key=s3cr3tkey").replace("http://", "http://s3cr3tuser:s3cr3tword@")
        with pytest.raises(RpcError) as refused:
            await client_of(Endpoint(url)).slot()
        receiver.answer = Answer(502)
        with pytest.raises(RpcUnavailable) as failed:
            await client_of(Endpoint(url), tries=2).slot()
    assert f"127.0.0.1:{receiver.port}: HTTP 502" in failed.value.detail
    shown = caplog.text + "".join(
        "".join(traceback.format_exception(each.value)) + repr(each.value) for each in (refused, failed)
    )
    assert not [secret for secret in secrets if secret in shown]


def test_a_bad_address_is_refused_at_once() -> None:
    with pytest.raises(InvalidInput, match=r"solana\.rpc_url"):
        RpcClient([Endpoint("api.example/s3cr3t")])
    with pytest.raises(InvalidInput, match=r"solana\.rpc_url"):
        RpcClient([])


async def test_a_closed_client_answers_nothing_any_more(node: RpcServer, client_of: Clients) -> None:
    client = client_of(node)
    node.always = Answer(wait_for=asyncio.Event())
    under_way = asyncio.create_task(client.slot())
    await node.receiver.until(1)
    await client.close()
    async with asyncio.timeout(WAIT_S):
        with pytest.raises(RpcUnavailable):
            await under_way
        with pytest.raises(RpcUnavailable, match="closed"):
            await client.slot()
    assert len(node.bodies) == 1


async def test_a_cancelled_call_leaves_nothing_behind(node: RpcServer, client_of: Clients) -> None:
    client = client_of(node)
    node.always = Answer(wait_for=asyncio.Event())
    under_way = [asyncio.create_task(client.call("echo", [n])) for n in range(10)]
    await node.receiver.until(10)
    for task in under_way:
        task.cancel()
    await asyncio.gather(*under_way, return_exceptions=True)
    node.always = None
    assert await client.slot() == 7
