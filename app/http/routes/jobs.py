"""Jobs over REST: the same tools, addressed as resources."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter

from app.core.access import Principal, Scope
from app.core.chaining import microseconds
from app.core.errors import InvalidInput
from app.core.requirements import JobType
from app.core.states import JobState
from app.http.engine import Engine
from app.http.routes.job_stream import stream
from app.http.security import scoped
from app.http.streams.sse import EventStream
from app.services import jobs
from tools.answers import stamp
from tools.reading_schemas import JobPage, ListJobs, WaitJob
from tools.schemas import CancelJob, GetJob, JobAnswer, SubmitAnswer, SubmitJob, WatchJob

IdempotencyKey = Annotated[
    str,
    HeaderParameter(
        name="Idempotency-Key", max_length=200, description="The same key and body make one job, however often sent"
    ),
]


class Transition(msgspec.Struct, kw_only=True):
    """One move of a job. ``from_state`` is empty for its first; ``actor``: a key, a node, an account or ``engine``.

    ``hash``: sha256 in hex of the move and of the ``hash`` before, by which anybody can see that nothing was changed
    since (docs/reliability.md); empty for moves from before there were any. ``at_us``: the time that it covers,
    microseconds since 1970.
    """

    from_state: str
    to_state: str
    attempt: int
    reason: str
    actor: str
    node_id: str
    at: str
    at_us: int
    hash: str


class SettlementMove(msgspec.Struct, kw_only=True):
    """One move of a completed job's settlement; ``reason`` says what is wrong with a disputed payment."""

    from_state: str
    to_state: str
    reason: str
    actor: str
    at: str


class JobHistory(msgspec.Struct, kw_only=True):
    """``settlement``: what became of its payment on chain, after the job's end made it ``awaiting``."""

    job_id: str
    transitions: list[Transition]
    settlement: list[SettlementMove]


class JobMatch(msgspec.Struct, kw_only=True):
    """Why the job's node was chosen, or why none was; ``attempt`` is 0 before the first look.

    ``told``: all of it in a sentence or two. ``verdict``: why there is none (busy, offline, declined, quota,
    never_fits), else empty. ``top``: the best candidates with total, score, price (HYPER per GPU-hour) and terms, out
    of ``scale``; ``refused``: those tried before in vain, and why; ``set_aside``: better ones kept for other jobs.
    ``feasible`` and ``rejects`` (nodes by the first requirement they failed) are all nodes of the view at
    ``counted_at_version``; null where a large network was not counted. Without a node: ``busy`` and ``offline`` count
    those that lack nothing else, and ``relaxations`` are single changes that would find one. ``view_age_s``: seconds
    since the view was confirmed, null = unknown.
    """

    job_id: str
    attempt: int = 0
    node_id: str = ""
    at: str = ""
    policy: str = ""
    verdict: str = ""
    told: str = ""
    feasible: int | None = None
    rejects: dict[str, int] = {}
    counted_at_version: int | None = None
    weights: dict[str, int] = {}
    scale: int = 0
    view_version: int = 0
    view_age_s: float | None = None
    chosen: dict[str, Any] = {}
    top: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    set_aside: int = 0
    busy: int = 0
    offline: int = 0
    relaxations: list[dict[str, Any]] = []


def same_key(given: str, header: str) -> str:
    """The idempotency key of a request. Raises InvalidInput when body and header name two."""
    if header and given not in ("", header):
        raise InvalidInput("the header Idempotency-Key and idempotency_key differ", field="idempotency_key")
    return header or given


@post("/v1/jobs", operation_id="submit_job", status_code=201)
async def submit(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    data: JSONBody[SubmitJob],
    idempotency_key: IdempotencyKey = "",
) -> Response[SubmitAnswer]:
    """Submit a job. 201 when it was made, 200 when the Idempotency-Key had made it before."""
    data.idempotency_key = same_key(data.idempotency_key, idempotency_key)
    answer: SubmitAnswer = await engine.agents.call(principal, "submit_job", data)
    return Response(
        answer, status_code=201 if answer.created else 200, headers={"Location": f"/v1/jobs/{answer.job_id}"}
    )


@get("/v1/jobs", operation_id="list_jobs")
async def listing(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    state_: Annotated[
        list[JobState] | None, QueryParameter(name="state", description="Only these states; may be repeated")
    ] = None,
    type_: Annotated[
        list[JobType] | None, QueryParameter(name="type", description="Only these types; may be repeated")
    ] = None,
    cursor: Annotated[
        str, QueryParameter(max_length=40, pattern=r"^(job_[0-9a-z]{26})?$", description="next_cursor of the last page")
    ] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
) -> JobPage:
    """Your jobs, newest first; operators see everyone's. Jobs submitted meanwhile do not shift the pages.

    A page that filters for what is rare may be short, even empty: go on until next_cursor is empty.
    """
    asked = ListJobs(state=state_ or [], type=type_ or [], cursor=cursor, limit=limit)
    answer: JobPage = await engine.agents.call(principal, "list_jobs", asked)
    return answer


# The tools' inputs are made here without their checks: an id that cannot be one is an id that nobody has, a 404.


