"""Tools about jobs: submit_job, submit_jobs, get_job, wait_job, watch_job, cancel_job, cancel_jobs, rerun_job."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.access import Principal
from app.core.errors import HaeError, InvalidInput
from app.core.states import JOB_FINAL, JobState
from app.matchmaker.policy import get_policy
from app.services import cancelling, jobs, repeating, spending
from app.services.cancelling import Wanted
from app.services.jobs import Submitted
from app.services.repeating import Changes
from app.services.submissions import PAYLOAD, Submission
from tools.answers import hyper, item_problem, job_answer, requirements_of, time_of
from tools.context import Defaults, ToolContext
from tools.many_schemas import (
    CancelJobs,
    CancelJobsAnswer,
    JobFilter,
    RerunJob,
    SubmitJobs,
    SubmitJobsAnswer,
    SubmittedItem,
)
from tools.reading_schemas import WaitJob
from tools.schemas import (
    CancelJob,
    GetJob,
    JobAnswer,
    JobSpec,
    SubmitAnswer,
    SubmitJob,
    WatchJob,
)
from tools.specs import requirements_hash

CANCEL_WAIT_S = 2.0
"""How long cancel_job waits for the job graph to end the job, so that the answer shows it."""


async def submit_many(
    context: ToolContext, calls: Sequence[tuple[Principal, SubmitJob]]
) -> list[SubmitAnswer | HaeError]:
    """Submit jobs in one transaction; an answer or an error each, in order."""
    return [
        _submit_answer(outcome) if isinstance(outcome, Submitted) else outcome
        for outcome in await _submitted(context, calls)
    ]


async def _submitted(
    context: ToolContext, calls: Sequence[tuple[Principal, SubmitJob | HaeError]]
) -> list[Submitted | HaeError]:
    wishes: list[Submission | HaeError] = []
    for principal, asked in calls:
        if isinstance(asked, HaeError):
            wishes.append(asked)
            continue
        try:
            wishes.append(submission_of(context, principal, asked))
        except HaeError as error:
            wishes.append(error)
    sound = [wish for wish in wishes if isinstance(wish, Submission)]
    taken = iter(await jobs.submit(context.db, sound, context.quotas) if sound else [])
    return [wish if isinstance(wish, HaeError) else next(taken) for wish in wishes]


def _submit_answer(made: Submitted) -> SubmitAnswer:
    return SubmitAnswer(
        job_id=made.job_id,
        state=made.state,
        created=made.created,
        requirements_hash=made.requirements_hash,
        budget_remaining_hyper=hyper(made.remaining),
    )


async def submit_jobs(context: ToolContext, principal: Principal, asked: SubmitJobs) -> SubmitJobsAnswer:
    """Submit jobs in one transaction; what is wrong with one of them does not stop the others."""
    return await submit_batch(context, principal, asked.jobs)


async def submit_batch(
    context: ToolContext, principal: Principal, asked: Sequence[SubmitJob | HaeError]
) -> SubmitJobsAnswer:
    """As submit_jobs; those that could not even be read come as their errors."""
    outcomes = await _submitted(context, [(principal, one) for one in asked])
    created = repeated = 0
    left: int | None = None
    results = []
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, HaeError):
            results.append(SubmittedItem(index=index, problem=item_problem(outcome)))
            continue
        left = outcome.remaining
        created += outcome.created
        repeated += not outcome.created
        results.append(
            SubmittedItem(
                index=index,
                job_id=outcome.job_id,
                state=outcome.state,
                created=outcome.created,
                requirements_hash=outcome.requirements_hash,
            )
        )
    if left is None:
        left = await spending.remaining(context.db, principal)
    return SubmitJobsAnswer(
        created=created,
        repeated=repeated,
        refused=len(results) - created - repeated,
        results=results,
        budget_remaining_hyper=hyper(left),
    )


def submission_of(context: Defaults, principal: Principal, asked: JobSpec) -> Submission:
    """What the request comes to, the network's defaults filled in. Raises InvalidInput; Forbidden for a type of job
    that the caller's key may not submit."""
    principal.rights.require_job_type(asked.type.value)
    defaults = context.defaults
    first, longest = asked.retry_backoff_s, asked.retry_backoff_max_s
    if longest and longest < first:
        raise InvalidInput("retry_backoff_max_s is less than retry_backoff_s", field="retry_backoff_max_s")
    start_at, delay_s, key = None, 0, ""
    if isinstance(asked, SubmitJob):
        start_at, delay_s, key = time_of(asked.start_at, "start_at"), asked.delay_s, asked.idempotency_key
        if start_at is not None and delay_s:
            raise InvalidInput("give start_at or delay_s, not both", field="delay_s")
    return Submission(
        principal=principal,
        type=asked.type.value,
        payload={name: value for name in PAYLOAD if (value := getattr(asked, name))},
        requirements=requirements_of(asked, asked.type),
        policy=get_policy(asked.policy or context.default_policy).name,
        priority=asked.priority,
        timeout_s=asked.timeout_s or defaults.run_timeout_s,
        max_retries=defaults.max_retries if asked.max_retries < 0 else asked.max_retries,
        queue_ttl_s=asked.queue_ttl_s or defaults.queue_ttl_s,
        idempotency_key=key,
        requirements_hash=requirements_hash(asked),
        deadline_s=asked.deadline_s,
        max_attempts=asked.max_attempts,
        retry_backoff_s=first,
        retry_backoff_max_s=longest or min(first * 10, _LONGEST_BACKOFF_S),
        exclude_nodes=asked.exclude_nodes,
        start_at=start_at,
        delay_s=delay_s,
    )


