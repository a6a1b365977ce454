from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.deliveries import Event
from app.core.events import NOTIFIED, EventKind
from app.services.canonical import canonical_json
from app.webhooks import payloads

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
RUN: dict[str, Any] = {
    "attempt": 2,
    "account": "acct_private",
    "key_id": "key_private",
    "cost": 2_500_000_000,
    "duration_ms": 5420,
    "type": "llm_inference",
    "node_id": "node_xyz789",
    "job_id": "job_abc123",
}


def event(kind: str = "job_completed", **data: Any) -> Event:
    return Event("evt_1", kind, AT, data)


def test_the_documented_payload_comes_first_in_its_order() -> None:
    body = payloads.build(event(**RUN))
    documented = (
        b'{"event":"job_completed","job_id":"job_abc123","node_id":"node_xyz789","type":"llm_inference",'
        b'"duration_ms":5420,"cost_hyper":2.5,'
    )
    assert body.startswith(documented)
    assert json.loads(body) == {
        "event": "job_completed",
        "job_id": "job_abc123",
        "node_id": "node_xyz789",
        "type": "llm_inference",
        "duration_ms": 5420,
        "cost_hyper": 2.5,
        "attempt": 2,
        "cost": "2.5",
        "id": "evt_1",
        "at": "2026-01-02T03:04:05.678Z",
    }


@pytest.mark.parametrize(
    ("cost", "number", "exact"),
    [
        (2_000_000_000, b"2", "2"),
        (0, b"0", "0"),
        # As JavaScript prints them again: JSON.stringify(5e-05) is 0.00005, of 1e-09 it is 1e-9.
        (1, b"1e-9", "0.000000001"),
        (123, b"1.23e-7", "0.000000123"),
        (1_234, b"0.000001234", "0.000001234"),
        (50_000, b"0.00005", "0.00005"),
        (123_456_789, b"0.123456789", "0.123456789"),
        (1_000_000_500_000_000, b"1000000.5", "1000000.5"),
        (2**63 - 1, b"9223372036.854776", "9223372036.854775807"),
        (None, b"null", None),
    ],
)
def test_costs(cost: int | None, number: bytes, exact: str | None) -> None:
    body = payloads.build(event(cost=cost))
    assert b'"cost_hyper":' + number + b"," in body
    assert json.loads(body)["cost"] == exact


def test_texts_that_look_like_small_numbers_stay() -> None:
    happened = event(cost=50_000, error='"5e-05" \\ 1e-06', more={"2e-05": [2e-05, -3.5e-06]})
    body = payloads.build(happened)
    assert b'"error":"\\"5e-05\\" \\\\ 1e-06"' in body
    assert b'"more":{"2e-05":[0.00002,-0.0000035]}' in body


def test_a_payment_is_told_to_the_base_unit() -> None:
    told = {"reason": "fake_mint", "settlement": "disputed", "chain_job": "address", "tx_signature": "5Vd"}
    happened = event("payment_disputed", job_id="job_1", node_id="node_1", type="render", amount=2**64 - 1, **told)
    assert json.loads(payloads.build(happened)) == {
        "event": "payment_disputed",
        "job_id": "job_1",
        "node_id": "node_1",
        "type": "render",
        "chain_job": "address",
        "amount": "18446744073.709551615",
        "tx_signature": "5Vd",
        "reason": "fake_mint",
        "settlement": "disputed",
        "id": "evt_1",
        "at": "2026-01-02T03:04:05.678Z",
    }


@pytest.mark.parametrize("kind", sorted(NOTIFIED))
def test_every_notified_event_has_its_keys_even_without_data(kind: EventKind) -> None:
    payload = json.loads(payloads.build(event(kind)))
    assert list(payload) == ["event", *payloads.DOCUMENTED[kind], "id", "at"]
    assert payload["event"] == kind


@pytest.mark.parametrize("kind", sorted(NOTIFIED))
def test_the_account_is_never_told(kind: EventKind) -> None:
    assert b"private" not in payloads.build(event(kind, **RUN))


def test_data_cannot_pass_for_the_envelope() -> None:
    payload = json.loads(payloads.build(event("node_offline", id="x", at="x", event="x", node_id="node_1")))
    assert payload == {
        "event": "node_offline",
        "node_id": "node_1",
        "reason": None,
        "id": "evt_1",
        "at": "2026-01-02T03:04:05.678Z",
    }


def test_an_operators_message_is_kept_in_data() -> None:
    payload = json.loads(payloads.build(event("operator_message", event="maintenance", account="a", id=7)))
    assert payload["event"] == "operator_message"
    assert payload["id"] == "evt_1"
    assert payload["data"] == {"event": "maintenance", "id": 7}


def test_numbers_read_alike_everywhere() -> None:
    body = payloads.build(event("operator_message", a=2.0, b=2.5, c=2**60, d=[1e300], e=float("nan"), f=True))
    assert json.loads(body)["data"] == {
        "a": 2,
        "b": 2.5,
        "c": str(2**60),
        "d": [str(int(1e300))],
        "e": None,
        "f": True,
    }
    assert b".0" not in body


def test_times_are_told_in_utc() -> None:
    there = Event("evt_1", "node_registered", AT.astimezone(timezone(timedelta(hours=5, minutes=30))), {"node_id": "n"})
    assert json.loads(payloads.build(there))["at"] == "2026-01-02T03:04:05.678Z"


@pytest.mark.parametrize(
    "data",
    [
        {"error": "x" * 100_000},
        {"error": "ü" * 9_000},
        {"error": "\x00" * 9_000},
        {"error": "😀" * 30_000},
        {"error": ["y" * 3000] * 30},
        {"notes": {f"k{i}": "v" * 50 for i in range(5000)}},
        {f"key{i}": i for i in range(5000)},
        {"k" * 50_000: 1},
        {"error": {f"k{i}": "v" for i in range(5000)}},
    ],
)
def test_large_data_is_cut_and_says_so(data: dict[str, Any]) -> None:
    body = payloads.build(event("job_failed", job_id="job_1", **data))
    assert len(body) < 20_000
    payload = json.loads(body)
    assert payload["truncated"] is True
    assert (payload["event"], payload["job_id"], payload["id"]) == ("job_failed", "job_1", "evt_1")


def test_a_cut_text_ends_visibly() -> None:
    error = json.loads(payloads.build(event("job_failed", error="x" * 5000)))["error"]
    assert error.endswith("… (truncated)")
    assert len(error) == 4000


def test_deep_data_is_cut() -> None:
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    assert json.loads(payloads.build(event("operator_message", deep=deep)))["truncated"] is True


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)


MARK = "a number, 9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d "


def printed_again(body: str) -> str:
    """The body as JavaScript would print it: compact, numbers by ECMA-262 (as RFC 8785 has them)."""

    def spelt(token: str) -> str:
        return MARK + canonical_json(float(token)).decode()

    again = json.dumps(json.loads(body, parse_float=spelt), ensure_ascii=False, separators=(",", ":"))
    return re.sub(f'"{MARK}([^"]*)"', r"\1", again)


@given(kind=st.sampled_from(sorted(NOTIFIED)), data=st.dictionaries(st.text(max_size=12), VALUES, max_size=8))
def test_any_data_becomes_compact_json(kind: str, data: dict[str, Any]) -> None:
    body = payloads.build(event(kind, **data))
    payload = json.loads(body.decode("utf-8"))
    assert len(body) < 20_000
    assert payload["event"] == kind
    assert printed_again(body.decode("utf-8")) == body.decode("utf-8")