@get("/v1/jobs/{job_id:str}", operation_id="get_job")
async def read(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], job_id: FromPath[str]
) -> JobAnswer:
    """A job, with its result once it is completed."""
    answer: JobAnswer = await engine.agents.call(principal, "get_job", GetJob(job_id=job_id))
    return answer


@get("/v1/jobs/{job_id:str}/wait", operation_id="wait_for_job")
async def wait(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    job_id: FromPath[str],
    wait_s: Annotated[float, QueryParameter(ge=0, le=45, description="Longest wait in seconds")] = 30.0,
    until: Annotated[
        Literal["final", "change"], QueryParameter(description="final: the job's end; change: anything new")
    ] = "final",
    seen_version: Annotated[
        int,
        QueryParameter(ge=0, le=2_147_483_647, description="With until=change: the version you have; 0 = the present"),
    ] = 0,
) -> JobAnswer:
    """Wait up to wait_s seconds (45 at most) for the job's end, or with until=change for anything new.

    Always answers the job's state; call again while ``final`` is false.
    """
    if until == "final" and not principal.rights.may_call("watch_job"):
        # A wait for the end is wait_job as well: keys that have either of the two may.
        wished = WaitJob(job_id=job_id, wait_s=wait_s)
        answer: JobAnswer = await engine.agents.call(principal, "wait_job", wished)
        return answer
    asked = WatchJob(job_id=job_id, wait_s=wait_s, until=until, seen_version=seen_version)
    answer = await engine.agents.call(principal, "watch_job", asked)
    return answer


@post("/v1/jobs/{job_id:str}/cancel", operation_id="cancel_job", status_code=200)
async def cancel(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], job_id: FromPath[str]
) -> JobAnswer:
    """Cancel a job. Answers its state; ``cancel_requested`` while it is not over yet. Repeating changes nothing."""
    answer: JobAnswer = await engine.agents.call(principal, "cancel_job", CancelJob(job_id=job_id))
    return answer


@get("/v1/jobs/{job_id:str}/history", operation_id="job_history")
async def history(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], job_id: FromPath[str]
) -> JobHistory:
    """Every transition of the job and of its settlement, oldest first, with its reason and who made it."""
    principal.rights.require_tool("job_history")
    rows, settlement = await jobs.history(engine.db, principal, job_id)
    return JobHistory(
        job_id=job_id,
        transitions=[transition(row) for row in rows],
        settlement=[SettlementMove(**{**row, "at": stamp(row["at"])}) for row in settlement],
    )


def transition(row: Mapping[str, Any]) -> Transition:
    """A row of a job's history as the outside sees it."""
    return Transition(
        from_state=row["from_state"] or "",
        to_state=row["to_state"],
        attempt=row["attempt"],
        reason=row["reason"],
        actor=row["actor"],
        node_id=row["node_id"] or "",
        at=stamp(row["at"]),
        at_us=microseconds(row["at"]),
        hash="" if row["hash"] is None else row["hash"].hex(),
    )


@get("/v1/jobs/{job_id:str}/match", operation_id="job_match")
async def match(
    engine: NamedDependency[Engine], principal: NamedDependency[Principal], job_id: FromPath[str]
) -> JobMatch:
    """Why the job's node was chosen, or why none was: score terms, candidates, rejects by requirement."""
    principal.rights.require_tool("job_history")
    found = await jobs.explain(engine.db, principal, job_id)
    told = {name: value for name, value in found.items() if name in JobMatch.__struct_fields__ and value is not None}
    return JobMatch(**{**told, "job_id": job_id, "at": stamp(found.get("at"))})


@get(
    "/v1/jobs/{job_id:str}/events",
    operation_id="job_events",
    media_type="text/event-stream",
)
async def events(
    engine: NamedDependency[Engine],
    principal: NamedDependency[Principal],
    job_id: FromPath[str],
    last_event_id: Annotated[
        str,
        HeaderParameter(name="Last-Event-ID", max_length=20, description="The last id you saw; empty = from the start"),
    ] = "",
) -> Response[Any]:
    """The job's events as they happen (server-sent events), from the start or after Last-Event-ID.

    The stream ends after the event that ends the job; asked again after that one, it tells what came since, such as
    its payment, or answers 204, upon which browsers stop reconnecting. Comments keep it alive while nothing happens.
    """
    if last_event_id and not (last_event_id.isascii() and last_event_id.isdecimal()):
        raise InvalidInput("Last-Event-ID must be an id that this stream sent", field="Last-Event-ID")
    after = min(int(last_event_id or 0), 2**63 - 1)
    principal.rights.require_following()
    # Before the stream starts, so that a foreign job is a 404 and not a broken stream.
    view = await jobs.get(engine.db, principal, job_id)
    if view.job.final and not await jobs.events_after(engine.db, principal, job_id, after):
        return Response(None, status_code=204)
    seat = engine.seats.take(principal)
    return EventStream(stream(engine, principal, job_id, after, over=view.job.final), seat, engine.stopping)


jobs_router = Router(
    "/",
    route_handlers=[submit, listing, read, wait, cancel, history, match, events],
    tags=["jobs"],
    opt=scoped(Scope.AGENT, Scope.OPERATOR),
)
