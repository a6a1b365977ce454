"""Tools about jobs: submit_job, get_job, watch_job, cancel_job."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.access import Principal
from app.core.errors import HaeError
from app.core.states import JOB_FINAL, JobState
from app.matchmaker.policy import get_policy
from app.services import jobs
from app.services.jobs import PAYLOAD, Submission
from tools.answers import job_answer, requirements_of
from tools.context import ToolContext
from tools.schemas import CancelJob, GetJob, JobAnswer, JobSpec, SubmitAnswer, SubmitJob, WatchJob
from tools.specs import requirements_hash

CANCEL_WAIT_S = 2.0
"""How long cancel_job waits for the job graph to end the job, so that the answer shows it."""


async def submit_many(
    context: ToolContext, calls: Sequence[tuple[Principal, SubmitJob]]
) -> list[SubmitAnswer | HaeError]:
    """Submit jobs in one transaction; an answer or an error each, in order."""
    wishes: list[Submission | HaeError] = []
    for principal, asked in calls:
        try:
            wishes.append(submission_of(context, principal, asked, asked.idempotency_key))
        except HaeError as error:
            wishes.append(error)
    sound = [wish for wish in wishes if isinstance(wish, Submission)]
    taken = iter(await jobs.submit(context.db, sound, context.quotas) if sound else [])
    answers: list[SubmitAnswer | HaeError] = []
    for wish in wishes:
        outcome = wish if isinstance(wish, HaeError) else next(taken)
        if isinstance(outcome, HaeError):
            answers.append(outcome)
        else:
            answers.append(
                SubmitAnswer(
                    job_id=outcome.job_id,
                    state=outcome.state,
                    created=outcome.created,
                    requirements_hash=outcome.requirements_hash,
                )
            )
    return answers


def submission_of(context: ToolContext, principal: Principal, asked: JobSpec, idempotency_key: str = "") -> Submission:
    """What the request comes to, the network's defaults filled in. Raises InvalidInput."""
    defaults = context.defaults
    payload = {name: getattr(asked, name) for name in PAYLOAD}
    return Submission(
        principal=principal,
        type=asked.type.value,
        payload={name: value for name, value in payload.items() if value},
        requirements=requirements_of(asked, asked.type),
        policy=get_policy(asked.policy or context.default_policy).name,
        priority=asked.priority,
        timeout_s=asked.timeout_s or defaults.run_timeout_s,
        max_retries=defaults.max_retries if asked.max_retries < 0 else asked.max_retries,
        queue_ttl_s=asked.queue_ttl_s or defaults.queue_ttl_s,
        idempotency_key=idempotency_key,
        requirements_hash=requirements_hash(asked),
        deadline_s=asked.deadline_s,
    )


async def get_job(context: ToolContext, principal: Principal, asked: GetJob) -> JobAnswer:
    view = await jobs.get(context.db, principal, asked.job_id)
    return job_answer(view)


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
