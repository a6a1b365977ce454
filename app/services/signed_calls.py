"""Calls that come as signed messages (Standard Webhooks) instead of with an API key.

The secret that signs is HMAC-SHA256 of a fixed text under the key's sha256 in hex, written as webhook secrets are:
whoever has the key can work it out, and it ends with the key. The engine works it out from the same hash, so that
whoever reads the database could sign too: that is why only keys with the scope ``webhook`` may be used so.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from app.core.access import Principal, Scope
from app.core.errors import Forbidden, Unauthorised
from app.services.keys import digest_of
from app.store import keys
from app.store.db import Database
from app.webhooks import signing

_PURPOSE = b"hae signed calls v1"


@dataclass(frozen=True, slots=True)
class Signed:
    """Who sent a message, and the id that it keeps when it is sent again."""

    principal: Principal
    message_id: str


def secret_of(api_key: str) -> str:
    """The ``whsec_`` secret that messages under this API key are signed with."""
    return _secret_from(digest_of(api_key))


async def secret_for(db: Database, principal: Principal) -> str:
    """The same, of the key that is calling. Raises Forbidden unless it has the scope."""
    principal.require(Scope.WEBHOOK)
    async with db.unit() as uow:
        rows = await keys.by_ids(uow, [principal.key_id])
    if not rows:
        raise Forbidden("a key of the settings cannot sign messages", next_action="Make one with: hae keys create")
    return _secret_from(rows[0].digest)


async def verified(db: Database, key_id: str, headers: Mapping[str, str], body: bytes) -> Signed:
    """Who signed ``body``. Raises Unauthorised, without saying what is wrong, unless a live key with the scope did so
    within the last five minutes.
    """
    async with db.unit() as uow:
        rows = await keys.by_ids(uow, [key_id]) if key_id else []
        now = uow.now.timestamp()
    key = next((row for row in rows if row.revoked_at is None and Scope.WEBHOOK.value in row.scopes), None)
    secret = _secret_from(key.digest if key is not None else digest_of(""))
    right = signing.verify(secret, headers, body, now)
    if key is None or not right:
        raise Unauthorised(
            "no live key with the scope webhook has signed this message in the last five minutes",
            code="bad_signature",
            next_action="Sign it as Standard Webhooks says (webhook-id, webhook-timestamp, webhook-signature) with the "
            "secret that GET /v1/agents/{plugin}/webhook names, and send ?key= with the key's id.",
        )
    principal = Principal(key.id, key.account, frozenset(key.scopes), key.rights)
    return Signed(principal, headers.get("webhook-id", ""))


def _secret_from(digest: str) -> str:
    return signing.PREFIX + base64.b64encode(hmac.digest(digest.encode(), _PURPOSE, hashlib.sha256)).decode()
