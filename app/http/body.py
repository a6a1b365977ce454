"""What a request may carry: strict JSON for every typed ``data:`` parameter, sane text in paths and queries.

``StrictRequest`` (``Litestar(request_class=…)``) decodes a body straight into the handler's type: one pass,
no coercion ("1" is no integer), the JSON path of every wrong field. It refuses what PostgreSQL or a
JavaScript reader cannot hold, also inside free-form objects: NUL characters, integers past int64, nesting
past ``MAX_DEPTH``. Numbers past float64 and NaN are refused by msgspec; of duplicate keys the last one
counts, as msgspec has it. ``MAX_BODY`` goes to ``Litestar(request_max_body_size=…)``, which counts the bytes
of chunked bodies too. A route may read its body in a way of its own: ``opt={"reader": …}``, from the bytes to the
type of ``data``.
"""

from __future__ import annotations

import functools
import re
from typing import Any, get_args, get_origin
from urllib.parse import unquote_to_bytes

import msgspec
from litestar import Request
from litestar.connection.base import AuthT, StateT, UserT
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.middleware import ASGIMiddleware
from litestar.serialization import default_deserializer
from litestar.types import ASGIApp, Empty, Receive, Scope, Send

from app.http.problems import BadRequest, InvalidBody
from tools.registry import TOOLS
from tools.wording import with_choices

MAX_BODY = 1 << 20
MAX_DEPTH = 64
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1

# No integer of fewer digits leaves int64, and JSON allows no leading zeros. Searching for a run of digits is
# ten times faster over translated bytes than by a regular expression.
_LONG_NUMBER = b"0" * 19
_DIGITS = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes(byte for byte in range(256) if byte not in b"[]{}")
# An answer names this many wrong fields at most: it must not grow with the request.
_MAX_ERRORS = 50
_BODY_HEADERS = (b"content-length", b"transfer-encoding")
_DRAIN_MAX = 20 << 20
_MSGSPEC_PATH = re.compile(r"(?s)^(.*?)(?: - at `(?:key in )?\$(.*)`)?$")
_FIELD_NAMED = re.compile(r"(?:unknown|required) field `(.*)`$")


class Input(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=False):
    """Base of every request body: an unknown field is an error, not a silent misspelling."""


class StrictRequest(Request[UserT, AuthT, StateT]):
    """A request whose JSON body is decoded strictly into the type of the handler's ``data`` parameter."""

    __slots__ = ()

    async def json(self) -> Any:
        """The body as the type of ``data`` (any JSON without one); raises as ``decode`` does."""
        if self._json is Empty:
            self._refuse_other_types()
            state = self._connection_state
            if state.json is Empty:
                reader = self.route_handler.opt.get("reader")
                body = await self.body() or b"null"
                state.json = decode(body, self._body_type()) if reader is None else reader(body)
            self._json = state.json
        return self._json

    def _refuse_other_types(self) -> None:
        """A body that says it is something else is refused; one that says nothing is taken for JSON."""
        told = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if told and told != "application/json" and not told.endswith("+json"):
            raise HTTPException(
                detail=f"The body must be JSON, sent with 'Content-Type: application/json', not {told[:80]}.",
                status_code=415,
            )

    def _body_type(self) -> Any:
        field = self.route_handler.parsed_fn_signature.parameters.get("data")
        return Any if field is None else field.annotation


class TextGuard(ASGIMiddleware):
    """Refuses paths and queries that hold a NUL or are not UTF-8 (400): no column and no log wants either.

    Also lets a client finish sending what is refused unread (up to ``_DRAIN_MAX``): a connection closed on it while it
    still sends would lose the answer.
    """

    scopes = (ScopeType.HTTP, ScopeType.WEBSOCKET)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        raw_path = scope.get("raw_path") or b""
        if not _is_clean(raw_path) or "\0" in scope["path"]:
            raise BadRequest("bad_path", "The path holds a NUL character or is not UTF-8.")
        if not _is_clean(scope.get("query_string", b"")):
            raise BadRequest("bad_query", "The query holds a NUL character or is not UTF-8.")
        if scope["type"] == ScopeType.HTTP and any(name in _BODY_HEADERS for name, _ in scope["headers"]):
            receive, send = _drained(receive, send)
        await next_app(scope, receive, send)


