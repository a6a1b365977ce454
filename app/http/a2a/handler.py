"""The protocol's methods, each answered from the rows: no task lives in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final, cast

from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import RequestHandler, validate_request_params
from a2a.types.a2a_pb2 import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    ListTasksRequest,
    ListTasksResponse,
    Message,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
)
from a2a.utils.errors import (
    ExtendedAgentCardNotConfiguredError,
    InvalidParamsError,
    TaskNotCancelableError,
    UnsupportedOperationError,
)
from a2a.utils.task import validate_history_length

from app.core.a2a import context_of
from app.core.access import Principal
from app.core.errors import Conflict
from app.core.ids import new_id
from app.core.states import JOB_FINAL
from app.http.a2a import push
from app.http.a2a.asking import asked_in
from app.http.a2a.errors import told, told_stream
from app.http.a2a.listing import list_tasks
from app.http.a2a.streaming import Update, follow, is_over
from app.http.a2a.tasks import is_plan, read_task, reply_to
from app.http.engine import Engine
from app.services import hooks
from app.store import contexts
from tools.plan_schemas import CancelPlan
from tools.schemas import CancelJob

WAIT_S: Final = 45.0
"""How long a message that is to be waited for waits for the task's end at most: clients time out at a minute."""
MADE_BY: Final = {"submit_job": "job_id", "rerun_job": "job_id", "submit_plan": "plan_id"}
"""Tools whose answers name a job or plan that they made: those are tasks."""
_LONGEST_CONTEXT: Final = 200


class Tasks(RequestHandler):
    """Answers for every key alike: the caller comes with each request."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @validate_request_params
    @told
    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Task | Message:
        """Call the tool that the message asks for. Of a task, waits for its end, WAIT_S at most, unless told not to."""
        principal = _caller(context)
        made = await self._sent(principal, params)
        if isinstance(made, Message):
            return made
        if not params.configuration.return_immediately:
            await self._wait(made)
        return await read_task(self._engine, principal, made, own=True)

    @validate_request_params
    @told_stream
    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncIterator[Update | Message]:
        """As on_message_send, with what happens to the task as it happens."""
        principal = _caller(context)
        made = await self._sent(principal, params)
        if isinstance(made, Message):
            yield made
            return
        async for update in follow(self._engine, principal, made, own=True):
            yield update

    @validate_request_params
    @told
    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task:
        validate_history_length(params)
        return await read_task(self._engine, _caller(context), params.id)

    @validate_request_params
    @told
    async def on_list_tasks(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        validate_history_length(params)
        return await list_tasks(self._engine, _caller(context), params)

    @validate_request_params
    @told
    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task:
        """Ask for the end; answers the task as it is a moment later, which may be before its end."""
        principal, agents = _caller(context), self._engine.agents
        before = await read_task(self._engine, principal, params.id, own=True)
        if is_over(before):
            raise TaskNotCancelableError("the task is over", {"code": "task_over", "task_id": before.id})
        if is_plan(params.id):
            await agents.call(principal, "cancel_plan", CancelPlan(plan_id=params.id))
        else:
            await agents.call(principal, "cancel_job", CancelJob(job_id=params.id))
        return await read_task(self._engine, principal, params.id, own=True)

    @validate_request_params
    @told_stream
    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncIterator[Update]:
        """The task as it is, then what happens to it: may be asked for at any time, of any server."""
        updates = follow(self._engine, _caller(context), params.id)
        async for update in updates:
            if isinstance(update, Task) and is_over(update):
                raise UnsupportedOperationError(
                    "the task is over: nothing more will happen to it",
                    {"code": "task_over", "task_id": update.id, "next_action": "Read it with GetTask."},
                )
            yield update

    @validate_request_params
    @told
    async def on_create_task_push_notification_config(
        self, params: TaskPushNotificationConfig, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        principal = _caller(context)
        task = await read_task(self._engine, principal, params.task_id)
        return await push.create(self._engine, principal, params, task.id, task.context_id)

    @validate_request_params
    @told
    async def on_get_task_push_notification_config(
        self, params: GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        return await push.get(self._engine, _caller(context), params.task_id, params.id)

    @validate_request_params
    @told
    async def on_list_task_push_notification_configs(
        self, params: ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> ListTaskPushNotificationConfigsResponse:
        principal = _caller(context)
        task = await read_task(self._engine, principal, params.task_id)
        return ListTaskPushNotificationConfigsResponse(configs=await push.listing(self._engine, principal, task.id))

    @validate_request_params
    @told
    async def on_delete_task_push_notification_config(
        self, params: DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        await push.delete(self._engine, _caller(context), params.task_id, params.id)

    @told
    async def on_get_extended_agent_card(
        self, params: GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> AgentCard:
        raise ExtendedAgentCardNotConfiguredError("the card at /.well-known/agent-card.json says all there is to say")

    async def _sent(self, principal: Principal, params: SendMessageRequest) -> str | Message:
        """The id of the task that the message made, or the answer where it made none."""
        message, configuration = params.message, params.configuration
        validate_history_length(configuration)
        if message.task_id:
            task = await read_task(self._engine, principal, message.task_id)
            raise UnsupportedOperationError(
                "a task takes no further messages", {"code": "task_takes_no_messages", "task_id": task.id}
            )
        if len(message.context_id) > _LONGEST_CONTEXT:
            raise InvalidParamsError(f"contextId may have {_LONGEST_CONTEXT} characters")
        asked = asked_in(message)
        config = configuration.task_push_notification_config
        wanted = configuration.HasField("task_push_notification_config")
        if wanted:
            # A URL that is refused is refused before there is a job.
            await hooks.check(self._engine.hook_guard, push.wish_of(config, "", message.context_id), principal)
        answer = await self._engine.agents.call(principal, asked.tool, asked.arguments)
        task_id = getattr(answer, MADE_BY[asked.tool], "") if asked.tool in MADE_BY else ""
        if not task_id:
            reply_id = new_id("msg")
            return reply_to(message.context_id or context_of(reply_id), reply_id, answer)
        await self._keep(principal, task_id, message.context_id)
        if wanted:
            # Over already: the answer says so.
            with suppress(Conflict):
                await push.create(self._engine, principal, config, task_id, message.context_id)
        return cast("str", task_id)

    async def _keep(self, principal: Principal, task_id: str, context_id: str) -> None:
        if context_id and context_id != context_of(task_id):
            async with self._engine.db.unit() as uow:
                await contexts.keep(uow, principal.account, principal.key_id, task_id, context_id)

    async def _wait(self, task_id: str) -> None:
        if is_plan(task_id):
            await self._engine.plan_desk.wait(task_id, lambda seen: seen[1], WAIT_S)
        else:
            await self._engine.job_desk.wait(task_id, lambda seen: seen[0] in JOB_FINAL, WAIT_S)


def _caller(context: ServerCallContext) -> Principal:
    return cast("Principal", context.state["principal"])
