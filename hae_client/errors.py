"""What can go wrong, as one tree of exceptions.

HypernodeError
├── ApiError                the server refused; carries its problem document
│   ├── BadRequest              400, 413, 415, 422: the request is wrong by itself (``field`` says where)
│   ├── Unauthorised            401: no key, or an unknown one
│   ├── Forbidden               403: the key may not
│   ├── BudgetExceeded          it would cost more than the key may spend
│   ├── NotFound                404: no such thing, or not yours
│   ├── Conflict                409: its state does not allow this, or an idempotency key was used for something else
│   ├── Gone                    410: its time is over, such as that of a position in the feed
│   ├── TooMany                 429: a quota or a rate, try later
│   └── ServerError             5xx, and 408 and 425
├── Unreachable             no usable answer: refused, broken off, timed out
├── UnreadableAnswer        an answer that is not what the API promises, as of a proxy in between
├── WaitTimeout             not over within the time that the caller gave; carries the last state
├── InvalidArgument         refused here, before anything was sent
└── InvalidSignature        a webhook that was not signed with the secret, or too long ago
"""

from __future__ import annotations

from typing import Any

import msgspec

from hae_client.models import JobAnswer, PlanAnswer, Problem


def sentences(*parts: str) -> str:
    """Texts one behind the other, each closed by a full stop unless it has an end of its own or is the last."""
    *first, last = [part for part in parts if part] or [""]
    return " ".join([*(part if part[-1] in ".!?:" else f"{part}." for part in first), last])


class HypernodeError(Exception):
    """Base of all errors of this package. ``retryable``: whether the same call may succeed later."""

    retryable = False


class ApiError(HypernodeError):
    """The server refused. ``code`` is for programs, ``detail`` and ``next_action`` are for people.

    ``field``: what of the request is wrong, or empty. ``retry_after``: seconds to wait before the next try, or None.
    ``members``: the whole problem document, also what is particular to its code, such as the numbers of a budget.
    """

    def __init__(self, problem: Problem, members: dict[str, Any]) -> None:
        super().__init__(f"{problem.code}: {sentences(problem.detail, problem.next_action)}")
        self.problem = problem
        self.members = members
        self.status = problem.status
        self.code = problem.code
        self.detail = problem.detail
        self.field = problem.field
        self.retryable = problem.retryable
        self.retry_after = problem.retry_after
        self.next_action = problem.next_action

    def __reduce__(self) -> tuple[type[ApiError], tuple[Problem, dict[str, Any]]]:
        return type(self), (self.problem, self.members)


class BadRequest(ApiError):
    """The request is wrong by itself: sending it again does not help."""


class Unauthorised(ApiError):
    """No key, or one that the server does not know."""


class Forbidden(ApiError):
    """The key lacks a scope or a right."""


class BudgetExceeded(ApiError):
    """It would cost more than may be spent; ``members`` has the numbers."""


class NotFound(ApiError):
    """There is no such thing, or it is of another account."""


class Conflict(ApiError):
    """The thing is not in a state that allows this."""


class Gone(ApiError):
    """It was there and its time is over."""


class TooMany(ApiError):
    """As much as there may be at once, or in a while, is reached."""


class ServerError(ApiError):
    """The server, or something before it, could not answer."""


class Unreachable(HypernodeError):
    """No usable answer came. What was sent may have been carried out."""

    retryable = True


class UnreadableAnswer(HypernodeError):
    """An answer that is not what the API promises."""


class WaitTimeout(HypernodeError, TimeoutError):
    """It was not over in time, and goes on. ``last``: the state in which it was seen last."""

    def __init__(self, last: JobAnswer | PlanAnswer) -> None:
        name = last.job_id if isinstance(last, JobAnswer) else last.plan_id
        super().__init__(f"{name} is still {last.state}")
        self.last = last

    def __reduce__(self) -> tuple[type[WaitTimeout], tuple[JobAnswer | PlanAnswer]]:
        return type(self), (self.last,)


class InvalidArgument(HypernodeError, ValueError):
    """An argument that cannot be right; nothing was sent."""


class InvalidSignature(HypernodeError):
    """Not signed with the secret, or not recently. Refuse the message."""


_BY_CODE: dict[str, type[ApiError]] = {"budget_exceeded": BudgetExceeded}
_BY_STATUS: dict[int, type[ApiError]] = {
    401: Unauthorised,
    403: Forbidden,
    404: NotFound,
    408: ServerError,
    409: Conflict,
    410: Gone,
    425: ServerError,
    429: TooMany,
}
_PASSING = frozenset({408, 425, 429, 502, 503, 504})


def api_error(status: int, content: bytes, retry_after: str = "") -> ApiError:
    """The error for an answer with a status from 300 up.

    One without a problem document, as proxies send it, gets the code ``http_<status>``. ``retry_after``: the header.
    """
    try:
        problem = msgspec.json.decode(content, type=Problem)
        members: dict[str, Any] = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = Problem(
            type="about:blank",
            title="No problem document",
            status=status,
            detail=f"the answer has status {status} and is no problem document",
            code=f"http_{status}",
            retryable=status in _PASSING,
            retry_after=float(retry_after) if retry_after.isdecimal() else None,
            next_action="" if status in _PASSING else "Check the URL of the server.",
        )
        members = msgspec.to_builtins(problem)
    kind = _BY_CODE.get(problem.code) or _BY_STATUS.get(status)
    return (kind or (ServerError if status >= 500 else BadRequest))(problem, members)
