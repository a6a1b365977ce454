"""Batches: refused, cut short, shuffled, limited, too large and too slow."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from app.chain.rpc import (
    Endpoint,
    RpcError,
    RpcUnavailable,
    caller,
    endpoints,
    transport,
)
from tests.integration.chain.rpc.conftest import TROUBLES, Clients
from tests.support.receiver import Answer
from tests.support.rpc_server import RpcFault, RpcServer, error, ok


async def test_many_go_in_batches_and_come_back_in_order(node: RpcServer, client_of: Clients) -> None:
    client = client_of(node, batch=10)
    assert await client.many("echo", [[n] for n in range(95)]) == list(range(95))
    assert sorted(node.sizes) == [5, *[10] * 9]
    assert await client.many("echo", []) == []
    assert await client.many("echo", [["one"]]) == ["one"]
    # One alone needs no batch.
    assert node.sizes[-1] == 0


async def test_so_many_batches_are_under_way_at_once(node: RpcServer, client_of: Clients) -> None:
    go = asyncio.Event()
    node.always = lambda body: Answer(200, body=node.well(body).body, wait_for=go)
    running = asyncio.create_task(client_of(node, batch=10, concurrency=3).many("echo", [[n] for n in range(100)]))
    await node.receiver.until(3)
    go.set()
    assert await running == list(range(100))
    assert node.receiver.most_in_flight == 3


async def test_answers_are_matched_by_id_and_errors_are_the_items(node: RpcServer, client_of: Clients) -> None:
    def odd(value: int) -> int:
        if value % 2:
            raise RpcFault(-32009, f"Slot {value} was skipped", data={"unheard": value})
        return value

    node.methods["odd"] = odd
    node.always = lambda body: ok([node.reply(each) for each in reversed(body)])
    found = await client_of(node).many("odd", [[n] for n in range(10)])
    assert found[::2] == [0, 2, 4, 6, 8]
    assert [(each.code, each.data) for each in found[1::2]] == [(-32009, {"unheard": n}) for n in (1, 3, 5, 7, 9)]


REFUSALS: dict[str, Callable[[Any], Answer]] = {
    "HTTP 413": lambda body: Answer(413, body=b"<html>"),
    "HTTP 400": lambda body: Answer(400),
    "HTTP 403": lambda body: ok({"error": "batches are not in your plan"}, 403),
    "-32600": lambda body: error(body, -32600, "Invalid request"),
    "-32600 in HTTP 400": lambda body: error(body, -32600, status=400),
    "-32603": lambda body: error(body, -32603, "Internal error"),
    "a list of one error": lambda body: ok([{"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": ""}}]),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
async def test_who_takes_no_batches_is_asked_one_by_one(
    node: RpcServer, client_of: Clients, refusal: Callable[[Any], Answer]
) -> None:
    node.always = lambda body: refusal(body) if isinstance(body, list) else node.well(body)
    client = client_of(node, batch=8, concurrency=1)
    assert await client.many("echo", [[n] for n in range(20)]) == list(range(20))
    assert node.sizes == [8, 4, 2, *[0] * 20]
    # And that is remembered.
    assert await client.many("echo", [[n] for n in range(5)]) == list(range(5))
    assert node.sizes[23:] == [0] * 5


async def test_batches_that_are_too_large_are_halved(node: RpcServer, client_of: Clients) -> None:
    node.always = lambda body: Answer(413) if len(body) > 30 else node.well(body)
    assert await client_of(node, concurrency=1).many("echo", [[n] for n in range(150)]) == list(range(150))
    assert node.sizes == [100, 50, *[25] * 6]


async def test_batches_that_are_too_slow_are_halved(node: RpcServer, client_of: Clients) -> None:
    never = asyncio.Event()
    node.always = lambda body: Answer(wait_for=never) if isinstance(body, list) and len(body) > 30 else node.well(body)
    found = await client_of(node, concurrency=1, timeout_s=0.5).many("echo", [[n] for n in range(100)])
    assert found == list(range(100))
    assert node.sizes == [100, 50, *[25] * 4]


async def test_answers_that_are_too_large_are_halved(
    node: RpcServer, client_of: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 40_000)
    values = ["x" * 1000] * 99 + ["y" * 50_000]
    found = await client_of(node, concurrency=1).many("echo", [[value] for value in values])
    assert found[:99] == values[:99]
    # One that is too large by itself is an answer nobody can give.
    assert isinstance(found[99], RpcError)
    assert "too large" in found[99].message


async def test_missing_answers_are_asked_for_again(node: RpcServer, client_of: Clients) -> None:
    node.always = lambda body: (
        ok([node.reply(each) for each in body[: (len(body) + 1) // 2]]) if isinstance(body, list) else node.well(body)
    )
    assert await client_of(node, tries=2).many("echo", [[n] for n in range(100)]) == list(range(100))
    assert node.sizes == [100, 50, 25, 12, 6, 3, 0]


async def test_repeated_foreign_and_broken_answers_in_a_batch_change_nothing(
    node: RpcServer, client_of: Clients
) -> None:
    def noisy(body: Any) -> Answer:
        replies = [node.reply(each) for each in body]
        twice = [reply | {"result": "again"} for reply in replies]
        return ok([7, None, {}, {"id": 10**9, "result": "?"}, *replies, *twice, {"id": None, "error": "?"}])

    node.script.append(noisy)
    assert await client_of(node).many("echo", [[n] for n in range(10)]) == list(range(10))
    assert len(node.bodies) == 1


async def test_a_batch_without_one_answer_of_its_own_is_trouble(
    node: RpcServer, other: RpcServer, client_of: Clients
) -> None:
    node.always = lambda body: ok([])
    assert await client_of(node, other).many("echo", [[1], [2]]) == [1, 2]


async def test_a_rate_limit_within_a_batch_leaves_the_rest_of_it_to_the_next(
    node: RpcServer, other: RpcServer, client_of: Clients
) -> None:
    taken: list[Any] = []

    def few(value: Any) -> Any:
        if len(taken) == 60:
            raise RpcFault(429, "Too many requests")
        taken.append(value)
        return value

    node.methods["echo"] = few
    assert await client_of(node, other).many("echo", [[n] for n in range(100)]) == list(range(100))
    assert node.sizes[0] == 100
    assert other.sizes == [40]


@pytest.mark.parametrize(
    "trouble",
    [Answer(502), Answer(raw=b""), Answer(429), lambda body: error(body, 429), lambda body: error(body, -32005)],
)
async def test_a_batch_moves_to_the_next_endpoint_whole(
    node: RpcServer, other: RpcServer, client_of: Clients, trouble: Any
) -> None:
    node.always = trouble
    assert await client_of(node, other).many("echo", [[n] for n in range(10)]) == list(range(10))
    assert set(other.sizes) == {10}


async def test_one_item_that_nodes_fail_at_does_not_lose_the_others(node: RpcServer, client_of: Clients) -> None:
    def poison(value: int) -> int:
        if value == 13:
            raise RpcFault(-32603, "Internal error")
        return value

    node.methods["echo"] = poison
    found = await client_of(node).many("echo", [[n] for n in range(100)])
    assert isinstance(found[13], RpcError)
    assert [each for each in found if not isinstance(each, RpcError)] == [n for n in range(100) if n != 13]
    assert node.sizes == [100, 0, 0]


async def test_many_that_nobody_answers_raise_one_plain_error(node: RpcServer, client_of: Clients) -> None:
    node.always = Answer(502)
    with pytest.raises(RpcUnavailable, match="HTTP 502"):
        await client_of(node, tries=2, batch=5).many("echo", [[n] for n in range(100)])
    assert len(node.bodies) <= 2 * 4


async def test_a_rate_budget_holds_for_all_calls_together(node: RpcServer, client_of: Clients) -> None:
    client = client_of(Endpoint(node.url, 200.0))
    alone = [client.call("echo", [n]) for n in range(20)]
    together = client.many("echo", [[n] for n in range(100)])
    assert await asyncio.gather(*alone, together) == [*range(20), list(range(100))]


async def test_waiting_for_the_budget_is_no_failure(node: RpcServer, client_of: Clients) -> None:
    # Each waits longer than an exchange, and than the patience of three, may take.
    client = client_of(Endpoint(node.url, 20.0), timeout_s=0.25, concurrency=25, batch=1)
    assert await client.many("echo", [[n] for n in range(25)]) == list(range(25))


async def test_three_endpoints_that_all_misbehave_still_give_every_answer_once(
    client_of: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "REST_CAP_S", 0.02)
    monkeypatch.setattr(caller, "PAUSE_CAP_S", 0.02)
    chance = random.Random(20260101)
    troubles = [each for each in TROUBLES.values() if isinstance(each, Answer)]

    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(RpcServer({"echo": lambda value: value})) for _ in range(3)]

        def moody(node: RpcServer) -> Callable[[Any], Answer]:
            def answer(body: Any) -> Answer:
                mood = chance.random()
                if mood < 0.3:
                    return chance.choice(troubles)
                if mood < 0.4:
                    return error(body, chance.choice([429, -32005, -32016]))
                if mood < 0.5 and isinstance(body, list):
                    replies = [node.reply(each) for each in body if chance.random() < 0.7]
                    return ok(chance.sample(replies, len(replies)))
                return node.well(body)

            return answer

        for each in nodes:
            each.always = moody(each)
        client = client_of(*nodes, tries=50, batch=20)
        found = await asyncio.gather(
            *(client.many("echo", [[start + n] for n in range(100)]) for start in range(0, 1000, 100)),
            *(client.call("echo", [n]) for n in range(100)),
        )
    assert [each for part in found[:10] for each in part] == list(range(1000))
    assert found[10:] == list(range(100))
