"""Signatures of custom webhooks: Standard Webhooks 1.0 (github.com/standard-webhooks), symmetric.

Signed is ``{webhook-id}.{webhook-timestamp}.{body}`` with HMAC-SHA256. A secret is ``whsec_`` and the
base64 of 24 to 64 bytes. While a secret is being rotated the header carries one signature a secret,
separated by spaces.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets as random_source
from collections.abc import Mapping, Sequence

from app.core.errors import InvalidInput

PREFIX = "whsec_"
TOLERANCE_S = 300
_NEW_SECRET_BYTES = 32


def new_secret() -> str:
    """A fresh ``whsec_`` secret of 32 random bytes."""
    return PREFIX + base64.b64encode(random_source.token_bytes(_NEW_SECRET_BYTES)).decode()


def decode_secret(secret: str) -> bytes:
    """The key's bytes; raises InvalidInput, without quoting the secret, unless it is ``whsec_`` + base64 of
    24–64 bytes.
    """
    if not secret.startswith(PREFIX):
        raise InvalidInput(f"a webhook secret must begin with {PREFIX}", field="secret")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(f"a webhook secret must be {PREFIX} followed by base64", field="secret") from None
    if not 24 <= len(key) <= 64:
        raise InvalidInput("a webhook secret must hold 24 to 64 bytes", field="secret")
    return key


def sign(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The ``webhook-signature`` value: ``v1,<base64>`` for each secret, newest secret first as given."""
    content = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(
        "v1," + base64.b64encode(hmac.digest(decode_secret(secret), content, hashlib.sha256)).decode()
        for secret in secrets
    )


def headers(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three Standard Webhooks headers. ``timestamp`` is the try's time, Unix seconds; ``message_id``
    never changes.
    """
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secrets, message_id, timestamp, body),
    }


def verify(
    secrets: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    now: float,
    tolerance_s: float = TOLERANCE_S,
) -> bool:
    """Whether ``body`` was signed with one of ``secrets`` within ``tolerance_s`` of ``now`` (Unix seconds).

    For receivers. Header names match in any case. False when a header is missing or malformed, the time is
    off, or no ``v1`` signature fits; comparing takes the same time whichever it is. Raises InvalidInput on
    a bad secret only.
    """
    given = {name.lower(): value for name, value in headers.items()}
    message_id, stamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if not message_id or not (stamp.isascii() and stamp.isdigit() and len(stamp) < 16):
        return False
    if abs(now - int(stamp)) > tolerance_s:
        return False
    keys = [secrets] if isinstance(secrets, str) else secrets
    expected = sign(keys, message_id, int(stamp), body).encode().split(b" ") if keys else []
    found = False
    for candidate in given.get("webhook-signature", "").encode("utf-8", "replace").split(b" "):
        for value in expected:
            found |= hmac.compare_digest(candidate, value)
    return found
