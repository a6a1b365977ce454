"""What a Hyper Agent asks for, as tool calls: one function an intent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from agent_plugins.protocol import ToolCall
from app.core.errors import InvalidInput
from tools.plan_schemas import MAX_UNITS
from tools.schemas import SubmitJob, Wants

Body = dict[str, Any]

_WANTS = frozenset(Wants.__struct_fields__) | {"type", "policy"}
_OF_JOBS = frozenset(SubmitJob.__struct_fields__)
_TERMS = frozenset(
    {"start_price_per_gpu_hour_hyper", "raise_step_hyper", "max_price_per_gpu_hour_hyper", "raise_after_s"}
)
WORK = "work"
"""The one task of a plan that `scale` makes."""


@dataclass(frozen=True, slots=True)
class Intent:
    """Something that a Hyper Agent wants. ``calls``: what a body comes to. ``example``: a valid body."""

    name: str
    summary: str
    tools: tuple[str, ...]
    example: Mapping[str, Any]
    calls: Callable[[Body], list[ToolCall]]

    def refusal(self, detail: str, field: str = "") -> InvalidInput:
        """What to raise for a body that cannot be right."""
        valid = msgspec.json.encode(self.example).decode()
        return InvalidInput(f"{self.name}: {detail}", field=field, next_action=f"A valid request: {valid}")

    def refuse_others(self, body: Body, *known: str) -> None:
        """Raise for a field that is none of ``known``."""
        other = next((name for name in body if name not in known), None)
        if other is not None:
            raise self.refusal(f"unknown field {other[:60]!r}; it takes {', '.join(known)}", field=other[:100])

    def object(self, body: Body, name: str) -> Body:
        """The object under ``name``, empty when it is left out."""
        found = body.get(name, {})
        if not isinstance(found, dict):
            raise self.refusal(f"{name} must be an object", field=name)
        return found


def _negotiate(body: Body) -> list[ToolCall]:
    NEGOTIATE.refuse_others(body, "job", "duration_s")
    job = NEGOTIATE.object(body, "job")
    # Of a job's fields only those that say what a node must have; what is no field of a job is for the tools to refuse.
    wanted = {name: value for name, value in job.items() if name in _WANTS or name not in _OF_JOBS}
    duration = {name: body[name] for name in ("duration_s",) if name in body}
    return [ToolCall("quote", {**wanted, **duration}), ToolCall("match", wanted)]


def _hire(body: Body) -> list[ToolCall]:
    HIRE.refuse_others(body, "job")
    return [ToolCall("submit_job", HIRE.object(body, "job"))]


def _execute(body: Body) -> list[ToolCall]:
    return [ToolCall("submit_plan", _with_terms(EXECUTE, body))]


def _scale(body: Body) -> list[ToolCall]:
    plan = {name: value for name, value in body.items() if name not in ("job", "inputs", "copies")}
    if "tasks" in plan:
        raise SCALE.refusal("it makes the task itself, of job; for tasks of your own there is execute", field="tasks")
    task = {"task_id": WORK, "job": SCALE.object(body, "job"), "for_each": _inputs(body)}
    return [ToolCall("submit_plan", {**_with_terms(SCALE, plan), "tasks": [task]})]


def _inputs(body: Body) -> list[Any]:
    if ("inputs" in body) == ("copies" in body):
        raise SCALE.refusal("give inputs, a job for each, or copies, so many jobs alike", field="inputs")
    if "copies" not in body:
        inputs = body["inputs"]
        if not isinstance(inputs, list) or not inputs:
            raise SCALE.refusal("inputs must be a list with one value for each job", field="inputs")
        return inputs
    copies = body["copies"]
    if type(copies) is not int or not 1 <= copies <= MAX_UNITS:
        raise SCALE.refusal(f"copies must be a whole number from 1 to {MAX_UNITS}", field="copies")
    return list(range(copies))


def _with_terms(intent: Intent, body: Body) -> Body:
    """The body with the terms, as negotiate gave them, among its fields."""
    terms = intent.object(body, "terms")
    unknown = next((name for name in terms if name not in _TERMS), None)
    if unknown is not None:
        raise intent.refusal(f"terms has no field {unknown[:60]!r}", field=f"terms.{unknown[:100]}")
    twice = next((name for name in terms if name in body), None)
    if twice is not None:
        raise intent.refusal(f"{twice} is given in terms and beside them", field=twice)
    return {**{name: value for name, value in body.items() if name != "terms"}, **terms}


def _status(body: Body) -> list[ToolCall]:
    return [ToolCall("get_plan" if _is_of_plan(STATUS, body) else "watch_job", {"wait_s": 0, **body})]


def _cancel(body: Body) -> list[ToolCall]:
    return [ToolCall("cancel_plan" if _is_of_plan(CANCEL, body) else "cancel_job", body)]


def _is_of_plan(intent: Intent, body: Body) -> bool:
    if ("plan_id" in body) == ("job_id" in body):
        raise intent.refusal("give plan_id or job_id, one of them", field="plan_id")
    return "plan_id" in body


_JOB = {"type": "llm_inference", "model": "qwen-7b", "prompt": "Explain {{item}}", "min_vram_gb": 16}
_TERMS_GIVEN = {
    "start_price_per_gpu_hour_hyper": "0.1",
    "raise_step_hyper": "0.05",
    "max_price_per_gpu_hour_hyper": "0.3",
}
_PLAN_ID = {"plan_id": "plan_01jd3k5m7p9r1t3v5x7z9b1d3f"}

NEGOTIATE = Intent(
    "negotiate",
    "Ask what a job would cost now, who would take it, and on which terms to bid for more of its kind.",
    ("quote", "match"),
    {"job": _JOB, "duration_s": 600},
    _negotiate,
)
HIRE = Intent(
    "hire",
    "Have one job done by the best node: job as for submit_job.",
    ("submit_job",),
    {"job": {**_JOB, "prompt": "Explain quantum computing", "max_price_per_gpu_hour_hyper": "0.3"}},
    _hire,
)
EXECUTE = Intent(
    "execute",
    "Carry out a plan of several jobs within a budget: fields as of submit_plan, and terms as negotiate gave them.",
    ("submit_plan",),
    {
        "name": "report",
        "budget_hyper": "5",
        "terms": _TERMS_GIVEN,
        "tasks": [
            {"task_id": "draft", "job": _JOB, "for_each": ["qubits", "entanglement"]},
            {"task_id": "sum_up", "job": {**_JOB, "prompt": "Sum up: {{tasks.draft.results}}"}},
        ],
    },
    _execute,
)
SCALE = Intent(
    "scale",
    "Run one job many times within a budget: for each of inputs, seen as {{item}}, or so many copies.",
    ("submit_plan",),
    {"job": _JOB, "inputs": ["qubits", "entanglement"], "budget_hyper": "5", "terms": _TERMS_GIVEN, "parallelism": 20},
    _scale,
)
STATUS = Intent(
    "status",
    "Read how far a plan or a job has come, waiting up to wait_s seconds, 45 at most, for its end.",
    ("get_plan", "watch_job"),
    {**_PLAN_ID, "wait_s": 30},
    _status,
)
CANCEL = Intent(
    "cancel", "Cancel a plan and its jobs, or one job, by its id.", ("cancel_plan", "cancel_job"), _PLAN_ID, _cancel
)

INTENTS: Mapping[str, Intent] = {one.name: one for one in (NEGOTIATE, HIRE, EXECUTE, SCALE, STATUS, CANCEL)}
