# Generated from aio.py by ``python -m hae_client.generate``: edit that one.
"""Every call of the API as a method."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, Unpack

from hae_client import calls, models
from hae_client.calls import LONGEST_WAIT_S, Call
from hae_client.errors import WaitTimeout
from hae_client.retry import Patience
from hae_client.sse import Event
from hae_client.sync_channel import Channel


class Client(Channel):
    """The API of a Hypernode Automation Engine.

    ``url`` and ``key``: by default from HYPERNODE_API_URL and HYPERNODE_API_KEY. ``timeout_s``: of one try, waits on
    purpose not counted. ``retry_for_s``: seconds from its first failure in which a call is tried again; 0 = not at
    all. Only what may be repeated is: a submission goes out under an idempotency key, its own or one made up here, so
    that it makes one job however often it is sent. ``transport``: instead of the network.

    Close it, or use it in a ``with`` block. Methods raise what hae_client.errors draws.
    """

    # Jobs

    def submit(self, **job: Unpack[models.SubmitJob]) -> models.SubmitAnswer:
        """Submit a job: its id and state, at once."""
        return self.do(calls.submit(job))

    def submit_many(self, jobs: Iterable[models.SubmitJob], *, idempotency_key: str = "") -> list[models.SubmittedItem]:
        """Submit any number of jobs, 1,000 a request. One result each, in order: a job, or the ``problem`` that kept
        it out; the others are submitted all the same."""
        results: list[models.SubmittedItem] = []
        for first, call in calls.submissions(jobs, idempotency_key):
            for item in (self.do(call)).results:
                item.index += first
                results.append(item)
        return results

    def get(self, job_id: str) -> models.JobAnswer:
        """The job as it is, with its result once it is completed."""
        return self.do(calls.get(job_id))

    def wait(self, job_id: str, timeout_s: float | None = None) -> models.JobAnswer:
        """The job once it is over. Raises WaitTimeout after ``timeout_s`` seconds; the job goes on."""
        clock = Patience(timeout_s)
        while True:
            asked = clock.next_s()
            job = self.do(calls.wait(job_id, asked))
            if job.final:
                return job
            if clock.over():
                raise WaitTimeout(job)
            time.sleep(clock.pause_s(asked))

    def list_jobs(
        self,
        *,
        state: Sequence[models.JobState] = (),
        type: Sequence[models.JobType] = (),
        cursor: str = "",
        limit: int = 50,
    ) -> models.JobPage:
        """A page of your jobs, newest first. It may be short where few jobs meet the filter: its ``next_cursor`` leads
        on until it is empty."""
        return self.do(calls.list_jobs(state, type, cursor, limit))

    def jobs(
        self, *, state: Sequence[models.JobState] = (), type: Sequence[models.JobType] = ()
    ) -> Generator[models.JobSummary, None]:
        """All your jobs, newest first, page after page."""
        cursor = ""
        while True:
            page = self.do(calls.list_jobs(state, type, cursor, 200))
            yield from page.jobs
            cursor = page.next_cursor
            if not cursor:
                return

    def cancel(self, job_id: str) -> models.JobAnswer:
        """Ask for a job's end. ``cancel_requested`` is true while it is not over yet."""
        return self.do(calls.cancel(job_id))

    def cancel_many(
        self, job_ids: Sequence[str] = (), **conditions: Unpack[models.JobFilter]
    ) -> models.CancelJobsAnswer:
        """Ask for the end of the jobs named, or of those that meet all the conditions: up to 1,000 a call."""
        return self.do(calls.cancel_many(job_ids, conditions))

    def rerun(self, job_id: str, **changes: Unpack[models.RerunChanges]) -> models.SubmitAnswer:
        """Run a job that is over once more, as a new job."""
        return self.do(calls.rerun(job_id, changes))

    def history(self, job_id: str) -> models.JobHistory:
        """Every move of a job with its reason, oldest first."""
        return self.do(calls.history(job_id))

    def explain(self, job_id: str) -> models.JobMatch:
        """Why a job got its node, or none."""
        return self.do(calls.explain(job_id))

    # What the network offers

    def availability(self, **wants: Unpack[models.Availability]) -> models.AvailabilityAnswer:
        """How many nodes suit, how many are free, and their prices."""
        return self.do(calls.availability(wants))

    def quote(self, **wants: Unpack[models.Quote]) -> models.QuoteAnswer:
        """What a job would cost; not binding."""
        return self.do(calls.quote(wants))

    def match(self, **wants: Unpack[models.Match]) -> models.MatchAnswer:
        """The node that such a job would get now, and why; claims nothing."""
        return self.do(calls.match(wants))

    def metrics(self) -> models.MetricsAnswer:
        """Figures of the whole network."""
        return self.do(calls.metrics())

    def budget(self) -> models.BudgetAnswer:
        """What your key may do and spend, and what of that is left today."""
        return self.do(calls.budget())

    # Plans

    def submit_plan(
        self, plan: models.SubmitPlan, *, dry_run: bool = False, idempotency_key: str = ""
    ) -> models.PlanAnswer:
        """Submit jobs that belong together, within a budget; ``dry_run``: only say what they come to."""
        return self.do(calls.submit_plan(plan, dry_run, idempotency_key))

    def get_plan(self, plan_id: str, *, units: bool = False, wait_s: float = 0.0) -> models.PlanAnswer:
        """The plan as it is: progress, cost so far, forecast.

        ``units``: also each unit of its work. ``wait_s``: seconds to wait for its end before that, 45 at most.
        """
        return self.do(calls.get_plan(plan_id, units, wait_s))

    def wait_plan(self, plan_id: str, timeout_s: float | None = None) -> models.PlanAnswer:
        """The plan once it is over. Raises WaitTimeout after ``timeout_s`` seconds; the plan goes on."""
        clock = Patience(timeout_s)
        while True:
            asked = clock.next_s()
            plan = self.do(calls.get_plan(plan_id, wait_s=asked))
            if plan.final:
                return plan
            if clock.over():
                raise WaitTimeout(plan)
            time.sleep(clock.pause_s(asked))

    def cancel_plan(self, plan_id: str) -> models.PlanAnswer:
        """Ask for a plan's end, and for that of its jobs."""
        return self.do(calls.cancel_plan(plan_id))

    def list_plans(self, *, cursor: str = "", limit: int = 20) -> models.PlanPage:
        """A page of your plans, newest first."""
        return self.do(calls.list_plans(cursor, limit))

    def draw_plan(self, plan_id: str) -> str:
        """The plan's tasks as an SVG document, with their states."""
        return (self.send(Call(bytes, "GET", calls.plan_drawing(plan_id)))).text

    # Schedules

    def create_schedule(self, **schedule: Unpack[models.CreateSchedule]) -> models.ScheduleAnswer:
        """Submit a job again and again, by a cron expression."""
        return self.do(calls.create_schedule(schedule))

    def list_schedules(self, *, cursor: str = "", limit: int = 50) -> models.SchedulePage:
        """A page of your schedules, newest first."""
        return self.do(calls.list_schedules(cursor, limit))

    def get_schedule(self, schedule_id: str) -> models.ScheduleAnswer:
        """A schedule, with its next five times."""
        return self.do(calls.get_schedule(schedule_id))

    def change_schedule(self, schedule_id: str, **changes: Unpack[models.ScheduleChanges]) -> models.ScheduleAnswer:
        """Change, pause or resume a schedule; what is left out stays."""
        return self.do(calls.change_schedule(schedule_id, changes))

    def delete_schedule(self, schedule_id: str) -> models.ScheduleDeleted:
        """End a schedule. The jobs that it made go on."""
        return self.do(calls.delete_schedule(schedule_id))

    # Webhooks

    def create_hook(self, *, idempotency_key: str = "", **hook: Unpack[models.NewHook]) -> models.HookMade:
        """Have a URL told of what happens; its ``secret``, for ``verify_webhook``, is shown this once."""
        return self.do(calls.create_hook(hook, idempotency_key))

    def list_hooks(self, *, cursor: str = "", limit: int = 50) -> models.HookPage:
        """A page of your hooks, newest first, without their secrets."""
        return self.do(calls.list_hooks(cursor, limit))

    def get_hook(self, hook_id: str) -> models.HookAnswer:
        """A hook: whether it is live, and why not."""
        return self.do(calls.get_hook(hook_id))

    def delete_hook(self, hook_id: str) -> models.HookDeleted:
        """End a hook. What was still to be sent to it is not."""
        return self.do(calls.delete_hook(hook_id))

    # Tools, as agents call them

    def tools(self) -> list[models.OwnTool]:
        """The tools that the key may call, with the schemas of what they take and give."""
        return (self.do(calls.list_tools())).tools

    def call_tool(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, repeatable: bool = False
    ) -> dict[str, Any]:
        """Call a tool by its name: its answer as it comes. Unless ``repeatable``, it is tried again only where nothing
        can have been done yet."""
        call: Call[dict[str, Any]] = calls.tool(
            name, arguments or {}, dict, repeatable=repeatable, wait_s=LONGEST_WAIT_S
        )
        return self.do(call)

    # Events

    def read_events(
        self, after: int | str | None = None, *, kinds: Sequence[str] = (), limit: int = 100, wait_s: float = 0.0
    ) -> models.FeedPage:
        """A page of the feed behind the position ``after`` ("latest" = what comes, None = all that is kept); its
        ``next_after`` leads on."""
        return self.do(calls.read_events(after, kinds, limit, wait_s))

    def stream(self, job_id: str, after: int = 0) -> Generator[Event, None]:
        """The events of a job, each once and in order, from the first or behind ``after``, until it is over.

        Broken connections are made anew behind the last event.
        """
        path, query = calls.job_stream(job_id)
        yield from self.follow(path, query, after)

    def stream_all(self, after: int | str | None = "latest", *, kinds: Sequence[str] = ()) -> Generator[Event, None]:
        """The events of all your jobs and plans, each once and in order, without an end.

        From behind ``after``, a position; "latest" = what happens from now on; None = all that is kept. Broken
        connections are made anew behind the last event.
        """
        if not isinstance(after, int):
            # The position, lest what happens between two connections be passed over.
            after = (self.read_events(after, limit=1)).latest if after == "latest" else 0
        path, query = calls.feed_stream(kinds)
        yield from self.follow(path, query, after)
