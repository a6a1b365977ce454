"""Every tool, defined once: HTTP, OpenAPI, agent plugins and later faces are made from this table."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from app.core.access import Scope
from app.core.errors import InvalidInput, NotFound
from tools import jobs, many_schemas, market, schedule_schemas, schedules, schemas
from tools.wording import with_choices


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool. Exactly one of ``run`` (one call) and ``run_many`` (calls that share a transaction) is set.

    ``description`` is written for a model to read; ``example`` is a valid input. ``waits``: may take long on purpose.
    """

    name: str
    description: str
    input: type[msgspec.Struct]
    output: type[msgspec.Struct]
    example: dict[str, Any]
    run: Callable[..., Awaitable[Any]] | None = None
    run_many: Callable[..., Awaitable[list[Any]]] | None = None
    scopes: tuple[Scope, ...] = (Scope.AGENT, Scope.OPERATOR)
    read_only: bool = True
    idempotent: bool = True
    destructive: bool = False
    waits: bool = False

    def parse(self, arguments: Any) -> msgspec.Struct:
        """The typed input; raises InvalidInput that names the field and shows the example."""
        if isinstance(arguments, self.input):
            return arguments
        try:
            return msgspec.convert(arguments, self.input)
        except msgspec.ValidationError as error:
            message, _, path = str(error).partition(" - at `")
            field = path.rstrip("`").removeprefix("$").lstrip(".")
            top = re.split(r"[.\[]", field, maxsplit=1)[0]
            kinds = {each.name: each.type for each in msgspec.structs.fields(self.input)}
            detail = f"{self.name}: {with_choices(message, kinds.get(top))}" + (f" ({field})" if field else "")
            named = _FIELD_NAMED.search(message)
            if named:
                field = f"{field}.{named[1]}".lstrip(".")
            if message.startswith("Object contains unknown field"):
                detail += f"; it takes {', '.join(self.input.__struct_fields__) or 'no arguments'}"
            raise InvalidInput(
                detail[:500],
                field=field[:200],
                next_action=f"A valid call: {msgspec.json.encode(self.example).decode()}",
            ) from error


_FIELD_NAMED = re.compile(r"(?:unknown|required) field `(.*)`$", re.DOTALL)


_JOB = {"job_id": "job_01jd3k5m7p9r1t3v5x7z9b1d3f"}
_SCHEDULE = {"schedule_id": "sched_01jd3k5m7p9r1t3v5x7z9b1d3f"}
_WANTS = {"type": "llm_inference", "gpu_models": ["A100", "RTX 4090"], "min_vram_gb": 24}

TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "submit_job",
            "Submit one GPU job to the network. Returns a job_id at once; the job is then matched to a node and run. "
            "Use watch_job to wait for the result. Send an idempotency_key to make retries safe.",
            schemas.SubmitJob,
            schemas.SubmitAnswer,
            {
                "type": "llm_inference",
                "model": "qwen-7b",
                "prompt": "Explain quantum computing",
                "min_vram_gb": 16,
            },
            run_many=jobs.submit_many,
            read_only=False,
            idempotent=False,
        ),
        Tool(
            "submit_jobs",
            "Submit up to 1000 GPU jobs in one call. Returns one result a job, in order: a job_id, or the problem that "
            "kept that one out; the others are submitted all the same. Give each job an idempotency_key of its own.",
            many_schemas.SubmitJobs,
            many_schemas.SubmitJobsAnswer,
            {
                "jobs": [
                    {"type": "llm_inference", "model": "qwen-7b", "prompt": "Explain quantum computing"},
                    {"type": "render", "input": {"scene": "s3://scenes/1"}, "delay_s": 600},
                ]
            },
            run=jobs.submit_jobs,
            read_only=False,
            idempotent=False,
        ),
        Tool(
            "match",
            "Show which node a job with these requirements would get now and why, without claiming it. Returns the "
            "best candidates with their score terms and counts the other nodes by the first requirement they fail.",
            schemas.Match,
            schemas.MatchAnswer,
            _WANTS,
            run=market.match,
        ),
        Tool(
            "availability",
            "Count the nodes that suit these requirements, how many have free GPUs now, and their prices.",
            schemas.Availability,
            schemas.AvailabilityAnswer,
            _WANTS,
            run=market.availability,
        ),
        Tool(
            "quote",
            "Estimate what a job with these requirements would cost for duration_s seconds, in HYPER. Not binding.",
            schemas.Quote,
            schemas.QuoteAnswer,
            {**_WANTS, "duration_s": 600},
            run=market.quote,
        ),
        Tool(
            "get_job",
            "Read the present state of one of your jobs, with its result once it is completed. Does not wait.",
            schemas.GetJob,
            schemas.JobAnswer,
            _JOB,
            run=jobs.get_job,
        ),
        Tool(
            "watch_job",
            "Wait up to wait_s seconds (45 at most) for a job to end, then return its state, with the result if it is "
            "completed. If final is still false, call again.",
            schemas.WatchJob,
            schemas.JobAnswer,
            {**_JOB, "wait_s": 30},
            run=jobs.watch_job,
            waits=True,
        ),
        Tool(
            "cancel_job",
            "Cancel one of your jobs by its job_id. A job that is already over stays as it is.",
            schemas.CancelJob,
            schemas.JobAnswer,
            _JOB,
            run=jobs.cancel_job,
            read_only=False,
            destructive=True,
            waits=True,
        ),
        Tool(
            "cancel_jobs",
            "Cancel many of your jobs: those named by job_ids, or all that meet the conditions of filter, up to 1000 a "
            "call. Call again while more is true. Jobs that are already over stay as they are.",
            many_schemas.CancelJobs,
            many_schemas.CancelJobsAnswer,
            {"filter": {"state": ["pending"], "type": ["render"]}},
            run=jobs.cancel_jobs,
            read_only=False,
            destructive=True,
        ),
        Tool(
            "rerun_job",
            "Run a job that is over once more: the same request under a new job_id, which is returned. Priority, "
            "time-outs and retries may be changed. Send an idempotency_key to make retries safe.",
            many_schemas.RerunJob,
            schemas.SubmitAnswer,
            {**_JOB, "priority": 5},
            run=jobs.rerun_job,
            read_only=False,
            idempotent=False,
        ),
        Tool(
            "create_schedule",
            "Submit a job again and again, whenever a cron expression is due in a time zone. Returns a schedule_id and "
            "the next five times. Use overlap=skip to make no job while the last one is not over.",
            schedule_schemas.CreateSchedule,
            schedule_schemas.ScheduleAnswer,
            {
                "job": {"type": "llm_inference", "model": "qwen-7b", "prompt": "Sum up the news"},
                "cron": "0 9 * * mon-fri",
                "timezone": "Europe/Berlin",
            },
            run=schedules.create_schedule,
            read_only=False,
            idempotent=False,
        ),
        Tool(
            "list_schedules",
            "List your schedules, newest first, with their next times, the last job of each, and what went wrong.",
            schedule_schemas.ListSchedules,
            schedule_schemas.SchedulePage,
            {"limit": 20},
            run=schedules.list_schedules,
        ),
        Tool(
            "change_schedule",
            "Change one of your schedules by its schedule_id, pause it (paused: true) or resume it (paused: false). "
            "What is left out stays as it is.",
            schedule_schemas.ChangeSchedule,
            schedule_schemas.ScheduleAnswer,
            {**_SCHEDULE, "paused": True},
            run=schedules.change_schedule,
            read_only=False,
        ),
        Tool(
            "delete_schedule",
            "End one of your schedules by its schedule_id. The jobs that it made go on.",
            schedule_schemas.DeleteSchedule,
            schedule_schemas.ScheduleDeleted,
            _SCHEDULE,
            run=schedules.delete_schedule,
            read_only=False,
            idempotent=False,
            destructive=True,
        ),
        Tool(
            "network_metrics",
            "Read figures of the whole network: nodes, jobs by state, average duration, HYPER paid, GPU utilization.",
            schemas.NetworkMetrics,
            schemas.MetricsAnswer,
            {},
            run=market.network_metrics,
        ),
    )
}


def get_tool(name: str) -> Tool:
    """Raises NotFound, listing the tools there are."""
    tool = TOOLS.get(name)
    if tool is None:
        raise NotFound(
            f"there is no tool {name[:60]!r}",
            code="tool_not_found",
            next_action=f"Tools: {', '.join(TOOLS)}",
        )
    return tool


def describe(tool: Tool) -> dict[str, Any]:
    """The tool as ``GET /v1/tools`` lists it, with JSON Schemas of its input and output."""
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": inlined_schema(tool.input),
        "output_schema": inlined_schema(tool.output),
        "example": tool.example,
        "annotations": {
            "read_only": tool.read_only,
            "idempotent": tool.idempotent,
            "destructive": tool.destructive,
            "scopes": [scope.value for scope in tool.scopes],
        },
    }


def inlined_schema(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema of a struct with nothing left to look up: models follow no references."""
    (schema,), components = msgspec.json.schema_components([struct], ref_template="#/{name}")

    def inline(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return inline(components[node["$ref"].removeprefix("#/")])
            return {key: inline(value) for key, value in node.items()}
        return [inline(item) for item in node] if isinstance(node, list) else node

    result: dict[str, Any] = inline(schema)
    return result
