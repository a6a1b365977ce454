"""Use cases of agents' own webhooks: add, read, delete. What is sent to them is the dispatcher's business."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpcore
import httpx
import msgspec

from app.core.access import Principal
from app.core.deliveries import Hook
from app.core.errors import Conflict, IdempotencyClash, InvalidInput, NotFound, QuotaExceeded
from app.core.events import TOLD_AGENTS
from app.core.ids import new_id
from app.core.plans import PLAN_FINAL
from app.store import hooks, idempotency, jobs, plans
from app.store.db import Database, UnitOfWork
from app.webhooks import signing
from app.webhooks.guard import Guard, RefusedError
from app.webhooks.hooks import EXAMPLE, HookEndpoint

OF_KEY: Final = 32
"""Hooks that a key may have for all events of its account."""
OF_SUBJECT: Final = 8
"""Hooks that an account may have for one job or plan."""
OF_SUBJECTS: Final = 1_000
"""Hooks that an account may have for single jobs and plans."""
_LOOK_UP_S = 5.0
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class HookWish:
    """A hook to be made. ``subject``: a job_id or plan_id, empty = all events of the account. ``secret``: a ``whsec_``
    secret; for the form ``custom`` one is made where it is empty. ``replaces``: an option whose value is unique among
    the subject's hooks of this form: one that has it already goes."""

    url: str
    kinds: Sequence[str] = ()
    subject: str = ""
    secret: str = field(default="", repr=False)
    form: str = "custom"
    token: str = field(default="", repr=False)
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    replaces: str = ""
    idempotency_key: str = ""

    def digest(self) -> str:
        """sha256 of what is asked for."""
        asked = ["hook", self.url, sorted(self.kinds), self.subject, self.secret, self.form, self.token, self.options]
        return hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()


async def create(db: Database, guard: Guard, principal: Principal, wish: HookWish) -> tuple[Hook, bool]:
    """Add a hook, and whether this call did: False when the idempotency key had added it before.

    Raises Forbidden for a key that may not follow jobs, InvalidInput on a URL that cannot work or must not be dialled,
    NotFound for a subject that is not the account's, Conflict for one that is over, QuotaExceeded past the bounds
    above, IdempotencyClash.
    """
    principal.rights.require_following()
    hook = await check(guard, wish, principal)
    async with db.unit() as uow:
        await hooks.take_turn(uow, hook.account)
        if wish.idempotency_key:
            key = (hook.account, wish.idempotency_key)
            taken = await idempotency.claim(uow, [(*key, wish.digest(), hook.id)])
            if key in taken:
                return await _made_before(uow, wish, principal, *taken[key]), False
        if wish.subject:
            await hooks.hold_fan_out(uow)
            await _check_subject(uow, principal, wish.subject)
        if wish.replaces:
            for old in await hooks.of_subject(uow, hook.account, hook.subject, hook.form):
                if old.options.get(wish.replaces) == hook.options.get(wish.replaces):
                    await hooks.delete(uow, hook.account, old.id)
        await _check_bounds(uow, hook)
        await hooks.add(uow, hook)
        made = await hooks.get(uow, hook.account, hook.id)
    assert made is not None
    return made, True


async def check(guard: Guard, wish: HookWish, principal: Principal) -> Hook:
    """The hook as it would be, its subject aside. Raises InvalidInput as ``create`` does."""
    hook = Hook(
        id=new_id("hook"),
        account=principal.account,
        key_id=principal.key_id,
        form=wish.form,
        subject=wish.subject,
        kinds=sorted(set(wish.kinds)),
        url=wish.url,
        secret=wish.secret or (signing.new_secret() if wish.form == "custom" else ""),
        token=wish.token,
        options=wish.options,
    )
    await _check(guard, hook)
    return hook


async def get(db: Database, principal: Principal, hook_id: str) -> Hook:
    """A hook of the caller's account. Raises NotFound."""
    async with db.unit() as uow:
        return await _known(uow, principal, hook_id)


async def listing(db: Database, principal: Principal, before: str, limit: int) -> list[Hook]:
    """The account's hooks with ids below ``before`` (empty = all), newest first."""
    async with db.unit() as uow:
        return await hooks.page(uow, principal.account, before, limit)


