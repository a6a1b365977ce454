"""Verifies webhooks: Standard Webhooks 1.0 (github.com/standard-webhooks), symmetric signatures."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from hae_client.errors import InvalidArgument, InvalidSignature

TOLERANCE_S = 300.0
_PREFIX = "whsec_"


def verify_webhook(
    secret: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    tolerance_s: float = TOLERANCE_S,
    now: float | None = None,
) -> dict[str, Any]:
    """The event that a webhook tells, once its signature is found good.

    ``secret``: the endpoint's, ``whsec_…``; several while they are being rotated. ``body``: the bytes as they came, not
    JSON that was read and written again. ``now``: Unix seconds, the clock's when left out. Header names match in any
    case. A message may come twice: keep the ``webhook-id`` of those you have dealt with.

    Raises InvalidSignature when the message is not to be trusted, InvalidArgument for a secret that is none.
    """
    keys = [_key(one) for one in ([secret] if isinstance(secret, str) else secret)]
    if not keys:
        raise InvalidArgument("a secret is needed")
    given = {name.lower(): value for name, value in headers.items()}
    message_id, stamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if not message_id or not (stamp.isascii() and stamp.isdecimal() and len(stamp) < 16):
        raise InvalidSignature("the headers webhook-id and webhook-timestamp are missing or malformed")
    if abs((time.time() if now is None else now) - int(stamp)) > tolerance_s:
        raise InvalidSignature("the message was signed too long ago, or a clock is wrong")
    signed = f"{message_id}.{stamp}.".encode("utf-8", "replace") + body
    expected = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)) for key in keys]
    offered = [
        part.removeprefix("v1,").encode("utf-8", "replace")
        for part in given.get("webhook-signature", "").split(" ")
        if part.startswith("v1,")
    ]
    # All are compared, so that the time taken tells nothing.
    matches = [hmac.compare_digest(one, other) for one in expected for other in offered]
    if not any(matches):
        raise InvalidSignature("no signature of the message is of this secret")
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise InvalidSignature(f"the message is signed and holds no JSON object: {error}") from error


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not 24 <= len(key) <= 64:
        raise InvalidArgument(f"a webhook secret is {_PREFIX} and the base64 of 24 to 64 bytes")
    return key
