"""For operators: jobs that the engine gave up looking at, and how to have it look again."""

from typing import Annotated

import msgspec
from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta

from app.core.access import Scope
from app.core.errors import InvalidInput
from app.http.engine import Engine
from app.http.routes.jobs import Transition, transition
from app.http.security import scoped
from app.services import dead
from tools.answers import job_summary, stamp
from tools.schemas import Input, JobId, JobSummary


class DeadJob(msgspec.Struct, kw_only=True):
    """A job with parked signals: it stays as it is until they are requeued. ``since``: when the first was parked;
    ``tries``: of the signal with the most; ``error``: of the one parked last."""

    job_id: str
    account: str
    type: str
    state: str
    signals: int
    tries: int
    error: str
    since: str


class DeadPage(msgspec.Struct, kw_only=True):
    """``next_cursor``: pass it as ``cursor`` for older jobs; empty at the end."""

    jobs: list[DeadJob]
    next_cursor: str


class DeadSignal(msgspec.Struct, kw_only=True):
    """A reason to look at the job. ``parked_at`` is empty while it waits for ``due_at``."""

    kind: str
    due_at: str
    tries: int
    error: str
    parked_at: str


class DeadDetail(msgspec.Struct, kw_only=True):
    """The job, every signal of it, and its transitions, oldest first."""

    job: JobSummary
    account: str
    signals: list[DeadSignal]
    transitions: list[Transition]


class Requeue(Input, kw_only=True):
    """Name the jobs, or say all of them."""

    job_ids: Annotated[list[JobId], Meta(max_length=1_000)] = []
    all: bool = False


class Requeued(msgspec.Struct, kw_only=True):
    """``job_ids``: jobs that are looked at again now; ``untouched``: of those named, the ones without parked signals.
    ``more``: whether others are left: call again."""

    requeued: int
    job_ids: list[str]
    untouched: list[str]
    more: bool


@get("/internal/jobs/dead", operation_id="list_dead_jobs")
async def listing(
    engine: NamedDependency[Engine],
    cursor: Annotated[
        str, QueryParameter(max_length=40, pattern=r"^(job_[0-9a-z]{26})?$", description="next_cursor of the last page")
    ] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
) -> DeadPage:
    """Jobs that the engine failed on again and again and no longer looks at, newest first, with the last error."""
    found = await dead.listing(engine.db, cursor, limit)
    return DeadPage(
        jobs=[
            DeadJob(
                job_id=one.job_id,
                account=one.account,
                type=one.type,
                state=one.state,
                signals=one.signals,
                tries=one.tries,
                error=one.error,
                since=stamp(one.since),
            )
            for one in found
        ],
        next_cursor=found[-1].job_id if len(found) == limit else "",
    )


@get("/internal/jobs/dead/{job_id:str}", operation_id="get_dead_job")
async def read(engine: NamedDependency[Engine], job_id: FromPath[str]) -> DeadDetail:
    """One of them: its state, its signals with their errors, its history."""
    found = await dead.inspect(engine.db, job_id)
    return DeadDetail(
        job=job_summary(found.job),
        account=found.job.account,
        signals=[
            DeadSignal(
                kind=one.kind,
                due_at=stamp(one.due_at),
                tries=one.tries,
                error=one.error or "",
                parked_at=stamp(one.parked_at),
            )
            for one in found.signals
        ],
        transitions=[transition(row) for row in found.history],
    )


@post("/internal/jobs/dead/requeue", operation_id="requeue_dead_jobs", status_code=200)
async def requeue(engine: NamedDependency[Engine], data: JSONBody[Requeue]) -> Requeued:
    """Have the engine look at these jobs again at once, as if for the first time. To give a job up, cancel it."""
    if bool(data.job_ids) is data.all:
        raise InvalidInput("name jobs in job_ids, or say all: true", field="job_ids")
    done = await dead.requeue(engine.db, None if data.all else data.job_ids)
    return Requeued(requeued=len(done.jobs), job_ids=done.jobs, untouched=done.untouched, more=done.more)


dead_router = Router("/", route_handlers=[listing, read, requeue], tags=["operators"], opt=scoped(Scope.OPERATOR))