async def of_subject(db: Database, principal: Principal, subject: str, form: str) -> list[Hook]:
    """The account's hooks of this form for a job or plan, oldest first."""
    async with db.unit() as uow:
        return await hooks.of_subject(uow, principal.account, subject, form)


async def delete(db: Database, principal: Principal, hook_id: str) -> None:
    """Delete a hook; what was still to be sent to it is not. Raises NotFound."""
    async with db.unit() as uow:
        if not await hooks.delete(uow, principal.account, hook_id):
            raise _no_such_hook(hook_id)


async def _check(guard: Guard, hook: Hook) -> None:
    unknown = sorted(set(hook.kinds) - TOLD_AGENTS)
    if unknown:
        raise InvalidInput(
            f"kinds: {', '.join(unknown)[:200]} is not told to hooks; known are {', '.join(sorted(TOLD_AGENTS))}",
            field="kinds",
            next_action=f"A valid hook: {EXAMPLE}",
        )
    endpoint = HookEndpoint.of(hook)
    for name, value in endpoint.headers().items():
        if not (value.isascii() and value.isprintable()):
            raise InvalidInput(f"what is sent as {name} must be printable ASCII", field="token")
    url = httpx.URL(hook.url)
    try:
        await guard.check(url.host, url.port or _PORTS[url.scheme], _LOOK_UP_S)
    except RefusedError as error:
        raise InvalidInput(
            str(error), field="url", code="url_refused", next_action="Give a URL that is reachable on the Internet."
        ) from None
    except (httpcore.ConnectError, httpcore.ConnectTimeout):
        raise InvalidInput(
            "the host of the URL cannot be found",
            field="url",
            code="url_refused",
            next_action="Correct the host's name, or try again once it can be looked up.",
        ) from None


async def _check_subject(uow: UnitOfWork, principal: Principal, subject: str) -> None:
    if subject.startswith("plan_"):
        plan = await plans.get(uow, subject, principal.account)
        over = None if plan is None else plan.state in PLAN_FINAL
    else:
        found = await jobs.get(uow, subject, principal.account)
        over = None if found is None else found[0].final
    if over is None:
        raise NotFound(
            f"there is no job or plan {subject[:60]} of this account",
            code="subject_not_found",
            field="subject",
            next_action="Give the job_id of one of your jobs, the plan_id of one of your plans, or nothing.",
        )
    if over:
        raise Conflict(
            f"{subject[:60]} is over: nothing more will happen to it",
            code="subject_over",
            field="subject",
            next_action="Read its state instead.",
        )


async def _check_bounds(uow: UnitOfWork, hook: Hook) -> None:
    found = await hooks.counts(uow, hook.account, hook.key_id, hook.subject)
    if not hook.subject and found.of_key >= OF_KEY:
        raise _too_many(f"a key may have {OF_KEY} hooks for all events of its account")
    if hook.subject and found.of_subject >= OF_SUBJECT:
        raise _too_many(f"a job or plan may have {OF_SUBJECT} hooks")
    if hook.subject and found.of_subjects >= OF_SUBJECTS:
        raise _too_many(f"an account may have {OF_SUBJECTS} hooks for single jobs and plans")


def _too_many(detail: str) -> QuotaExceeded:
    return QuotaExceeded(
        detail, code="too_many_hooks", next_action="Delete those of no more use with DELETE /v1/hooks/{hook_id}."
    )


async def _made_before(uow: UnitOfWork, wish: HookWish, principal: Principal, digest: str, made: str) -> Hook:
    if digest != wish.digest():
        raise IdempotencyClash.of(made)
    return await _known(uow, principal, made)


async def _known(uow: UnitOfWork, principal: Principal, hook_id: str) -> Hook:
    found = await hooks.get(uow, principal.account, hook_id)
    if found is None:
        raise _no_such_hook(hook_id)
    return found


def _no_such_hook(hook_id: str) -> NotFound:
    return NotFound(
        f"this account has no hook {hook_id[:60]}",
        code="hook_not_found",
        field="hook_id",
        next_action="List those there are with GET /v1/hooks.",
    )
