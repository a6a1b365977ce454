from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.chain.devchain import wire
from app.chain.devchain.errors import RpcError
from tests.unit.chain.devchain.chains import asking, manual

NODE = asking(manual())


def said(body: bytes) -> Any:
    """What the node answers to a body."""
    try:
        answer = wire.answer(NODE, wire.parse(body))
    except RpcError as error:
        answer = wire.failure(None, error)
    return msgspec.json.decode(answer) if answer else None


@pytest.mark.parametrize(
    ("body", "code", "number"),
    [
        (b"", -32700, None),
        (b"{", -32700, None),
        (b'{"jsonrpc":"2.0"', -32700, None),
        (b"\xff\xfe", -32700, None),
        (b"[" * 5000, -32700, None),
        (b"17", -32600, None),
        (b"[]", -32600, None),
        (b'"getSlot"', -32600, None),
        (b'{"id":1,"method":"getSlot"}', -32600, 1),
        (b'{"jsonrpc":"2.0","id":1}', -32600, 1),
        (b'{"jsonrpc":"1.0","id":"a","method":"getSlot"}', -32600, "a"),
        (b'{"jsonrpc":"2.0","id":1,"method":5}', -32600, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"getNonsense"}', -32601, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"logsSubscribe","params":["all"]}', -32601, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"getBalance"}', -32602, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"getBalance","params":{"pubkey":"x"}}', -32602, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"getBalance","params":[5]}', -32602, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"getSlot","params":[7]}', -32602, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"getSlot","params":[{"commitment":"soon"}]}', -32602, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"getSlot","params":[{"commitment":{}}]}', -32602, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"isBlockhashValid","params":["abc"]}', -32602, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"devchain_clearFaults","params":[[{}]]}', -32602, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"getBlock","params":[-1]}', -32602, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"getBlock","params":[1.5]}', -32602, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"getBlock","params":[true]}', -32602, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"getBlock","params":[99999999999999999999999999]}', -32602, 1),
    ],
)
def test_bad_calls_are_answered_with_their_code(body: bytes, code: int, number: Any) -> None:
    answer = said(body)
    assert (answer["error"]["code"], answer["id"], answer["jsonrpc"]) == (code, number, "2.0")
    assert "result" not in answer


def test_a_batch_is_answered_call_by_call() -> None:
    answers = said(
        b'[{"jsonrpc":"2.0","id":"a","method":"getHealth"},5,{"jsonrpc":"2.0","method":"getHealth"},'
        b'{"jsonrpc":"2.0","id":null,"method":"getSlot"},{"jsonrpc":"2.0","id":2.5,"method":"nope"}]'
    )
    assert [answer["id"] for answer in answers] == ["a", None, None, 2.5]
    assert answers[0]["result"] == "ok"
    assert answers[1]["error"]["code"] == -32600
    assert answers[2]["result"] == NODE.chain.slot_at("finalized")
    assert answers[3]["error"]["code"] == -32601


def test_notifications_get_no_answer() -> None:
    assert said(b'{"jsonrpc":"2.0","method":"getHealth"}') is None
    assert said(b'[{"jsonrpc":"2.0","method":"getHealth"},{"jsonrpc":"2.0","method":"nope"}]') is None
