from __future__ import annotations

import pytest
from litestar.exceptions import HTTPException, InternalServerException, ServiceUnavailableException

from app.core import errors
from app.http.problems import headers_of, problem_from


@pytest.mark.parametrize(
    ("exc", "status", "code"),
    [
        (errors.InvalidInput("x", field="gpu"), 422, "invalid_input"),
        (errors.Unauthorised("x"), 401, "unauthorised"),
        (errors.Forbidden("x"), 403, "forbidden"),
        (errors.NotFound("x", code="job_not_found"), 404, "job_not_found"),
        (errors.Conflict("x"), 409, "conflict"),
        (errors.IllegalTransition("x"), 409, "illegal_transition"),
        (errors.IdempotencyClash("x"), 409, "idempotency_key_reused"),
        (errors.Gone("x"), 410, "gone"),
        (errors.QuotaExceeded("x"), 429, "quota_exceeded"),
        (errors.Unavailable("x"), 503, "unavailable"),
        (errors.HaeError("x"), 500, "error"),
    ],
)
def test_domain_errors_have_their_status(exc: errors.HaeError, status: int, code: str) -> None:
    document = problem_from(exc, instance="/v1/jobs")
    assert (document.status, document.code, document.detail) == (status, code, "x")
    assert document.type == f"/problems/{code.replace('_', '-')}"
    assert document.instance == "/v1/jobs"
    assert document.retryable is (status in (429, 503))


def test_every_domain_error_has_a_status_of_its_own() -> None:
    def kinds(root: type[errors.HaeError]) -> list[type[errors.HaeError]]:
        return [root, *(kind for child in root.__subclasses__() for kind in kinds(child))]

    statuses = {kind: problem_from(kind("x")).status for kind in kinds(errors.HaeError) if kind is not errors.HaeError}
    assert all(400 <= status < 500 or status in (502, 503) for status in statuses.values()), statuses


def test_the_field_is_named() -> None:
    document = problem_from(errors.InvalidInput("Too many.", field="requirements.gpus", next_action="Ask for 8."))
    assert document.field == "requirements.gpus"
    assert [(item.field, item.detail) for item in document.errors] == [("requirements.gpus", "Too many.")]
    assert document.next_action == "Ask for 8."


def test_headers_follow_the_status() -> None:
    assert headers_of(problem_from(errors.Unauthorised("x")))["Www-Authenticate"].startswith("Bearer")
    assert headers_of(problem_from(errors.Unavailable("x", retry_after=2.2)))["Retry-After"] == "3"
    assert "Retry-After" not in headers_of(problem_from(errors.NotFound("x")))


@pytest.mark.parametrize("exc", [ValueError("secret"), InternalServerException("secret"), RecursionError("secret")])
def test_the_message_of_an_unforeseen_error_stays_inside(exc: Exception) -> None:
    document = problem_from(exc)
    assert document.status == 500
    assert "secret" not in str(document)
    assert document.reference in document.detail
    assert document.reference != problem_from(exc).reference


def test_http_errors_keep_their_status_and_get_a_code() -> None:
    unavailable = problem_from(ServiceUnavailableException("Restarting."))
    assert (unavailable.status, unavailable.retryable) == (503, True)
    limited = problem_from(HTTPException(status_code=429, headers={"Retry-After": "7"}))
    assert (limited.code, limited.retry_after, limited.retryable) == ("rate_limited", 7.0, True)
    assert problem_from(HTTPException(status_code=415)).code == "unsupported_media_type"
    assert problem_from(HTTPException(status_code=418)).code == "http_error"
