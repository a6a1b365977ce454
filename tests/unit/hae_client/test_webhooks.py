"""Messages as the engine signs them, and others."""

from __future__ import annotations

import base64
import json

import pytest

from app.webhooks import signing
from hae_client import InvalidArgument, InvalidSignature, verify_webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NOW = 1_700_000_000
BODY = b'{"event":"job_completed","job_id":"job_1","cost_hyper":2.5}'


@pytest.mark.parametrize("secret", [SECRET, [OTHER, SECRET], (SECRET,)])
def test_what_the_engine_signs_is_believed(secret: str | list[str]) -> None:
    headers = {name.title(): value for name, value in signing.headers([SECRET], "evt_1", NOW, BODY).items()}
    for drift in (-300, 0, 300):
        assert verify_webhook(secret, headers, BODY, now=NOW + drift) == json.loads(BODY)


def test_while_a_secret_is_rotated_either_is_good() -> None:
    headers = signing.headers([OTHER, SECRET], "evt_1", NOW, BODY)
    assert verify_webhook(SECRET, headers, BODY, now=NOW) == verify_webhook(OTHER, headers, BODY, now=NOW)


@pytest.mark.parametrize(
    ("changed", "body", "now"),
    [
        ({"webhook-id": "evt_2"}, BODY, NOW),
        ({"webhook-timestamp": str(NOW + 1)}, BODY, NOW),
        ({"webhook-timestamp": "soon"}, BODY, NOW),
        ({"webhook-timestamp": "٣"}, BODY, NOW),
        ({"webhook-id": ""}, BODY, NOW),
        ({"webhook-signature": ""}, BODY, NOW),
        ({"webhook-signature": "v1,ä v1, v2,x"}, BODY, NOW),
        ({}, BODY.replace(b"2.5", b"2.6"), NOW),
        ({}, BODY, NOW + 301),
        ({}, BODY, NOW - 301),
    ],
)
def test_anything_else_is_refused(changed: dict[str, str], body: bytes, now: int) -> None:
    headers = {**signing.headers([SECRET], "evt_1", NOW, BODY), **changed}
    with pytest.raises(InvalidSignature):
        verify_webhook(SECRET, headers, body, now=now)


def test_another_algorithm_with_the_right_value_is_refused() -> None:
    headers = signing.headers([SECRET], "evt_1", NOW, BODY)
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v2,")
    with pytest.raises(InvalidSignature):
        verify_webhook(SECRET, headers, BODY, now=NOW)


def test_what_is_signed_and_no_object_is_refused() -> None:
    with pytest.raises(InvalidSignature, match="no JSON object"):
        verify_webhook(SECRET, signing.headers([SECRET], "evt_1", NOW, b"[]"), b"[]", now=NOW)


@pytest.mark.parametrize("secret", ["", "secret", "whsec_", "whsec_?", "whsec_c2hvcnQ=", []])
def test_a_secret_that_is_none_is_told_and_not_quoted(secret: str | list[str]) -> None:
    with pytest.raises(InvalidArgument) as told:
        verify_webhook(secret, signing.headers([SECRET], "evt_1", NOW, BODY), BODY, now=NOW)
    assert "c2hvcnQ" not in str(told.value)
