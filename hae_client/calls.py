"""Every call of the API as plain data: what to send, how to read the answer, whether it may be sent again."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeVar
from urllib.parse import quote as quoted

import msgspec

from hae_client import models
from hae_client.errors import InvalidArgument, UnreadableAnswer, api_error

LONGEST_WAIT_S = 45.0
"""Of one long-poll; longer waits are several."""
BATCH = 1000
"""Jobs of one submission, at most."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """``repeatable``: carrying it out twice does no more than once. ``wait_s``: how long the server may take on
    purpose."""

    answer: type[Answer]
    method: str
    path: str
    body: Any = None
    query: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""
    repeatable: bool = True
    wait_s: float = 0.0

    def request(self) -> dict[str, Any]:
        """The arguments of httpx's ``request``, but for the time-out. Raises InvalidArgument for what is no JSON."""
        headers = {"Idempotency-Key": self.key} if self.key else {}
        content = None
        if self.body is not None:
            headers["Content-Type"] = "application/json"
            try:
                content = msgspec.json.encode(self.body)
            except (TypeError, ValueError, RecursionError) as error:
                raise InvalidArgument(f"this cannot be sent as JSON: {error}") from error
        return {"method": self.method, "url": self.path, "params": self.query, "headers": headers, "content": content}

    def read(self, status: int, content: bytes, retry_after: str = "") -> Answer:
        """The answer. Raises ApiError for a refusal, UnreadableAnswer for what is neither."""
        if not 200 <= status < 300:
            raise api_error(status, content, retry_after)
        try:
            return msgspec.json.decode(content, type=self.answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnreadableAnswer(f"{self.method} {self.path} got no answer that can be read: {error}") from error


def new_key() -> str:
    """An idempotency key that nobody has used."""
    return f"hae_client-{uuid.uuid4().hex}"


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is None or empty: what the server takes for not given."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], ())}


def _part(name: str, value: str) -> str:
    """An id as a part of a path. An empty one would address something else."""
    if not value or value in (".", ".."):
        raise InvalidArgument(f"{name} is needed, such as {name.removesuffix('_id')}_01jd3k5m7p9r1t3v5x7z9b1d3f")
    return quoted(value, safe="")


def _keyed(fields: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The body without its idempotency key, and that key: one of our own where there is none."""
    body = dict(fields)
    return body, body.pop("idempotency_key", "") or new_key()


def tool(
    name: str, arguments: Mapping[str, Any], answer: type[Answer], *, repeatable: bool, wait_s: float = 0.0
) -> Call[Answer]:
    path = f"/v1/tools/{_part('name', name)}"
    return Call(answer, "POST", path, dict(arguments), repeatable=repeatable, wait_s=wait_s)


def list_tools() -> Call[models.OwnTools]:
    return Call(models.OwnTools, "GET", "/v1/tools")


def submit(job: Mapping[str, Any]) -> Call[models.SubmitAnswer]:
    body, key = _keyed(job)
    return Call(models.SubmitAnswer, "POST", "/v1/jobs", body, key=key)


def submissions(jobs: Iterable[Mapping[str, Any]], key: str) -> Iterator[tuple[int, Call[models.SubmitJobsAnswer]]]:
    """The jobs in calls of up to BATCH, each with the index of its first job. ``key``: of all of it."""
    left, first = iter(jobs), 0
    key = key or new_key()
    while batch := list(islice(left, BATCH)):
        yield first, Call(models.SubmitJobsAnswer, "POST", "/v1/jobs:batch", {"jobs": batch}, key=f"{key}/{first}")
        first += len(batch)


def list_jobs(state: Sequence[str], type_: Sequence[str], cursor: str, limit: int) -> Call[models.JobPage]:
    query = given({"state": list(state), "type": list(type_), "cursor": cursor, "limit": limit})
    return Call(models.JobPage, "GET", "/v1/jobs", query=query)


def get(job_id: str) -> Call[models.JobAnswer]:
    return Call(models.JobAnswer, "GET", f"/v1/jobs/{_part('job_id', job_id)}")


def wait(job_id: str, wait_s: float) -> Call[models.JobAnswer]:
    query = {"wait_s": round(wait_s, 3)}
    return Call(models.JobAnswer, "GET", f"/v1/jobs/{_part('job_id', job_id)}/wait", query=query, wait_s=wait_s)


def cancel(job_id: str) -> Call[models.JobAnswer]:
    return Call(models.JobAnswer, "POST", f"/v1/jobs/{_part('job_id', job_id)}/cancel")


def cancel_many(job_ids: Sequence[str], conditions: Mapping[str, Any]) -> Call[models.CancelJobsAnswer]:
    """Raises InvalidArgument when neither or both are given: nobody cancels everything by leaving something out."""
    if bool(job_ids) is bool(given(conditions)):
        raise InvalidArgument("name jobs by job_ids, or say which by state, type, submitted_before or schedule_id")
    body = {"job_ids": list(job_ids)} if job_ids else {"filter": dict(conditions)}
    return Call(models.CancelJobsAnswer, "POST", "/v1/jobs:cancel", body)


def rerun(job_id: str, changes: Mapping[str, Any]) -> Call[models.SubmitAnswer]:
    body, key = _keyed(changes)
    return Call(models.SubmitAnswer, "POST", f"/v1/jobs/{_part('job_id', job_id)}/rerun", body, key=key)


def history(job_id: str) -> Call[models.JobHistory]:
    return Call(models.JobHistory, "GET", f"/v1/jobs/{_part('job_id', job_id)}/history")


def explain(job_id: str) -> Call[models.JobMatch]:
    return Call(models.JobMatch, "GET", f"/v1/jobs/{_part('job_id', job_id)}/match")


def availability(wants: Mapping[str, Any]) -> Call[models.AvailabilityAnswer]:
    return Call(models.AvailabilityAnswer, "POST", "/v1/availability", dict(wants))


def quote(wants: Mapping[str, Any]) -> Call[models.QuoteAnswer]:
    return Call(models.QuoteAnswer, "POST", "/v1/quotes", dict(wants))


def match(wants: Mapping[str, Any]) -> Call[models.MatchAnswer]:
    return Call(models.MatchAnswer, "POST", "/v1/match", dict(wants))


def metrics() -> Call[models.MetricsAnswer]:
    return tool("network_metrics", {}, models.MetricsAnswer, repeatable=True)


def budget() -> Call[models.BudgetAnswer]:
    return tool("get_budget", {}, models.BudgetAnswer, repeatable=True)


def read_events(
    after: int | str | None, kinds: Sequence[str], limit: int, wait_s: float = 0.0
) -> Call[models.FeedPage]:
    query = given({"after": "" if after is None else str(after), "kind": list(kinds)})
    query |= {"limit": limit, "wait_s": wait_s}
    return Call(models.FeedPage, "GET", "/v1/events", query=query, wait_s=wait_s)


def job_stream(job_id: str) -> tuple[str, dict[str, Any]]:
    """Path and query of a job's events."""
    return f"/v1/jobs/{_part('job_id', job_id)}/events", {}


def feed_stream(kinds: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Path and query of the account's events."""
    return "/v1/events", given({"kind": list(kinds)})


def create_schedule(schedule: Mapping[str, Any]) -> Call[models.ScheduleAnswer]:
    body, key = _keyed(schedule)
    return Call(models.ScheduleAnswer, "POST", "/v1/schedules", body, key=key)


def list_schedules(cursor: str, limit: int) -> Call[models.SchedulePage]:
    return Call(models.SchedulePage, "GET", "/v1/schedules", query=given({"cursor": cursor, "limit": limit}))


def get_schedule(schedule_id: str) -> Call[models.ScheduleAnswer]:
    return Call(models.ScheduleAnswer, "GET", f"/v1/schedules/{_part('schedule_id', schedule_id)}")


def change_schedule(schedule_id: str, changes: Mapping[str, Any]) -> Call[models.ScheduleAnswer]:
    path = f"/v1/schedules/{_part('schedule_id', schedule_id)}"
    return Call(models.ScheduleAnswer, "PATCH", path, dict(changes))


def delete_schedule(schedule_id: str) -> Call[models.ScheduleDeleted]:
    # The second of two answers that there is none: not the truth about the first.
    path = f"/v1/schedules/{_part('schedule_id', schedule_id)}"
    return Call(models.ScheduleDeleted, "DELETE", path, repeatable=False)


def create_hook(hook: Mapping[str, Any], key: str) -> Call[models.HookMade]:
    return Call(models.HookMade, "POST", "/v1/hooks", dict(hook), key=key or new_key())


def list_hooks(cursor: str, limit: int) -> Call[models.HookPage]:
    return Call(models.HookPage, "GET", "/v1/hooks", query=given({"cursor": cursor, "limit": limit}))


def get_hook(hook_id: str) -> Call[models.HookAnswer]:
    return Call(models.HookAnswer, "GET", f"/v1/hooks/{_part('hook_id', hook_id)}")


def delete_hook(hook_id: str) -> Call[models.HookDeleted]:
    return Call(models.HookDeleted, "DELETE", f"/v1/hooks/{_part('hook_id', hook_id)}", repeatable=False)


def submit_plan(plan: Mapping[str, Any], dry_run: bool = False, key: str = "") -> Call[models.PlanAnswer]:
    body = {**plan, "idempotency_key": key or plan.get("idempotency_key") or new_key()}
    if dry_run:
        body["dry_run"] = True
    return tool("submit_plan", body, models.PlanAnswer, repeatable=True)


def get_plan(plan_id: str, units: bool = False, wait_s: float = 0.0) -> Call[models.PlanAnswer]:
    arguments = {"plan_id": _named("plan_id", plan_id), "units": units, "wait_s": round(wait_s, 3)}
    return tool("get_plan", arguments, models.PlanAnswer, repeatable=True, wait_s=wait_s)


def cancel_plan(plan_id: str) -> Call[models.PlanAnswer]:
    return tool("cancel_plan", {"plan_id": _named("plan_id", plan_id)}, models.PlanAnswer, repeatable=True)


def list_plans(cursor: str, limit: int) -> Call[models.PlanPage]:
    return tool("list_plans", {"cursor": cursor, "limit": limit}, models.PlanPage, repeatable=True)


def plan_drawing(plan_id: str) -> str:
    """The path of a plan's SVG."""
    return f"/v1/plans/{_part('plan_id', plan_id)}/graph.svg"


def _named(name: str, value: str) -> str:
    _part(name, value)
    return value
