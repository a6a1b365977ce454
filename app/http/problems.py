"""Every error leaves this server as problem+json (RFC 9457); only here does an error meet an HTTP status.

Clients can rely on ``type, title, status, detail, code, retryable, retry_after, next_action`` being there;
``instance``, ``field``, ``errors``, ``figures`` and ``reference`` appear where they say something. ``code`` is stable
and made for programs. An unforeseen exception becomes a 500 with a reference that the log repeats: its message
never leaves the server.
"""

from __future__ import annotations

import logging
import math
import secrets
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, SerializationException, ValidationException

from app.core import errors
from app.http.queries import tell_choices

MEDIA_TYPE = "application/problem+json"

logger = logging.getLogger(__name__)

Handlers = dict[int | type[Exception], Any]

# First match wins, so a class stands before its bases.
_STATUS: tuple[tuple[type[errors.HaeError], int], ...] = (
    (errors.InvalidInput, 422),
    (errors.Unauthorised, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.Gone, 410),
    (errors.QuotaExceeded, 429),
    (errors.BudgetExceeded, 402),
    (errors.PluginFailed, 502),
    (errors.Unavailable, 503),
)

_CODES = {
    400: "bad_request",
    401: "unauthorised",
    403: "forbidden",
    404: "no_such_route",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "invalid_input",
    429: "rate_limited",
    503: "unavailable",
}

_NEXT_ACTIONS = {
    "no_such_route": "Look the path up at /schema.",
    "unsupported_media_type": "Send the header 'Content-Type: application/json' with a body of JSON.",
    "body_too_large": "Send less: a request body may hold 1 MiB, a batch of jobs 16 MiB.",
    "unauthorised": "Send the header 'Authorization: Bearer <api key>'.",
    "rate_limited": "Wait and send the request again.",
    "unavailable": "Send the same request again after retry_after seconds.",
    "invalid_input": "Correct the fields named in errors and send the request again.",
    "malformed_json": "Send a body of valid JSON in UTF-8.",
    "json_too_deep": "Nest the body less deeply.",
    "internal_error": "Try again later; if it stays, report the reference to the operator.",
}

_NEXT_ACTIONS_BY_STATUS = {
    400: "Correct the request as detail says and send it again.",
    403: "Use a key with the scope that detail names.",
    404: "Check the id; things of other accounts are not found either.",
    405: "Use a method that the Allow header names.",
    406: "Send an Accept header with a type that this path answers in.",
    409: "Read the thing's present state, then decide anew.",
    410: "Do not send this again.",
    422: "Correct the field named in field and send the request again.",
}

# Names come from the request, so they are cut: an answer must not grow with it.
_MAX_NAME = 200
_MAX_MESSAGE = 800

# A 503 without a time of its own: short, since replicas come and go within seconds.
_DEFAULT_RETRY_AFTER = 1.0


class FieldError(msgspec.Struct, frozen=True):
    """One wrong field: its JSON path (``requirements.gpu[0]``) or parameter name, and what is wrong."""

    field: str
    detail: str


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An RFC 9457 problem document; ``retry_after`` is in seconds. ``figures``: amounts that the refusal is about,
    decimal strings by name, such as those of a budget that is exceeded."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    retry_after: float | None
    next_action: str
    instance: str = ""
    field: str = ""
    errors: list[FieldError] = []
    figures: dict[str, str] = {}
    reference: str = ""


