"""Recurring jobs over REST: the tools about schedules, addressed as resources."""

from typing import Annotated

from litestar import Response, Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from app.core.access import Principal, Scope
from app.http.engine import Engine
from app.http.routes.jobs import IdempotencyKey, same_key
from app.http.security import scoped
from app.services import schedules
from tools.schedule_schemas import (
    ChangeSchedule,
    CreateSchedule,
    DeleteSchedule,
    ListSchedules,
    ScheduleAnswer,
    ScheduleChanges,
    ScheduleDeleted,
    SchedulePage,
)
from tools.schedules import create, schedule_answer


@post("/v1/schedules", operation_id="create_schedule", status_code=201)
async def add(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    data: JSONBody[CreateSchedule],
    idempotency_key: IdempotencyKey = "",
) -> Response[ScheduleAnswer]:
    """Submit a job again and again, whenever its cron expression is due in its time zone.

    201 when the schedule was made, 200 when the Idempotency-Key had made it before.
    """
    data.idempotency_key = same_key(data.idempotency_key, idempotency_key)
    principal.rights.require_tool("create_schedule")
    answer, created = await create(engine.agents.context, principal, data)
    return Response(
        answer,
        status_code=201 if created else 200,
        headers={"Location": f"/v1/schedules/{answer.schedule_id}"},
    )


@get("/v1/schedules", operation_id="list_schedules")
async def listing(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    cursor: Annotated[
        str,
        QueryParameter(max_length=40, pattern=r"^(sched_[0-9a-z]{26})?$", description="next_cursor of the last page"),
    ] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
) -> SchedulePage:
    """Your schedules, newest first; operators see everyone's."""
    answer: SchedulePage = await engine.agents.call(
        principal, "list_schedules", ListSchedules(cursor=cursor, limit=limit)
    )
    return answer


@get("/v1/schedules/{schedule_id:str}", operation_id="get_schedule")
async def read(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], schedule_id: FromPath[str]
) -> ScheduleAnswer:
    """A schedule, with its next five times."""
    principal.rights.require_tool("list_schedules")
    return schedule_answer(await schedules.get(engine.db, principal, schedule_id))


@patch("/v1/schedules/{schedule_id:str}", operation_id="change_schedule")
async def change(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    schedule_id: FromPath[str],
    data: JSONBody[ScheduleChanges],
) -> ScheduleAnswer:
    """Change, pause or resume a schedule; what the body leaves out stays. Times it missed are not made up for."""
    changes = {name: getattr(data, name) for name in ScheduleChanges.__struct_fields__}
    answer: ScheduleAnswer = await engine.agents.call(
        principal, "change_schedule", ChangeSchedule(schedule_id=schedule_id, **changes)
    )
    return answer


@delete("/v1/schedules/{schedule_id:str}", operation_id="delete_schedule", status_code=200)
async def remove(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], schedule_id: FromPath[str]
) -> ScheduleDeleted:
    """End a schedule. The jobs that it made go on."""
    answer: ScheduleDeleted = await engine.agents.call(
        principal, "delete_schedule", DeleteSchedule(schedule_id=schedule_id)
    )
    return answer


schedules_router = Router(
    "/",
    route_handlers=[add, listing, read, change, remove],
    tags=["schedules"],
    opt=scoped(Scope.AGENT, Scope.OPERATOR),
)
