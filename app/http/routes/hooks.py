"""Agents' own webhooks: URLs that are told of what happens to the account's jobs, or to one job or plan."""

from typing import Annotated, Any

import msgspec
from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta

from app.core.access import Principal, Scope
from app.core.deliveries import Hook
from app.http.engine import Engine
from app.http.routes.jobs import IdempotencyKey
from app.http.security import scoped
from app.services import hooks
from app.services.hooks import HookWish
from app.webhooks.endpoints import MAX_URL
from tools.answers import stamp
from tools.schemas import Input


class NewHook(Input, kw_only=True):
    """A URL to be told of events. ``kinds``: of these alone, empty = of all that webhooks are told of. ``subject``: of
    this job or plan alone, whose end it is always told of. ``secret``: to sign with, ``whsec_`` and the base64 of 24 to
    64 bytes; empty = one is made."""

    url: Annotated[str, Meta(min_length=1, max_length=MAX_URL, examples=["https://agent.example/hooks/hae"])]
    kinds: Annotated[list[Annotated[str, Meta(max_length=40)]], Meta(max_length=40)] = []
    subject: Annotated[
        str, Meta(max_length=40, pattern=r"^[A-Za-z0-9_\-]*$", description="A job_id or plan_id; empty = all events")
    ] = ""
    secret: Annotated[str, Meta(max_length=100)] = ""


class HookAnswer(msgspec.Struct, kw_only=True):
    """A hook. ``ended_at``: since when nothing more is sent to it, empty while it is live; ``error``: why, where that
    was for failures. ``form``: custom, or a2a for one that was made over A2A."""

    hook_id: str
    url: str
    kinds: list[str]
    subject: str
    form: str
    created_at: str
    ended_at: str
    error: str


class HookMade(HookAnswer, kw_only=True):
    """``secret``: what messages are signed with, shown this once."""

    secret: str


class HookPage(msgspec.Struct, kw_only=True):
    """Newest first. ``next_cursor``: pass it as ``cursor`` for older ones; empty at the end."""

    hooks: list[HookAnswer]
    next_cursor: str


class HookDeleted(msgspec.Struct, kw_only=True):
    hook_id: str
    deleted: bool = True


@post("/v1/hooks", operation_id="create_hook", status_code=201)
async def create(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    data: JSONBody[NewHook],
    idempotency_key: IdempotencyKey = "",
) -> Response[HookMade]:
    """Be told by POST of what happens to your account's jobs and plans, or to one of them. Messages are signed as
    Standard Webhooks says, and sent until they are answered 2xx.

    201 when the hook was made, 200 when the Idempotency-Key had made it before.
    """
    wish = HookWish(data.url, data.kinds, data.subject, data.secret, idempotency_key=idempotency_key)
    hook, created = await hooks.create(engine.db, engine.hook_guard, principal, wish)
    return Response(
        HookMade(**_told(hook), secret=hook.secret),
        status_code=201 if created else 200,
        headers={"Location": f"/v1/hooks/{hook.id}"},
    )


@get("/v1/hooks", operation_id="list_hooks")
async def listing(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    cursor: Annotated[
        str,
        QueryParameter(max_length=40, pattern=r"^(hook_[0-9a-z]{26})?$", description="next_cursor of the last page"),
    ] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
) -> HookPage:
    """Your account's hooks, newest first, without their secrets; those that have ended for 30 days more."""
    found = await hooks.listing(engine.db, principal, cursor, limit)
    return HookPage(
        hooks=[HookAnswer(**_told(hook)) for hook in found], next_cursor=found[-1].id if len(found) == limit else ""
    )


@get("/v1/hooks/{hook_id:str}", operation_id="get_hook")
async def read(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], hook_id: FromPath[str]
) -> HookAnswer:
    """A hook, without its secret: whether it is live, and why not."""
    return HookAnswer(**_told(await hooks.get(engine.db, principal, hook_id)))


@delete("/v1/hooks/{hook_id:str}", operation_id="delete_hook", status_code=200)
async def remove(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], hook_id: FromPath[str]
) -> HookDeleted:
    """Delete a hook. What was still to be sent to it is not."""
    await hooks.delete(engine.db, principal, hook_id)
    return HookDeleted(hook_id=hook_id)


def _told(hook: Hook) -> dict[str, Any]:
    return {
        "hook_id": hook.id,
        "url": hook.url,
        "kinds": hook.kinds,
        "subject": hook.subject,
        "form": hook.form,
        "created_at": stamp(hook.created_at),
        "ended_at": stamp(hook.ended_at),
        "error": hook.error or "",
    }


hooks_router = Router(
    "/",
    route_handlers=[create, listing, read, remove],
    tags=["webhooks"],
    opt=scoped(Scope.AGENT, Scope.OPERATOR),
)
