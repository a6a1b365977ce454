"""Domain errors. Each carries a stable code and a message that is safe to show; HTTP status lives in app/http only.

HaeError
├── InvalidInput        the request is wrong by itself (field says where)
├── NotFound            no such thing, or not yours
├── Forbidden           the key lacks the scope
├── Unauthorised        no key, or an unknown one
├── Conflict            the thing is not in a state that allows this
│   ├── IllegalTransition   a move outside the transition table: a bug in the caller
│   └── IdempotencyClash    same Idempotency-Key, other body
├── QuotaExceeded       the caller has as much of it as it may have at once: try again later
├── BudgetExceeded      it would cost more than may be spent
├── Gone                it was there and its time is over (an offer after its expiry)
├── PluginFailed        an installed plugin raised, hung or answered nonsense
└── Unavailable         a server we need is away or the system is shutting down: try again
"""

from __future__ import annotations

from collections.abc import Mapping


def sentences(*parts: str) -> str:
    """Texts one behind the other, each closed by a full stop unless it has an end of its own or is the last."""
    *first, last = [part for part in parts if part] or [""]
    return " ".join([*(part if part[-1] in ".!?:" else f"{part}." for part in first), last])


class HaeError(Exception):
    """Base of all domain errors.

    ``code``: stable, snake_case, for programs. ``detail``: one sentence for people. ``next_action``: what the caller
    can do about it. ``retryable``: whether the same request may succeed later; ``retry_after`` in seconds.
    ``figures``: amounts that the refusal is about, as decimal strings.
    """

    code = "error"
    retryable = False

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        field: str = "",
        next_action: str = "",
        retry_after: float | None = None,
        figures: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.field = field
        self.next_action = next_action
        self.retry_after = retry_after
        self.figures = dict(figures or {})


class InvalidInput(HaeError):
    code = "invalid_input"


class NotFound(HaeError):
    code = "not_found"


class Forbidden(HaeError):
    code = "forbidden"


class Unauthorised(HaeError):
    code = "unauthorised"


class Conflict(HaeError):
    code = "conflict"


class IllegalTransition(Conflict):
    code = "illegal_transition"


class IdempotencyClash(Conflict):
    code = "idempotency_key_reused"

    @classmethod
    def of(cls, made: str) -> IdempotencyClash:
        """For a key under which another request made ``made``."""
        return cls(
            f"the idempotency key was used before for another request (it made {made})",
            field="idempotency_key",
            next_action="Send the same request again, or use a new key for a new one.",
        )


class QuotaExceeded(HaeError):
    code = "quota_exceeded"
    retryable = True


class BudgetExceeded(HaeError):
    code = "budget_exceeded"


class Gone(HaeError):
    code = "gone"


class PluginFailed(HaeError):
    code = "plugin_failed"


class Unavailable(HaeError):
    code = "unavailable"
    retryable = True
