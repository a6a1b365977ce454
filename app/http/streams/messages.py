"""What clients and this server say to each other over ``/v1/stream``: JSON objects, one a text message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from app.core.errors import HaeError, InvalidInput
from app.core.events import EventKind
from app.http import problems
from app.http.body import decode
from app.http.streams.records import Record

MAX_BYTES: Final = 64 << 10
"""Of a message from a client."""
_FARTHEST = 10**18 - 1

SubscriptionId = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9._-]+$")]
_Id = Annotated[str, Meta(min_length=1, max_length=60)]


class Command(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Base of what clients say."""

    op: str


class Auth(Command):
    """The first message of a client that cannot send headers."""

    key: Annotated[str, Meta(min_length=1, max_length=200)]


class Subscribe(Command):
    """Tell the events of these ``jobs`` and ``plans``, without either of the whole account; of these ``kinds``, without
    any of all. ``after``: the position that you have come to; -1 = only what comes."""

    id: SubscriptionId
    jobs: Annotated[list[_Id], Meta(max_length=200)] = []
    plans: Annotated[list[_Id], Meta(max_length=50)] = []
    kinds: list[EventKind] = []
    after: Annotated[int, Meta(ge=-1, le=_FARTHEST)] = -1


class Unsubscribe(Command):
    """Tell nothing more of this subscription."""

    id: SubscriptionId


class Ping(Command):
    """Answered by a pong."""


Said = Auth | Subscribe | Unsubscribe | Ping
EXAMPLES: Final = {
    "auth": '{"op":"auth","key":"hae_…"}',
    "subscribe": '{"op":"subscribe","id":"mine","kinds":["job_completed"],"after":-1}',
    "unsubscribe": '{"op":"unsubscribe","id":"mine"}',
    "ping": '{"op":"ping"}',
}
_KINDS: Final[dict[str, type[Said]]] = {
    "auth": Auth,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "ping": Ping,
}


class _Named(msgspec.Struct):
    """What every message has. ``id`` where an error can name the subscription that it is about."""

    op: str
    id: object = ""


def parse(text: bytes) -> tuple[Said | HaeError, str]:
    """What a client said, or what is wrong with it and an example of what is right; with the id that it named."""
    if len(text) > MAX_BYTES:
        return InvalidInput(f"a message has {MAX_BYTES // 1024} KiB at most", code="message_too_large"), ""
    try:
        named = decode(text, _Named)
    except Exception as error:
        return _refused(error, "op", EXAMPLES["subscribe"]), ""
    subscription = named.id[:40] if isinstance(named.id, str) else ""
    kind = _KINDS.get(named.op)
    if kind is None:
        detail = f"op must be one of {', '.join(EXAMPLES)}"
        return InvalidInput(detail, field="op", next_action=f"For example: {EXAMPLES['subscribe']}"), subscription
    try:
        said: Said = decode(text, kind)
    except Exception as error:
        return _refused(error, "", EXAMPLES[named.op]), subscription
    return said, subscription


def _refused(error: Exception, field: str, example: str) -> InvalidInput:
    document = problems.problem_from(error)
    if document.status >= 500:
        raise error
    return InvalidInput(
        document.detail, code=document.code, field=document.field or field, next_action=f"For example: {example}"
    )


def ready(latest: int, heartbeat_s: float) -> bytes:
    """The key is good: subscribe now."""
    return _encode({"op": "ready", "latest": latest, "heartbeat_s": heartbeat_s})


def subscribed(subscription: str, after: int) -> bytes:
    return _encode({"op": "subscribed", "id": subscription, "after": after})


def unsubscribed(subscription: str, position: int) -> bytes:
    """``position``: up to which it was told everything."""
    return _encode({"op": "unsubscribed", "id": subscription, "position": position})


def pong() -> bytes:
    return b'{"op":"pong"}'


def heartbeat(positions: dict[str, int]) -> bytes:
    """The positions up to which each subscription was told everything."""
    return _encode({"op": "heartbeat", "positions": positions})


def error(refusal: HaeError, subscription: str = "") -> bytes:
    """A message of the client was not obeyed; the connection goes on."""
    return _encode({"op": "error", "id": subscription, "problem": problems.problem_from(refusal)})


def closing(reason: HaeError, positions: dict[str, int]) -> bytes:
    """The last message before the connection is closed: why, and where each subscription is to go on."""
    return _encode({"op": "closing", "problem": problems.problem_from(reason), "positions": positions})


def joined(records: Iterable[Record]) -> bytes:
    """Records as the list of a message with events."""
    return b"[%s]" % b",".join([record.json for record in records])


def events(subscription: str, chunk: bytes, position: int) -> bytes:
    """Events of a subscription, which has now been told everything up to ``position``; ``chunk``: as joined."""
    return b'{"op":"events","id":"%s","position":%d,"events":%s}' % (subscription.encode(), position, chunk)


def _encode(message: object) -> bytes:
    return msgspec.json.encode(message)