_LONGEST_BACKOFF_S = 604_800


async def get_job(context: ToolContext, principal: Principal, asked: GetJob) -> JobAnswer:
    view = await jobs.get(context.db, principal, asked.job_id)
    return job_answer(view)


async def wait_job(context: ToolContext, principal: Principal, asked: WaitJob) -> JobAnswer:
    """Wait until the job is over, for ``wait_s`` at most; always answers its state."""
    return await watch_job(context, principal, WatchJob(job_id=asked.job_id, wait_s=asked.wait_s))


async def watch_job(context: ToolContext, principal: Principal, asked: WatchJob) -> JobAnswer:
    """Wait until the job is over, or newer than ``seen_version``, for ``wait_s`` at most; always answers its state."""
    view = await jobs.get(context.db, principal, asked.job_id)
    seen = asked.seen_version or view.job.version

    def ready(now: tuple[JobState, int]) -> bool:
        state, version = now
        return state in JOB_FINAL or (asked.until == "change" and version > seen)

    if not ready((view.job.state, view.job.version)) and asked.wait_s > 0:
        await context.job_desk.wait(asked.job_id, ready, asked.wait_s)
        view = await jobs.get(context.db, principal, asked.job_id)
    return job_answer(view)


async def cancel_job(context: ToolContext, principal: Principal, asked: CancelJob) -> JobAnswer:
    """Ask for the job's end and wait a moment for it. A job that is over is answered as it is."""
    before = await jobs.cancel(context.db, principal, asked.job_id)
    if not before.final:
        await context.job_desk.wait(asked.job_id, lambda now: now[0] in JOB_FINAL, CANCEL_WAIT_S)
    view = await jobs.get(context.db, principal, asked.job_id)
    return job_answer(view)


async def cancel_jobs(context: ToolContext, principal: Principal, asked: CancelJobs) -> CancelJobsAnswer:
    """Ask for the end of the jobs named, or of those that the filter finds."""
    wanted = _wanted(asked.filter)
    if asked.job_ids and not wanted.empty:
        raise InvalidInput("name jobs or give a filter, not both", field="filter")
    if asked.job_ids:
        done = await cancelling.cancel_named(context.db, principal, asked.job_ids)
    else:
        done = await cancelling.cancel_matching(context.db, principal, wanted)
    return CancelJobsAnswer(
        requested=len(done.asked), job_ids=done.asked, unchanged=done.unchanged, unknown=done.unknown, more=done.more
    )


def _wanted(given: JobFilter) -> Wanted:
    return Wanted(
        states=[one.value for one in given.state],
        types=[one.value for one in given.type],
        submitted_before=time_of(given.submitted_before, "filter.submitted_before"),
        schedule_id=given.schedule_id,
    )


async def rerun_job(context: ToolContext, principal: Principal, asked: RerunJob) -> SubmitAnswer:
    """Run a job that is over once more, as a new job."""
    changes = Changes(
        priority=None if asked.priority < 0 else asked.priority,
        timeout_s=asked.timeout_s or None,
        queue_ttl_s=asked.queue_ttl_s or None,
        deadline_s=None if asked.deadline_s < 0 else asked.deadline_s,
        max_retries=None if asked.max_retries < 0 else asked.max_retries,
    )
    made = await repeating.rerun(
        context.db,
        principal,
        asked.job_id,
        changes,
        idempotency_key=asked.idempotency_key,
        quotas=context.quotas,
    )
    return _submit_answer(made)
