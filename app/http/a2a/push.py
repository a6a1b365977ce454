"""A2A's push notification configurations: hooks of the form ``a2a`` for one job or plan."""

from __future__ import annotations

from typing import Any

from a2a.types.a2a_pb2 import AuthenticationInfo, TaskPushNotificationConfig

from app.core.a2a import context_of
from app.core.access import Principal
from app.core.deliveries import Hook
from app.core.errors import InvalidInput, NotFound
from app.http.engine import Engine
from app.services import hooks
from app.services.hooks import HookWish
from app.webhooks.endpoints import MAX_URL
from app.webhooks.hooks import SIGNED_SCHEME

_FORM = "a2a"
_LONGEST = {"id": 100, "url": MAX_URL, "token": 2_000}


def wish_of(config: TaskPushNotificationConfig, task_id: str, context_id: str) -> HookWish:
    """The hook that a configuration asks for. Raises InvalidInput.

    The scheme ``standard-webhooks`` has messages signed with its credentials; any other is sent along as the
    Authorization header.
    """
    for name, longest in _LONGEST.items():
        if len(getattr(config, name)) > longest:
            raise InvalidInput(f"{name} may have {longest} characters", field=f"taskPushNotificationConfig.{name}")
    options: dict[str, Any] = {}
    if context_id and context_id != context_of(task_id):
        options["context_id"] = context_id
    if config.id:
        options["config_id"] = config.id
    secret = ""
    if config.HasField("authentication"):
        scheme, credentials = config.authentication.scheme, config.authentication.credentials
        if len(scheme) > 80 or len(credentials) > 4_000:
            raise InvalidInput(
                "the authentication is too long", field="taskPushNotificationConfig.authentication.credentials"
            )
        if scheme.lower() == SIGNED_SCHEME:
            secret = credentials
        else:
            options |= {"scheme": scheme, "credentials": credentials}
    return HookWish(
        url=config.url,
        subject=task_id,
        secret=secret,
        form=_FORM,
        token=config.token,
        options=options,
        replaces="config_id" if config.id else "",
    )


async def create(
    engine: Engine, principal: Principal, config: TaskPushNotificationConfig, task_id: str, context_id: str
) -> TaskPushNotificationConfig:
    """Have the task's updates sent to a URL; a configuration of the same id is replaced."""
    wish = wish_of(config, task_id, context_id)
    hook, _ = await hooks.create(engine.db, engine.hook_guard, principal, wish)
    return config_of(hook)


async def listing(engine: Engine, principal: Principal, task_id: str) -> list[TaskPushNotificationConfig]:
    """The task's configurations, oldest first, without their credentials."""
    return [config_of(hook) for hook in await hooks.of_subject(engine.db, principal, task_id, _FORM)]


async def get(engine: Engine, principal: Principal, task_id: str, config_id: str) -> TaskPushNotificationConfig:
    """Raises NotFound."""
    return config_of(await _known(engine, principal, task_id, config_id))


async def delete(engine: Engine, principal: Principal, task_id: str, config_id: str) -> None:
    """Nothing more is sent to it; one that is not there is no error."""
    try:
        hook = await _known(engine, principal, task_id, config_id)
        await hooks.delete(engine.db, principal, hook.id)
    except NotFound:
        return


async def _known(engine: Engine, principal: Principal, task_id: str, config_id: str) -> Hook:
    for hook in await hooks.of_subject(engine.db, principal, task_id, _FORM):
        if config_id in (hook.id, hook.options.get("config_id")):
            return hook
    raise NotFound(
        f"the task has no push notification configuration {config_id[:60]}",
        code="hook_not_found",
        next_action="List those that it has.",
    )


def config_of(hook: Hook) -> TaskPushNotificationConfig:
    """The configuration that a hook was made from, without its credentials."""
    config = TaskPushNotificationConfig(
        id=hook.options.get("config_id") or hook.id, task_id=hook.subject, url=hook.url, token=hook.token
    )
    scheme = SIGNED_SCHEME if hook.secret else hook.options.get("scheme", "")
    if scheme:
        config.authentication.CopyFrom(AuthenticationInfo(scheme=scheme))
    return config