class BadRequest(HTTPException):
    """A request that cannot be read at all (400), under a code of its own."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail=detail, status_code=400)
        self.code = code


class InvalidBody(ValidationException):
    """A body of JSON that is not what the route takes: what is wrong by field, and a valid body where one is known."""

    def __init__(self, wrong: list[dict[str, Any]], next_action: str = "") -> None:
        super().__init__(detail="The body is not valid.", extra=wrong)
        self.next_action = next_action


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    retryable: bool = False,
    retry_after: float | None = None,
    next_action: str = "",
    instance: str = "",
    field: str = "",
    field_errors: list[FieldError] | None = None,
    figures: dict[str, str] | None = None,
    reference: str = "",
) -> Problem:
    """The document for one error; title and type follow from the code, and are the same for all its cases."""
    return Problem(
        type=f"/problems/{code.replace('_', '-')}",
        title=code.replace("_", " ").capitalize(),
        status=status,
        detail=detail,
        code=code,
        retryable=retryable,
        retry_after=retry_after,
        next_action=next_action or _NEXT_ACTIONS.get(code) or _NEXT_ACTIONS_BY_STATUS.get(status, ""),
        instance=instance,
        field=field,
        errors=field_errors or [],
        figures=figures or {},
        reference=reference,
    )


def problem_from(exc: BaseException, *, instance: str = "") -> Problem:
    """The document for any exception; never repeats the message of an exception it does not know."""
    if isinstance(exc, errors.HaeError):
        return _from_domain(exc, instance)
    if isinstance(exc, ValidationException):
        return _from_validation(exc, instance)
    unreadable = _unreadable_body(exc)
    if unreadable is not None:
        return problem(400, unreadable[0], unreadable[1], instance=instance)
    if isinstance(exc, HTTPException) and (exc.status_code < 500 or exc.status_code == 503):
        return _from_http(exc, instance)
    reference = secrets.token_hex(8)
    detail = f"The server failed to answer this request (reference {reference})."
    return problem(500, "internal_error", detail, instance=instance, reference=reference)


def headers_of(document: Problem, exc: BaseException | None = None) -> dict[str, str]:
    """The headers that the status asks for: WWW-Authenticate (401), Allow (405), Retry-After where known."""
    headers = {name.title(): value for name, value in (getattr(exc, "headers", None) or {}).items()}
    if document.status == 401:
        headers.setdefault("Www-Authenticate", 'Bearer realm="hae"')
    if document.retry_after is not None:
        # The header takes whole seconds; rounding down would invite a request that comes too early.
        headers["Retry-After"] = str(math.ceil(document.retry_after))
    headers["Cache-Control"] = "no-store"
    return headers


def answer(request: Request[Any, Any, Any], exc: Exception) -> Response[Problem]:
    """The exception handler: logs what is ours to fix, with its traceback, and answers with the problem."""
    path = quote(request.scope["path"])
    if _client_left(exc):
        document = problem(400, "client_disconnected", "The client closed the connection.")
    else:
        if isinstance(exc, ValidationException):
            tell_choices(exc, request.route_handler)
        document = problem_from(exc, instance=path)
    if document.status == 500:
        logger.error(
            "%s %s failed, reference %s",
            request.scope["method"],
            path,
            document.reference,
            exc_info=exc,
        )
    return Response(document, status_code=document.status, media_type=MEDIA_TYPE, headers=headers_of(document, exc))


def exception_handlers() -> Handlers:
    """For ``Litestar(exception_handlers=…)``: one handler, for everything."""
    return {Exception: answer}


def _from_domain(exc: errors.HaeError, instance: str) -> Problem:
    status = next((status for kind, status in _STATUS if isinstance(exc, kind)), 500)
    retry_after = exc.retry_after
    if status == 503 and retry_after is None:
        retry_after = _DEFAULT_RETRY_AFTER
    return problem(
        status,
        exc.code,
        exc.detail,
        retryable=exc.retryable,
        retry_after=retry_after,
        next_action=exc.next_action or _NEXT_ACTIONS.get(type(exc).code, ""),
        instance=instance,
        field=exc.field,
        field_errors=[FieldError(exc.field, exc.detail)] if exc.field else None,
        figures=exc.figures,
    )


def _from_validation(exc: ValidationException, instance: str) -> Problem:
    extra = exc.extra if isinstance(exc.extra, list) else []
    found = [_field_error(item) for item in extra if isinstance(item, dict)]
    if not found:
        return problem(422, "invalid_input", exc.detail, instance=instance)
    first = found[0]
    detail = f"{first.field}: {first.detail}" if first.field else first.detail
    if len(found) > 1:
        detail += f" (and {len(found) - 1} more)"
    return problem(
        422,
        "invalid_input",
        detail,
        next_action=exc.next_action if isinstance(exc, InvalidBody) else "",
        instance=instance,
        field=first.field,
        field_errors=found,
    )


def _field_error(item: dict[str, Any]) -> FieldError:
    field, message = str(item.get("key", "")), str(item.get("message", ""))
    if field == "data" and message == "'data'":
        # What Litestar makes of an empty body: the text of its own KeyError.
        return FieldError("", "A JSON body is required")
    # Handlers' parameters are Python names: "state_" where Litestar takes "state" for itself, "last_event_id".
    field = field.rstrip("_")
    if item.get("source") == "header":
        field = field.replace("_", "-").title()
    return FieldError(field[:_MAX_NAME], message[:_MAX_MESSAGE])


def _from_http(exc: HTTPException, instance: str) -> Problem:
    status = exc.status_code
    code = getattr(exc, "code", None) or _CODES.get(status, "http_error")
    detail = exc.detail
    retryable = status in {429, 503}
    if status == 404 and detail == HTTPStatus(404).phrase:
        detail = "Nothing is served at this path."
    elif status == 405:
        allowed = next((value for name, value in (exc.headers or {}).items() if name.lower() == "allow"), "")
        detail = f"This path takes {allowed} only." if allowed else detail
    elif status == 413:
        detail = "The body is larger than this server accepts."
    retry_after = _DEFAULT_RETRY_AFTER if status == 503 else _seconds((exc.headers or {}).get("Retry-After"))
    return problem(status, code, detail, retryable=retryable, retry_after=retry_after, instance=instance)


def _unreadable_body(exc: BaseException) -> tuple[str, str] | None:
    """Decoding errors of a request: msgspec's own ones only, so that our bugs of the same type stay 500s."""
    if isinstance(exc, SerializationException) and isinstance(exc.__cause__, msgspec.DecodeError):
        return "malformed_json", str(exc.__cause__)
    if isinstance(exc, RecursionError) and "deserializing" in str(exc):
        return "json_too_deep", "The body nests too deeply."
    return None


def _client_left(exc: Exception) -> bool:
    return isinstance(exc, HTTPException) and exc.detail == "client disconnected prematurely"


def _seconds(value: str | None) -> float | None:
    return float(value) if value is not None and value.isdecimal() else None


def encode(document: Problem) -> bytes:
    """The document as JSON, for answers that are written below Litestar."""
    return msgspec.json.encode(document)
