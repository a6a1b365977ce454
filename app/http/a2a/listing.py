"""Lists of tasks: jobs and plans of an account together, newest first."""

from __future__ import annotations

from datetime import UTC

from a2a.types.a2a_pb2 import ListTasksRequest, ListTasksResponse, Task, TaskState
from a2a.utils.constants import DEFAULT_LIST_TASKS_PAGE_SIZE
from a2a.utils.task import validate_page_size

from app.core.a2a import TASK_STATE, task_suffix
from app.core.access import Principal
from app.core.errors import InvalidInput, NotFound
from app.core.plans import PlanState
from app.core.states import JobState
from app.http.a2a.tasks import contexts_of, is_plan, read_task, task_of
from app.http.engine import Engine
from app.services import jobs
from app.store import contexts, tasks
from tools.answers import job_summary
from tools.plan_schemas import ListPlans, PlanSummary
from tools.plans import list_plans
from tools.schemas import JobSummary

_SUFFIX = "0123456789abcdefghjkmnpqrstvwxyz"


async def list_tasks(engine: Engine, principal: Principal, asked: ListTasksRequest) -> ListTasksResponse:
    """A page of the caller's tasks, by the time of their making; a page may be short before the last.

    Raises Forbidden, InvalidInput, InvalidParamsError.
    """
    principal.rights.require_tool("list_jobs")
    size = asked.page_size if asked.HasField("page_size") else DEFAULT_LIST_TASKS_PAGE_SIZE
    validate_page_size(size)
    before = asked.page_token
    if before and (len(before) != 26 or not set(before) <= set(_SUFFIX)):
        raise InvalidInput("not a page token that this list gave", field="pageToken")
    if asked.context_id:
        found, following = await _of_context(engine, principal, asked.context_id, before, size)
    else:
        found, following = await _newest(engine, principal, _state(asked), before, size)
    if asked.include_artifacts:
        found = [await read_task(engine, principal, task.id) if _may_have(task) else task for task in found]
    return ListTasksResponse(
        tasks=[task for task in found if _wanted(task, asked)],
        next_page_token=following,
        page_size=size,
        total_size=await _total(engine, principal, asked),
    )


def _state(asked: ListTasksRequest) -> str:
    return TaskState.Name(asked.status) if asked.status else ""


def _wanted(task: Task, asked: ListTasksRequest) -> bool:
    if asked.status and task.status.state != asked.status:
        return False
    return not asked.HasField("status_timestamp_after") or (
        task.status.timestamp.ToDatetime(UTC) >= asked.status_timestamp_after.ToDatetime(UTC)
    )


def _may_have(task: Task) -> bool:
    return is_plan(task.id) or task.status.state == TaskState.TASK_STATE_COMPLETED


async def _newest(engine: Engine, principal: Principal, state: str, before: str, size: int) -> tuple[list[Task], str]:
    """Tasks whose ids end below ``before`` (empty = all), and the next page's ``before``."""
    states = [one.value for one in JobState if not state or TASK_STATE[one] == state]
    wanted = [] if len(states) == len(JobState) else states
    found: dict[str, JobSummary | PlanSummary] = {}
    floor = ""
    if states:
        page, following = await jobs.listing(
            engine.db, principal, states=wanted, types=[], before=f"job_{before}" if before else "", limit=size
        )
        found |= {job.id: job_summary(job) for job in page}
        floor = following.partition("_")[2]
    plans = await list_plans(
        engine.agents.context, principal, ListPlans(limit=size, cursor=f"plan_{before}" if before else "")
    )
    found |= {plan.plan_id: plan for plan in plans.plans}
    # What is older than the last of either list has not been looked at in that one.
    floor = max(floor, plans.next_cursor.partition("_")[2])
    ids = sorted((id_ for id_ in found if _place(id_) >= floor), key=_place, reverse=True)
    more = ids[size:] or floor
    ids = ids[:size]
    named = await contexts_of(engine, ids)
    return [task_of(found[id_], named[id_]) for id_ in ids], _place(ids[-1]) if more and ids else floor


def _place(task_id: str) -> str:
    return task_id.partition("_")[2]


async def _of_context(
    engine: Engine, principal: Principal, context_id: str, before: str, size: int
) -> tuple[list[Task], str]:
    async with engine.db.unit() as uow:
        ids = await contexts.page(uow, principal.account, context_id, before, size)
    following = _place(ids[-1]) if len(ids) == size else ""
    suffix = task_suffix(context_id)
    if suffix and (not before or suffix < before):
        # The task that the context was made for.
        ids += [f"job_{suffix}", f"plan_{suffix}"]
    found = []
    for task_id in dict.fromkeys(ids):
        try:
            found.append(await read_task(engine, principal, task_id))
        except NotFound:
            continue
    return found, following


async def _total(engine: Engine, principal: Principal, asked: ListTasksRequest) -> int:
    state = _state(asked)
    async with engine.db.unit() as uow:
        if asked.context_id:
            return await contexts.count(uow, principal.account, asked.context_id) + bool(task_suffix(asked.context_id))
        return await tasks.count(
            uow,
            principal.sees,
            [one.value for one in JobState if not state or TASK_STATE[one] == state],
            [one.value for one in PlanState if not state or TASK_STATE[one] == state],
        )
