"""Many jobs at once: submit and cancel them in one call. And one that is over, once more."""

from typing import Annotated, cast

import msgspec
from litestar import Response, Router, post
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException
from litestar.params import FromPath, HeaderParameter, JSONBody
from msgspec import Meta

from app.core.access import Principal, Scope
from app.core.errors import HaeError, InvalidInput
from app.http.body import decode
from app.http.engine import Engine
from app.http.problems import BadRequest
from app.http.routes.jobs import IdempotencyKey, same_key
from app.http.security import scoped
from tools.jobs import submit_batch
from tools.many_schemas import (
    MAX_BATCH,
    CancelJobs,
    CancelJobsAnswer,
    RerunChanges,
    RerunJob,
    SubmitJobs,
    SubmitJobsAnswer,
)
from tools.schemas import (
    SubmitAnswer,
    SubmitJob,
)

MAX_BATCH_BODY = 16 << 20

BatchKey = Annotated[
    str,
    HeaderParameter(
        name="Idempotency-Key",
        max_length=190,
        description="For all jobs of the batch that have no idempotency_key: each gets this, a slash and its index",
    ),
]


class _Unread(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    jobs: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_BATCH)]


def read_batch(body: bytes) -> SubmitJobs:
    """The batch, with an InvalidInput in the place of each job that is none.

    Raises as body.decode does where the body as a whole is wrong, or holds what no body may hold anywhere.
    """
    try:
        # Nearly all batches are right: one pass over all of it.
        return cast("SubmitJobs", decode(body, SubmitJobs))
    except ValidationException:
        parts: list[msgspec.Raw] = decode(body, _Unread).jobs
    jobs = [_read_one(bytes(part), index) for index, part in enumerate(parts)]
    # The type that the document tells of; what is no job is met again in submit_batch, which expects it.
    return SubmitJobs(jobs=cast("list[SubmitJob]", jobs))


def _read_one(part: bytes, index: int) -> SubmitJob | InvalidInput:
    try:
        return cast("SubmitJob", decode(part, SubmitJob))
    except ValidationException as error:
        first = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
        field, message = str(first.get("key", ""))[:200], str(first.get("message", error.detail))[:400]
        return InvalidInput(f"{field}: {message}" if field else message, field=field)
    except BadRequest as error:
        return InvalidInput(error.detail)


@post(
    "/v1/jobs:batch",
    operation_id="submit_jobs",
    status_code=200,
    request_max_body_size=MAX_BATCH_BODY,
    opt={"reader": read_batch},
)
async def submit(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    data: JSONBody[SubmitJobs],
    idempotency_key: BatchKey = "",
) -> SubmitJobsAnswer:
    """Submit up to 1,000 jobs in one transaction; one result each, in order, a job or a problem.

    A job that is refused does not keep out the others. Only a body that cannot be read, or that holds a NUL character
    or an integer past 64 bits anywhere, is refused as a whole.
    """
    asked: list[SubmitJob | HaeError] = list(data.jobs)
    if idempotency_key:
        for index, one in enumerate(asked):
            if isinstance(one, SubmitJob) and not one.idempotency_key:
                one.idempotency_key = f"{idempotency_key}/{index}"
    principal.rights.require_tool("submit_jobs")
    # Past the agents' graph, which looks at every call: here it would cost as much as the jobs themselves.
    return await submit_batch(engine.agents.context, principal, asked)


@post("/v1/jobs:cancel", operation_id="cancel_jobs", status_code=200)
async def cancel(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], data: JSONBody[CancelJobs]
) -> CancelJobsAnswer:
    """Cancel the jobs named, or those that meet every condition of the filter: up to 1,000 a call, the oldest first.

    ``more`` says whether a filter still finds others: call again. Repeating changes nothing.
    """
    answer: CancelJobsAnswer = await engine.agents.call(principal, "cancel_jobs", data)
    return answer


@post("/v1/jobs/{job_id:str}/rerun", operation_id="rerun_job", status_code=201)
async def rerun(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    job_id: FromPath[str],
    data: JSONBody[RerunChanges],
    idempotency_key: IdempotencyKey = "",
) -> Response[SubmitAnswer]:
    """Run a job that is over once more: the same request under a new id, with what the body changes.

    201 when it was made, 200 when the Idempotency-Key had made it before, 409 while the job is not over.
    """
    changes = {name: getattr(data, name) for name in RerunChanges.__struct_fields__}
    changes["idempotency_key"] = same_key(data.idempotency_key, idempotency_key)
    asked = RerunJob(job_id=job_id, **changes)
    answer: SubmitAnswer = await engine.agents.call(principal, "rerun_job", asked)
    return Response(
        answer, status_code=201 if answer.created else 200, headers={"Location": f"/v1/jobs/{answer.job_id}"}
    )


batches_router = Router(
    "/", route_handlers=[submit, cancel, rerun], tags=["jobs"], opt=scoped(Scope.AGENT, Scope.OPERATOR)
)
