from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.webhooks import signing

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NOW = 1_700_000_000


def test_the_published_vector() -> None:
    """From the tests of the Standard Webhooks libraries."""
    message_id, timestamp, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signing.sign([SECRET], message_id, timestamp, body) == signature
    signed = signing.headers([SECRET], message_id, timestamp, body)
    assert signed == {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature,
    }
    assert signing.verify(SECRET, signed, body, timestamp)


def test_rotation_signs_with_both_and_either_receiver_verifies() -> None:
    signed = signing.headers([SECRET, OTHER], "evt_1", NOW, b"{}")
    assert signed["webhook-signature"].count("v1,") == 2
    assert signing.verify(SECRET, signed, b"{}", NOW)
    assert signing.verify(OTHER, signed, b"{}", NOW)
    assert signing.verify([signing.new_secret(), OTHER], signed, b"{}", NOW)
    assert not signing.verify(signing.new_secret(), signed, b"{}", NOW)
    assert not signing.verify([], signed, b"{}", NOW)


def test_header_names_match_in_any_case_and_unknown_versions_are_skipped() -> None:
    signed = {name.title(): value for name, value in signing.headers([SECRET], "evt_1", NOW, b"x").items()}
    signed["Webhook-Signature"] = "v1a,AAAA v2,zz " + signed["Webhook-Signature"]
    assert signing.verify(SECRET, signed, b"x", NOW)


@pytest.mark.parametrize(("age", "good"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)])
def test_the_timestamp_must_be_recent(age: int, good: bool) -> None:
    signed = signing.headers([SECRET], "evt_1", NOW, b"x")
    assert signing.verify(SECRET, signed, b"x", NOW + age) is good


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "evt_2"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-timestamp": "now"},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "²"},
        {"webhook-timestamp": "9" * 400},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,ü"},
    ],
)
def test_a_changed_header_is_refused(change: dict[str, str]) -> None:
    assert not signing.verify(SECRET, signing.headers([SECRET], "evt_1", NOW, b"x") | change, b"x", NOW)


def test_missing_headers_are_refused() -> None:
    assert not signing.verify(SECRET, {}, b"x", NOW)


@given(body=st.binary(max_size=200), flip=st.integers(min_value=0))
def test_any_changed_byte_is_refused(body: bytes, flip: int) -> None:
    signed = signing.headers([SECRET], "evt_1", NOW, body)
    assert signing.verify(SECRET, signed, body, NOW)
    if body:
        changed = bytearray(body)
        changed[flip % len(body)] ^= 1
        assert not signing.verify(SECRET, signed, bytes(changed), NOW)


def test_new_secrets_differ_and_are_valid() -> None:
    first, second = signing.new_secret(), signing.new_secret()
    assert first != second
    assert len(signing.decode_secret(first)) == 32


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_",
        "whsec_not base64!",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_ü",
    ],
)
def test_bad_secrets_are_refused_without_being_quoted(secret: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        signing.decode_secret(secret)
    assert caught.value.field == "secret"
    rest = secret.removeprefix("whsec_")
    assert not rest or rest not in str(caught.value)