def _drained(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """The same channels; before a refusal is sent, what is left of the body is read and thrown away."""
    more = True

    async def noting() -> Any:
        nonlocal more
        message = await receive()
        more = message["type"] == "http.request" and bool(message.get("more_body"))
        return message

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            left = _DRAIN_MAX
            while more and left > 0:
                left -= len((await noting()).get("body", b""))
        await send(message)

    return noting, sending


def decode(body: bytes, kind: Any = Any) -> Any:
    """``body`` as ``kind``, strictly.

    Raises BadRequest for what is no JSON (``malformed_json``, ``json_too_deep``) and ValidationException,
    whose ``extra`` names every wrong top-level field, for JSON that is not a ``kind`` or holds forbidden
    values.
    """
    try:
        value = _decoder(kind).decode(body)
        _refuse_forbidden(body)
        return value
    except msgspec.ValidationError as exc:
        raise _invalid(_wrong_fields(body, kind) or [_split(str(exc))], valid_body(kind)) from exc
    except msgspec.DecodeError as exc:
        raise BadRequest("malformed_json", f"{exc}.") from exc
    except UnicodeDecodeError as exc:
        raise BadRequest("malformed_json", "The body is not UTF-8.") from exc
    except RecursionError:
        raise _too_deep() from None


_generic = msgspec.json.Decoder()


@functools.lru_cache(maxsize=1024)
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, strict=True, dec_hook=default_deserializer)


def _refuse_forbidden(body: bytes) -> None:
    """Raises for forbidden values in a body that has been decoded without error.

    Works on the bytes, which is cheap and certain in its No; only a suspicion costs a second decoding and a
    walk.
    """
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deeper_than(MAX_DEPTH, body):
        raise _too_deep()
    if b"\\u0000" in body or _LONG_NUMBER in body.translate(_DIGITS):
        found = _find_forbidden(_generic.decode(body))
        if found is not None:
            raise _invalid([(found[0].removeprefix("."), found[1])])


def _is_deeper_than(depth: int, body: bytes) -> bool:
    """Whether valid JSON nests deeper: each pass over the bare brackets takes the innermost level away."""
    brackets = _STRING.sub(b"", body).translate(_SQUARE, _NO_BRACKET)
    for _ in range(depth):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _find_forbidden(value: Any) -> tuple[str, str] | None:
    """Path and fault of the first forbidden value; recursion is safe, as the depth has been checked."""
    if isinstance(value, str):
        return ("", "Text must not hold NUL characters") if "\0" in value else None
    if isinstance(value, dict):
        for key, item in value.items():
            if "\0" in key:
                return "", "Names must not hold NUL characters"
            if (found := _find_forbidden(item)) is not None:
                return f".{key}{found[0]}", found[1]
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if (found := _find_forbidden(item)) is not None:
                return f"[{index}]{found[0]}", found[1]
    elif isinstance(value, int) and not INT64_MIN <= value <= INT64_MAX:
        return "", "Integers must fit in 64 bits; send larger ones as text"
    return None


def _wrong_fields(body: bytes, kind: Any) -> list[tuple[str, str]]:
    """Every wrong field of a struct (msgspec stops at the first); empty where that says nothing more."""
    struct = _struct_of(kind)
    try:
        value = _generic.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    if struct is None or not isinstance(value, dict):
        return []
    found: list[tuple[str, str]] = []
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    if struct.__struct_config__.forbid_unknown_fields:
        found += [(name, "Unknown field") for name in value if name not in fields][:_MAX_ERRORS]
    for name, field in fields.items():
        if name not in value:
            if field.required:
                found.append((name, "Required field is missing"))
            continue
        try:
            msgspec.convert(value[name], field.type, strict=True, dec_hook=default_deserializer)
        except (msgspec.ValidationError, RecursionError) as exc:
            path, message = _split(str(exc))
            message = with_choices(message, field.type, path)
            found.append((name + ("." if path and path[0] != "[" else "") + path, message))
    return found


def _struct_of(kind: Any) -> type[msgspec.Struct] | None:
    options = get_args(kind) if get_origin(kind) is not None else (kind,)
    structs = [option for option in options if isinstance(option, type) and issubclass(option, msgspec.Struct)]
    return structs[0] if len(structs) == 1 and set(options) <= {structs[0], type(None)} else None


def _split(message: str) -> tuple[str, str]:
    """msgspec's "text - at `$.a.b`" as (path, text)."""
    match = _MSGSPEC_PATH.match(message)
    text, path = (match[1], match[2] or "") if match else (message, "")
    named = _FIELD_NAMED.search(text)
    if named:
        path = f"{path}.{named[1]}"
        text = "Unknown field" if "unknown" in text else "Required field is missing"
    return path.removeprefix("."), text


@functools.lru_cache(maxsize=1024)
def valid_body(kind: Any) -> str:
    """What to send instead, by an example; empty for bodies that are no tool's input."""
    struct = _struct_of(kind)
    examples = (tool.example for tool in TOOLS.values() if tool.input is struct)
    return next((f"A valid body: {msgspec.json.encode(one).decode()}" for one in examples), "")


def _invalid(found: list[tuple[str, str]], advice: str = "") -> InvalidBody:
    return InvalidBody([{"key": path, "message": text} for path, text in found], advice)


def _too_deep() -> BadRequest:
    return BadRequest("json_too_deep", f"The body nests deeper than {MAX_DEPTH} levels.")


def _is_clean(raw: bytes) -> bool:
    if b"%" not in raw and raw.isascii() and b"\0" not in raw:
        return True
    text = unquote_to_bytes(raw)
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in text
