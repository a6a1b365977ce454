"""Plans over REST: the tools about plans, addressed as resources, and a plan as a picture."""

from typing import Annotated

from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from app.core.access import Principal, Scope
from app.http.engine import Engine
from app.http.routes.batches import MAX_BATCH_BODY
from app.http.routes.jobs import IdempotencyKey, same_key
from app.http.security import scoped
from app.services.plan_drawing import svg
from tools import plans
from tools.plan_schemas import GetPlan, ListPlans, PlanAnswer, PlanPage, SubmitPlan


@post("/v1/plans", operation_id="submit_plan", status_code=201, request_max_body_size=MAX_BATCH_BODY)
async def submit(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    data: JSONBody[SubmitPlan],
    idempotency_key: IdempotencyKey = "",
) -> Response[PlanAnswer]:
    """Submit a graph of jobs within a budget. 201 when the plan was made; 200 when the Idempotency-Key had made it
    before, and for a dry run, which makes none."""
    data.idempotency_key = same_key(data.idempotency_key, idempotency_key)
    answer: PlanAnswer = await engine.agents.call(principal, "submit_plan", data)
    headers = {"Location": f"/v1/plans/{answer.plan_id}"} if answer.plan_id else {}
    return Response(answer, status_code=201 if answer.created else 200, headers=headers)


@get("/v1/plans", operation_id="list_plans")
async def listing(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    cursor: Annotated[
        str,
        QueryParameter(max_length=40, pattern=r"^(plan_[0-9a-z]{26})?$", description="next_cursor of the last page"),
    ] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 20,
) -> PlanPage:
    """Your plans, newest first; operators see everyone's."""
    answer: PlanPage = await engine.agents.call(principal, "list_plans", ListPlans(cursor=cursor, limit=limit))
    return answer


@get("/v1/plans/{plan_id:str}", operation_id="get_plan")
async def read(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    plan_id: FromPath[str],
    units: Annotated[bool, QueryParameter(description="Also list every unit of work")] = False,
    wait_s: Annotated[float, QueryParameter(ge=0, le=45, description="Seconds to wait for its end")] = 0.0,
) -> PlanAnswer:
    """How far a plan is: its tasks by state, what it has cost, and a forecast."""
    asked = {"plan_id": plan_id, "units": units, "wait_s": wait_s}
    answer: PlanAnswer = await engine.agents.call(principal, "get_plan", asked)
    return answer


@get("/v1/plans/{plan_id:str}/graph.svg", operation_id="draw_plan", media_type="image/svg+xml")
async def draw(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], plan_id: FromPath[str]
) -> Response[bytes]:
    """The plan's tasks as a graph with their states."""
    asked = GetPlan(plan_id=plan_id)
    drawn = await plans.drawn(engine.agents.context, principal, asked.plan_id)
    # A picture that runs nothing, wherever it is shown.
    headers = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return Response(svg(drawn).encode(), media_type="image/svg+xml", headers=headers)


@delete("/v1/plans/{plan_id:str}", operation_id="cancel_plan", status_code=200)
async def cancel(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], plan_id: FromPath[str]
) -> PlanAnswer:
    """End a plan and its jobs; one that is over stays as it is."""
    answer: PlanAnswer = await engine.agents.call(principal, "cancel_plan", {"plan_id": plan_id})
    return answer


plans_router = Router(
    "/",
    route_handlers=[submit, listing, read, draw, cancel],
    tags=["plans"],
    opt=scoped(Scope.AGENT, Scope.OPERATOR),
)
