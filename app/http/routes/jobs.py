"""Jobs over REST: the same tools, addressed as resources."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, HeaderParameter, JSONBody, QueryParameter
from litestar.response import ServerSentEvent, ServerSentEventMessage

from app.core.access import Principal, Scope
from app.core.errors import InvalidInput
from app.core.requirements import JobType
from app.core.states import JobState
from app.http.engine import Engine, wait_or_stop
from app.http.security import scoped
from app.services import jobs
from tools.answers import job_answer, stamp
from tools.schemas import JobAnswer, SubmitAnswer, SubmitJob

HEARTBEAT_S = 15.0
IdempotencyKey = Annotated[str, HeaderParameter(name="Idempotency-Key", max_length=200)]


class JobPage(msgspec.Struct):
    """``next_cursor``: pass it as ``cursor`` for older jobs; empty at the end."""

    jobs: list[JobAnswer]
    next_cursor: str


@post("/v1/jobs", operation_id="submit_job", tags=["jobs"], status_code=201)
async def submit(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    data: JSONBody[SubmitJob],
    idempotency_key: IdempotencyKey = "",
) -> Response[SubmitAnswer]:
    """Submit a job. 201 when it was made, 200 when the Idempotency-Key had made it before."""
    if idempotency_key:
        if data.idempotency_key not in ("", idempotency_key):
            raise InvalidInput("the header Idempotency-Key and idempotency_key differ", field="idempotency_key")
        data.idempotency_key = idempotency_key
    answer: SubmitAnswer = await engine.agents.call(principal, "submit_job", data)
    return Response(
        answer, status_code=201 if answer.created else 200, headers={"Location": f"/v1/jobs/{answer.job_id}"}
    )


@get("/v1/jobs", operation_id="list_jobs", tags=["jobs"])
async def listing(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    state_: Annotated[list[JobState] | None, QueryParameter(name="state")] = None,
    type_: Annotated[list[JobType] | None, QueryParameter(name="type")] = None,
    cursor: Annotated[str, QueryParameter(max_length=40, pattern=r"^[A-Za-z0-9_\-]*$")] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
) -> JobPage:
    """Your jobs, newest first; operators see everyone's."""
    found = await jobs.listing(
        engine.db,
        principal,
        states=[one.value for one in state_ or []],
        types=[one.value for one in type_ or []],
        before=cursor,
        limit=limit,
    )
    return JobPage([job_answer(job) for job in found], found[-1].id if len(found) == limit else "")


@get("/v1/jobs/{job_id:str}", operation_id="get_job", tags=["jobs"])
async def read(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], job_id: FromPath[str]
) -> JobAnswer:
    """A job, with its result once it is completed."""
    answer: JobAnswer = await engine.agents.call(principal, "get_job", {"job_id": job_id})
    return answer


@get("/v1/jobs/{job_id:str}/wait", operation_id="wait_for_job", tags=["jobs"])
async def wait(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    job_id: FromPath[str],
    timeout_s: Annotated[float, QueryParameter(ge=0, le=45)] = 30.0,
    until: FromQuery[str] = "final",
    seen_version: Annotated[int, QueryParameter(ge=0, le=2_147_483_647)] = 0,
) -> JobAnswer:
    """Wait up to timeout_s (45 at most) for the job's end, or with until=change for anything new.

    Always answers the job's state; call again while ``final`` is false.
    """
    arguments = {"job_id": job_id, "wait_s": timeout_s, "until": until, "seen_version": seen_version}
    answer: JobAnswer = await engine.agents.call(principal, "watch_job", arguments)
    return answer


@post("/v1/jobs/{job_id:str}/cancel", operation_id="cancel_job", tags=["jobs"], status_code=200)
async def cancel(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], job_id: FromPath[str]
) -> JobAnswer:
    """Cancel a job. Answers its state; ``cancel_requested`` while it is not over yet."""
    answer: JobAnswer = await engine.agents.call(principal, "cancel_job", {"job_id": job_id})
    return answer


@get("/v1/jobs/{job_id:str}/history", operation_id="job_history", tags=["jobs"])
async def history(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], job_id: FromPath[str]
) -> dict[str, Any]:
    """Every transition of the job, oldest first, with its reason and who made it."""
    rows = await jobs.history(engine.db, principal, job_id)
    return {"job_id": job_id, "transitions": [{**row, "at": stamp(row["at"])} for row in rows]}


@get("/v1/jobs/{job_id:str}/match", operation_id="job_match", tags=["jobs"])
async def match(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], job_id: FromPath[str]
) -> dict[str, Any]:
    """Why the job's node was chosen, or why none was: score terms, candidates, rejects by requirement."""
    found = await jobs.explain(engine.db, principal, job_id)
    if "at" in found:
        found["at"] = stamp(found["at"])
    return {"job_id": job_id, **found}


@get("/v1/jobs/{job_id:str}/events", operation_id="job_events", tags=["jobs"])
async def events(
    request: Request[Any, Any, Any],
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    job_id: FromPath[str],
    last_event_id: Annotated[str, HeaderParameter(name="Last-Event-ID", max_length=20)] = "",
) -> ServerSentEvent:
    """The job's events as they happen (server-sent events), from the start or after Last-Event-ID.

    The stream ends after the event that ends the job.
    """
    if last_event_id and not (last_event_id.isascii() and last_event_id.isdecimal()):
        raise InvalidInput("Last-Event-ID must be an id that this stream sent", field="Last-Event-ID")
    after = min(int(last_event_id or 0), 2**63 - 1)
    # Before the stream starts, so that a foreign job is a 404 and not a broken stream.
    await jobs.get(engine.db, principal, job_id)
    return ServerSentEvent(_stream(engine, principal, job_id, after))


async def _stream(
    engine: Engine, principal: Principal, job_id: FromPath[str], after: int
) -> AsyncIterator[ServerSentEventMessage]:
    while not engine.stopping.is_set():
        found = await jobs.events_after(engine.db, principal, job_id, after)
        for event in found:
            after = event.seq
            body = {"event": event.kind, "id": event.id, "at": stamp(event.at), **event.data}
            yield ServerSentEventMessage(data=msgspec.json.encode(body).decode(), event=event.kind, id=str(event.seq))
            if event.data.get("state") in _FINAL:
                return
        if not found:
            seen = after
            newer = await wait_or_stop(
                engine, engine.event_desk, job_id, lambda seq, seen=seen: seq > seen, HEARTBEAT_S
            )
            if newer is None:
                yield ServerSentEventMessage(comment="still here")


_FINAL = {"completed", "failed", "cancelled", "expired"}

jobs_router = Router(
    "/",
    route_handlers=[submit, listing, read, wait, cancel, history, match, events],
    opt=scoped(Scope.AGENT, Scope.OPERATOR),
)
