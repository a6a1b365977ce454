"""What the messages on a websocket mean."""

from __future__ import annotations

import json
from typing import Any

import pytest
from solders.signature import Signature

from app.chain.subscriptions import Hint, RefusedError, Subscriptions
from tests.support.rpc_server import notification

SIGNATURE = str(Signature(bytes([7] * 64)))


def answer(number: int, **rest: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, **rest}).encode()


def subscribed(*, slots: bool = False) -> Subscriptions:
    made = Subscriptions(["a", "b"], "confirmed", slots=slots)
    made.take(answer(1, result=11))
    made.take(answer(2, result="twelve"))
    return made


def test_one_request_a_program() -> None:
    requests = [json.loads(text) for text in Subscriptions(["a", "b"], "finalized", slots=True).requests()]
    assert [each["method"] for each in requests] == ["logsSubscribe", "logsSubscribe", "slotSubscribe"]
    assert [each["params"] for each in requests] == [
        [{"mentions": ["a"]}, {"commitment": "finalized"}],
        [{"mentions": ["b"]}, {"commitment": "finalized"}],
        [],
    ]
    assert len({each["id"] for each in requests}) == 3


def test_complete_when_all_are_acknowledged_in_whatever_order() -> None:
    made = Subscriptions(["a", "b"], "confirmed", slots=True)
    for message in (answer(2, result=12), answer(0, result=10)):
        made.take(message)
        assert not made.complete
    made.take(answer(1, result=11))
    assert made.complete
    assert made.slots


def test_slots_may_be_refused_and_logs_may_not() -> None:
    made = subscribed(slots=True)
    made.take(answer(0, error={"code": -32601, "message": "Method not found"}))
    assert made.complete
    assert not made.slots
    with pytest.raises(RefusedError, match=r"subscription refused \(-32602\)"):
        Subscriptions(["a"], "confirmed", slots=False).take(answer(1, error={"code": -32602, "message": "no"}))


def test_a_notification_is_its_programs() -> None:
    made = subscribed()
    assert made.take(notification(11, SIGNATURE, 5).encode()) == Hint("a", SIGNATURE, 5)
    assert made.take(notification(11, SIGNATURE, 5, err={"Unheard": {"of": []}}).encode()) == Hint("a", SIGNATURE, 5)
    params = {"result": {"context": {"slot": 6, "apiVersion": "9"}, "value": {"signature": SIGNATURE, "logs": None}}}
    named = {"method": "logsNotification", "params": params | {"subscription": "twelve"}}
    assert made.take(json.dumps(named).encode()) == Hint("b", SIGNATURE, 6)
    assert made.malformed == 0


def test_slot_notifications_are_no_hints_and_well() -> None:
    made = subscribed(slots=True)
    made.take(answer(0, result=10))
    slot = {"jsonrpc": "2.0", "method": "slotNotification"}
    params = {"result": {"parent": 1, "root": 0, "slot": 2}, "subscription": 10}
    assert made.take(json.dumps(slot | {"params": params}).encode()) is None
    assert made.malformed == 0


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\x00",
        b"<html>",
        b"[" * 100_000,
        answer(9, result=1),
        answer(1, result=1),
        b'{"id":"1","result":1}',
        notification(99, SIGNATURE).encode(),
        notification(11, "1111").encode(),
        notification(11, None).encode(),
        notification(11, 5).encode(),
        notification(11, SIGNATURE, -1).encode(),
        notification(11, SIGNATURE, "5").encode(),
        notification(11, SIGNATURE, 2**63).encode(),
        notification(11, SIGNATURE, None).encode(),
        b'{"method":"logsNotification"}',
        b'{"method":"logsNotification","params":{}}',
        b'{"method":"logsNotification","params":{"subscription":11}}',
        b'{"method":"logsNotification","params":{"subscription":11,"result":[]}}',
        b'{"method":"logsNotification","params":{"subscription":11,"result":{"context":{"slot":1}}}}',
    ],
)
def test_what_cannot_be_read_is_counted_and_changes_nothing(message: bytes) -> None:
    made = subscribed()
    assert made.take(message) is None
    assert made.malformed == 1
    assert made.take(notification(11, SIGNATURE, 5).encode()) == Hint("a", SIGNATURE, 5)
