"""What is made of everything that may come back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from app.chain.rpc import answers
from app.chain.rpc.answers import Reply, retry_after
from app.chain.rpc.errors import RpcError
from app.chain.rpc.trouble import Kind, Trouble


def reply(body: Any, status: int = 200, retry_after: str = "") -> Reply:
    return Reply(status, retry_after, body if isinstance(body, bytes) else json.dumps(body).encode())


def failure(code: Any, message: Any = "told so", number: Any = 7, **rest: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message, **rest}}


def result(value: Any, number: Any = 7) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "result": value}


def kind(answer: Any) -> Kind:
    assert isinstance(answer, Trouble), answer
    return answer.kind


@pytest.mark.parametrize("value", [None, 0, False, "", [], {}, {"error": "not one"}, 2**64 - 1, [{"id": 7}]])
def test_any_json_is_a_result(value: Any) -> None:
    assert answers.single(reply(result(value)), 7) == value
    assert answers.single(reply(result(value) | {"error": None}), 7) == value


@pytest.mark.parametrize(
    ("code", "data"),
    [
        (-32002, {"err": {"InstructionError": [0, {"Unheard": {"of": [1, None]}}]}, "logs": ["a"]}),
        (-32602, None),
        (-32007, [1]),
        (-32601, "text"),
        (-99999, {"new": "variant"}),
        (1, None),
    ],
)
def test_a_nodes_error_is_final_and_whole(code: int, data: Any) -> None:
    error = answers.single(reply(failure(code, data=data)), 7)
    assert isinstance(error, RpcError)
    assert (error.code, error.message, error.data) == (code, "told so", data)


def test_an_error_that_could_not_know_the_id_counts() -> None:
    error = answers.single(reply(failure(-32700, number=None)), 7)
    assert isinstance(error, RpcError)
    assert kind(answers.single(reply({"error": {"code": 429, "message": "slow down"}}), 7)) is Kind.LIMITED


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"", 429),
        reply(b"<html>Too Many Requests</html>", 429),
        reply(failure(-32602), 429),
        reply(failure(429)),
        reply(failure("429")),
        reply(failure(429.0)),
        reply(failure(-32429)),
        reply(failure(-32005)),
        reply(failure(-32005, data=None)),
        reply(failure(-32005, data={"numSlotsBehind": 42})),
        reply(failure(-32005, data={"numSlotsBehind": None})),
        reply(failure(-32005, data="?")),
        reply(failure(-32007, "50/second request limit reached")),
        reply(failure(-32000, "Rate limit exceeded")),
        reply(failure(-32090, "Too many requests, try again later"), 503),
    ],
)
def test_rate_limits_in_all_their_disguises(answer: Reply) -> None:
    assert kind(answers.single(answer, 7)) is Kind.LIMITED
    # The same as the only answer to a batch.
    assert kind(answers.batch(answer, 7, 3)) is Kind.LIMITED


def test_an_items_rate_limit_is_the_items() -> None:
    found = answers.batch(reply([result(1), failure(429, number=8), failure(-32005, number=9)]), 7, 3)
    assert isinstance(found, list)
    assert found[0] == 1
    assert [kind(each) for each in found[1:]] == [Kind.LIMITED, Kind.LIMITED]


def test_a_wait_that_is_asked_for_is_kept_with_it() -> None:
    for answer in (reply(b"", 429, "12"), reply(failure(429), 200, "12"), reply(b"<html>", 503, "12")):
        for said in (answers.single(answer, 7), answers.batch(answer, 7, 3)):
            assert isinstance(said, Trouble)
            assert said.retry_after_s == 12.0


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"<html><body>Bad Gateway</body></html>"),
        (200, b'{"jsonrpc":"2.0","id":7,"result":'),
        (200, b"\xff\xfe{}"),
        (200, b'"\xff"'),
        (200, b"[" * 100_000),
        (200, b"null"),
        (200, b"true"),
        (200, b"[]"),
        (200, b'{"message":"no Route matched"}'),
        (200, json.dumps(result(1, number=8)).encode()),
        (200, json.dumps(result(1, number="7")).encode()),
        (200, json.dumps(result(1, number=None)).encode()),
        (200, json.dumps(failure(-32002, number=8)).encode()),
        (200, b'{"jsonrpc":"2.0","result":1}'),
        (200, b'{"jsonrpc":"2.0","id":7}'),
        (200, b'{"jsonrpc":"2.0","id":7,"error":"boom"}'),
        (200, b'{"jsonrpc":"2.0","id":7,"error":{}}'),
        (200, b'{"jsonrpc":"2.0","id":7,"error":{"code":true}}'),
        (200, b'{"jsonrpc":"2.0","id":7,"error":{"code":1e999}}'),
        (200, b'{"jsonrpc":"2.0","id":7,"error":{"code":"E_BOOM"}}'),
        (301, b""),
        (401, b"unauthorised"),
        (403, b"{}"),
        (404, b""),
        (500, json.dumps(result(1)).encode()),
        (502, b"<html>"),
        (503, b""),
        (504, b""),
    ],
)
def test_what_is_no_answer_is_the_endpoints_trouble(status: int, body: bytes) -> None:
    answer = answers.single(Reply(status, "", body), 7)
    assert kind(answer) is Kind.BROKEN


@pytest.mark.parametrize("status", [400, 403, 500, 503])
def test_a_nodes_error_speaks_louder_than_the_status(status: int) -> None:
    error = answers.single(reply(failure(-32002, data={"err": "BlockhashNotFound"}), status), 7)
    assert isinstance(error, RpcError)
    assert error.data == {"err": "BlockhashNotFound"}


def test_a_request_that_is_too_large_is_at_fault() -> None:
    error = answers.single(Reply(413, "", b"<html>"), 7)
    assert isinstance(error, RpcError)
    assert error.code == 413


def test_a_node_behind_the_slot_asked_for_and_one_that_failed_are_no_final_word() -> None:
    assert kind(answers.single(reply(failure(-32016, data={"contextSlot": 9})), 7)) is Kind.BEHIND
    doubt = answers.single(reply(failure(-32603, "Internal error")), 7)
    assert kind(doubt) is Kind.DOUBTFUL
    assert doubt.error.code == -32603


def test_a_batch_is_matched_by_id() -> None:
    found = answers.batch(
        reply(
            [
                result("c", number=9),
                failure(-32602, number=8),
                result("a"),
                result("a again"),
                result("?", number=10),
                result("?", number=6),
                result("?", number=True),
                "noise",
                None,
                {},
            ]
        ),
        7,
        3,
    )
    assert isinstance(found, list)
    assert (found[0], found[2]) == ("a", "c")
    assert isinstance(found[1], RpcError)


def test_what_a_batch_leaves_out_is_missing() -> None:
    found = answers.batch(reply([result(None, number=8), {"jsonrpc": "2.0", "id": 7}]), 7, 3)
    assert isinstance(found, list)
    assert found[1] is None
    assert [kind(found[0]), kind(found[2])] == [Kind.MISSING, Kind.MISSING]
    nothing = answers.batch(reply([]), 7, 2)
    assert isinstance(nothing, list)
    assert [kind(each) for each in nothing] == [Kind.MISSING, Kind.MISSING]


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"Payload Too Large", 413),
        reply(b"<html>", 400),
        reply(failure(-32600, "Batch requests are not supported", number=None)),
        reply(failure(-32600, "batch", number=None), 400),
        reply(failure(-32603, number=None), 500),
        reply(failure(-32601, number=7)),
        reply([failure(-32600, number=None)]),
        reply([failure(-32600, number=None)] * 3),
        reply({"error": "batching is for paying customers"}, 403),
    ],
)
def test_a_refused_batch_is_known_as_one(answer: Reply) -> None:
    assert kind(answers.batch(answer, 7, 3)) is Kind.REFUSED


@pytest.mark.parametrize("answer", [reply(b"", 502), reply(b"<html>"), reply(result(1)), reply(b""), reply(b"", 401)])
def test_other_trouble_with_a_batch_is_the_endpoints(answer: Reply) -> None:
    assert kind(answers.batch(answer, 7, 3)) is Kind.BROKEN


def test_a_stray_rate_limit_holds_for_the_batch() -> None:
    assert kind(answers.batch(reply([failure(429, number=None)]), 7, 3)) is Kind.LIMITED


def test_retry_after() -> None:
    assert retry_after("3") == 3.0
    assert retry_after(" 0.5 ") == 0.5
    assert retry_after("-3") == 0.0
    assert retry_after("1e300") == answers.MAX_RETRY_AFTER_S
    assert retry_after("inf") == answers.MAX_RETRY_AFTER_S
    assert retry_after(format_datetime(datetime.now(UTC) + timedelta(days=1))) == answers.MAX_RETRY_AFTER_S
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    for nothing in ("", "soon", "nan", "Wed, 99 Foo 2015", "\x00"):
        assert retry_after(nothing) is None


def test_a_long_message_is_cut() -> None:
    error = answers.single(reply(failure(-1, "x" * 100_000)), 7)
    assert isinstance(error, RpcError)
    assert len(error.message) == 1000
