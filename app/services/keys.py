"""API keys: made once, shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from app.core.access import ALL, Principal, Rights, Scope
from app.core.chain import CHAIN_ACCOUNT
from app.core.errors import InvalidInput, NotFound, Unauthorised
from app.core.ids import new_id
from app.core.money import MAX_AMOUNT, format_hyper
from app.core.requirements import JobType
from app.store import keys
from app.store.db import Database
from app.store.keys import KeyRow

PREFIX = "hae_"
CACHE_S = 5.0
"""How long a revoked key may still be taken by a process that has just seen it."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as listed: never its secret. ``prefix``: its first characters, to tell keys apart.

    ``weight``, ``max_active``, ``max_queued``: as in Limits. ``tools``, ``job_types``: as in Rights; ``cap_day`` and
    ``cap_job``: as there, in decimal strings of HYPER, empty for any amount.
    """

    id: str
    account: str
    label: str
    prefix: str
    scopes: list[str]
    created_at: str
    revoked: bool
    weight: int
    max_active: int | None
    max_queued: int | None
    tools: list[str]
    job_types: list[str]
    cap_day: str
    cap_job: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may have. ``weight``: its share of scarce slots against other keys, 1..1000. ``max_active``: slots
    that its jobs may hold at once, ``max_queued``: jobs of it that may wait; 0 = any number, None = as the settings
    say.
    """

    weight: int = 1
    max_active: int | None = None
    max_queued: int | None = None

    def check(self) -> None:
        """Raises InvalidInput on what is out of range."""
        if not 1 <= self.weight <= 1000:
            raise InvalidInput("weight must be in 1..1000", field="weight")
        for name in ("max_active", "max_queued"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= _MOST:
                raise InvalidInput(f"{name} must be in 0..{_MOST}, 0 = any number", field=name)


_MOST = 2**31 - 1
_PLAIN = Limits()


async def create(
    db: Database,
    account: str,
    scopes: Sequence[str],
    label: str = "",
    limits: Limits = _PLAIN,
    rights: Rights = ALL,
) -> tuple[str, str]:
    """A new key: ``(id, secret)``. The secret (256 random bits behind ``hae_``) is not kept and cannot be shown again.

    Raises InvalidInput on unknown scopes, a bad account name, limits out of range or rights to what there is not.
    """
    limits.check()
    _check_rights(rights)
    known = [scope.value for scope in Scope]
    unknown = sorted(set(scopes) - set(known))
    if unknown or not scopes:
        named = ", ".join(unknown) or "none given"
        raise InvalidInput(f"unknown scope: {named}; known are {', '.join(known)}", field="scopes")
    if not 1 <= len(account) <= 80 or not account.isprintable():
        raise InvalidInput("account must have 1 to 80 printable characters", field="account")
    if account.startswith(CHAIN_ACCOUNT):
        raise InvalidInput(f"accounts in {CHAIN_ACCOUNT} belong to wallets that only the chain knows", field="account")
    if len(label) > 80 or "\0" in label:
        raise InvalidInput("label must have at most 80 characters", field="label")
    secret = PREFIX + secrets.token_urlsafe(32)
    async with db.unit() as uow:
        key = KeyRow(
            id=new_id("key"),
            account=account,
            label=label,
            prefix=secret[:10],
            digest=digest_of(secret),
            scopes=sorted(set(scopes)),
            created_at=uow.now,
            revoked_at=None,
            weight=limits.weight,
            max_active=limits.max_active,
            max_queued=limits.max_queued,
            tools=sorted(rights.tools),
            job_types=sorted(rights.job_types),
            cap_day=rights.cap_day,
            cap_job=rights.cap_job,
        )
        await keys.add(uow, key)
    return key.id, secret


def _check_rights(rights: Rights) -> None:
    for tool in rights.tools:
        # Which tools there are is known above: a name may also be one that a later version brings.
        if not _TOOL_NAME.fullmatch(tool):
            raise InvalidInput(f"there can be no tool {tool[:80]!r}: a name is one such as get_job", field="tools")
    unknown = sorted(rights.job_types - {kind.value for kind in JobType})
    if unknown:
        known = ", ".join(kind.value for kind in JobType)
        raise InvalidInput(f"unknown job type: {', '.join(unknown)[:200]}; known are {known}", field="job_types")
    for name in ("cap_day", "cap_job"):
        value = getattr(rights, name)
        if value is not None and not 0 <= value <= MAX_AMOUNT:
            raise InvalidInput(f"{name} must be in 0..{format_hyper(MAX_AMOUNT)} HYPER", field=name)


_TOOL_NAME = re.compile(r"[a-z][a-z0-9_]{0,79}")


async def listing(db: Database) -> list[KeyInfo]:
    """All keys, oldest first."""
    async with db.unit() as uow:
        return [
            KeyInfo(
                key.id,
                key.account,
                key.label,
                key.prefix,
                key.scopes,
                key.created_at.isoformat(),
                bool(key.revoked_at),
                key.weight,
                key.max_active,
                key.max_queued,
                key.tools,
                key.job_types,
                "" if key.cap_day is None else format_hyper(key.cap_day),
                "" if key.cap_job is None else format_hyper(key.cap_job),
            )
            for key in await keys.listing(uow)
        ]


async def change(
    db: Database,
    key_id: str,
    *,
    weight: int | None = None,
    max_active: int | None = None,
    max_queued: int | None = None,
) -> Limits:
    """Change what a live key may have, and answer it; running processes take it on within quotas.CACHE_S seconds.

    None leaves a limit as it is, DEFAULT makes it that of the settings. Raises NotFound, InvalidInput.
    """
    async with db.unit() as uow:
        key = await keys.lock(uow, key_id)
        if key is None:
            raise _no_such_key(key_id)
        limits = Limits(
            key.weight if weight is None else weight,
            _changed(key.max_active, max_active),
            _changed(key.max_queued, max_queued),
        )
        limits.check()
        await keys.set_share(uow, key_id, limits.weight, limits.max_active, limits.max_queued)
    return limits


DEFAULT = -1
"""A limit that is the settings'."""


def _changed(was: int | None, given: int | None) -> int | None:
    if given is None:
        return was
    return None if given in (DEFAULT, NO_CAP) else given


async def change_rights(
    db: Database,
    key_id: str,
    *,
    tools: Sequence[str] | None = None,
    job_types: Sequence[str] | None = None,
    cap_day: int | None = None,
    cap_job: int | None = None,
) -> Rights:
    """Change what a live key may do, and answer it; running processes take it on within CACHE_S seconds.

    None leaves a right as it is; no names at all mean all of them, and NO_CAP lifts a cap. Raises NotFound,
    InvalidInput.
    """
    async with db.unit() as uow:
        key = await keys.lock(uow, key_id)
        if key is None:
            raise _no_such_key(key_id)
        rights = Rights(
            frozenset(key.tools if tools is None else tools),
            frozenset(key.job_types if job_types is None else job_types),
            _changed(key.cap_day, cap_day),
            _changed(key.cap_job, cap_job),
        )
        _check_rights(rights)
        await keys.set_rights(uow, key_id, rights)
    return rights


NO_CAP = -1
"""A cap of any amount."""


async def revoke(db: Database, key_id: str) -> None:
    """End a key; running processes take it for CACHE_S more seconds at most. Raises NotFound."""
    async with db.unit() as uow:
        if not await keys.revoke(uow, key_id):
            raise _no_such_key(key_id)


def _no_such_key(key_id: str) -> NotFound:
    return NotFound(
        f"there is no live key {key_id[:60]}",
        code="key_not_found",
        next_action="`hae keys list` shows the ids of those there are.",
    )


def digest_of(secret: str) -> str:
    """sha256 in hex. A plain hash is enough for 256 random bits: there is nothing to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Authenticator:
    """Turns a bearer secret into a Principal, remembering answers for CACHE_S.

    ``master_key``: a secret from the settings (the old engine's API_KEY) that holds every scope; empty = none.
    """

    def __init__(self, db: Database, master_key: str = "") -> None:
        self.db = db
        self._master = digest_of(master_key) if master_key else ""
        self._known: dict[str, tuple[float, Principal]] = {}

    async def principal(self, secret: str) -> Principal:
        """Raises Unauthorised on an unknown or revoked secret."""
        digest = digest_of(secret)
        if self._master and secrets.compare_digest(digest, self._master):
            return Principal("key_settings", "operator", frozenset(scope.value for scope in Scope))
        now = time.monotonic()
        cached = self._known.get(digest)
        if cached is not None and cached[0] > now:
            return cached[1]
        async with self.db.unit() as uow:
            key = await keys.by_digest(uow, digest)
        if key is None:
            self._known.pop(digest, None)
            raise unknown_key()
        principal = Principal(key.id, key.account, frozenset(key.scopes), key.rights)
        if len(self._known) > 10_000:
            self._known.clear()
        self._known[digest] = (now + CACHE_S, principal)
        return principal


def unknown_key() -> Unauthorised:
    return Unauthorised(
        "this API key is unknown or revoked",
        next_action="Send a live key as 'Authorization: Bearer hae_…'; operators make them with: hae keys create",
    )
