"""Errors in the words of A2A, each with the problem object that the other faces show in its data."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

import msgspec
from a2a.utils import errors as a2a
from a2a.utils.errors import A2AError

from app.core import errors
from app.http.problems import problem_from

log = logging.getLogger(__name__)

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

_NO_TASK: Final = frozenset({"job_not_found", "plan_not_found", "subject_not_found", "hook_not_found"})
# First match wins, so a class stands before its bases.
_KINDS: Final[tuple[tuple[type[errors.HaeError], type[A2AError]], ...]] = (
    (errors.InvalidInput, a2a.InvalidParamsError),
    (errors.IdempotencyClash, a2a.InvalidParamsError),
    (errors.NotFound, a2a.InvalidParamsError),
    (errors.Unavailable, a2a.InternalError),
    (errors.HaeError, a2a.UnsupportedOperationError),
)


def error_of(exc: Exception) -> A2AError:
    """The A2A error for any exception; never repeats the message of one that it does not know."""
    if isinstance(exc, A2AError):
        return exc
    problem = problem_from(exc)
    data = msgspec.to_builtins(problem)
    if problem.errors:
        # As the SDK wants them for google.rpc.BadRequest.
        data["errors"] = [{"field": one.field, "message": one.detail} for one in problem.errors]
    if isinstance(exc, errors.NotFound) and exc.code in _NO_TASK:
        return a2a.TaskNotFoundError(problem.detail, data)
    kind = next((kind for mine, kind in _KINDS if isinstance(exc, mine)), a2a.InternalError)
    if problem.status == 500:
        log.error("an A2A request failed, reference %s", problem.reference, exc_info=exc)
    return kind(problem.detail, data)


def told(method: Callable[Given, Coroutine[Any, Any, Answer]]) -> Callable[Given, Coroutine[Any, Any, Answer]]:
    """A method of which no other error comes than A2A's."""

    @wraps(method)
    async def telling(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
        try:
            return await method(*args, **kwargs)
        except Exception as exc:
            raise error_of(exc) from exc

    return telling


def told_stream(method: Callable[Given, AsyncIterator[Any]]) -> Callable[Given, AsyncIterator[Any]]:
    """As ``told``, for a method that streams."""

    @wraps(method)
    async def telling(*args: Given.args, **kwargs: Given.kwargs) -> AsyncIterator[Any]:
        try:
            async for one in method(*args, **kwargs):
                yield one
        except Exception as exc:
            raise error_of(exc) from exc

    return telling
