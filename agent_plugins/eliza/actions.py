"""The actions that ElizaOS agents know the network by, and what their results say."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from app.core.errors import InvalidInput

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Action:
    """An action, the tool behind it, and a valid ``options``. ``text``: the result in a sentence or two."""

    name: str
    tool: str
    summary: str
    example: Mapping[str, Any]
    text: Callable[[Answer], str]


def _submitted(answer: Answer) -> str:
    if not answer.get("created", True):
        return f"Job {answer.get('job_id')} was submitted before and is {answer.get('state')}."
    return f"Job {answer.get('job_id')} is submitted and {answer.get('state')}. Wait for it with WAIT_FOR_JOB."


def _available(answer: Answer) -> str:
    if not answer.get("matching"):
        return f"None of the {answer.get('nodes_online', 0)} nodes online suits."
    return (
        f"{answer.get('available_now')} of {answer['matching']} nodes that suit are free now, with "
        f"{answer.get('free_slots')} GPUs, from {answer.get('cheapest_price_per_gpu_hour_hyper') or '?'} HYPER per "
        "GPU-hour."
    )


def _quoted(answer: Answer) -> str:
    if not answer.get("cost_hyper"):
        return "No node suits, so there is no price."
    when = "A node is free now." if answer.get("available_now") else "All nodes that suit are busy now."
    return f"{answer.get('duration_s')} s would cost about {answer['cost_hyper']} HYPER. {when}"


def _job(answer: Answer) -> str:
    told = f"Job {answer.get('job_id')} is {answer.get('state')}"
    if answer.get("state") == "completed":
        cost = f" for {answer['cost_hyper']} HYPER" if answer.get("cost_hyper") else ""
        return f"{told}{cost}. Result: {_cut(answer.get('result'))}"
    if answer.get("error"):
        return f"{told}: {_cut(answer['error'])}"
    return f"{told}." if answer.get("final") else f"{told}, and not over yet."


def _cut(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


_LONGEST = 2_000
_JOB = {"job_id": "job_01jd3k5m7p9r1t3v5x7z9b1d3f"}

ACTIONS: Mapping[str, Action] = {
    action.name: action
    for action in (
        Action(
            "SUBMIT_JOB",
            "submit_job",
            "Submit one GPU job to the network; the result holds its id.",
            {"type": "llm_inference", "model": "qwen-7b", "prompt": "Explain quantum computing"},
            _submitted,
        ),
        Action(
            "CHECK_AVAILABILITY",
            "availability",
            "Count the nodes that suit some requirements, and those of them that are free.",
            {"gpu_models": ["A100"], "min_vram_gb": 24},
            _available,
        ),
        Action(
            "QUOTE",
            "quote",
            "Estimate what a job would cost in HYPER. Not binding.",
            {"type": "llm_inference", "duration_s": 600},
            _quoted,
        ),
        Action(
            "JOB_STATUS", "get_job", "Read the present state of a job, with its result when it is done.", _JOB, _job
        ),
        Action(
            "WAIT_FOR_JOB",
            "watch_job",
            "Wait up to wait_s seconds, 45 at most, for a job to end; always answers its state.",
            {**_JOB, "wait_s": 30},
            _job,
        ),
        Action("CANCEL_JOB", "cancel_job", "Cancel a job by its id.", _JOB, _job),
    )
}
_BY_OTHER_NAMES = {name.replace("_", "").lower(): name for name in ACTIONS}


def action_named(name: Any) -> Action:
    """The action of that name, also written as in ``submitJob``. Raises InvalidInput, listing them all."""
    known = _BY_OTHER_NAMES.get(name.replace("_", "").lower()) if isinstance(name, str) and len(name) < 60 else None
    if known is None:
        told = repr(name)[:60] if isinstance(name, str) else "what is no text"
        raise InvalidInput(
            f"there is no action {told}; actions are {', '.join(ACTIONS)}",
            field="action",
            next_action=f"A valid request: {example_of(ACTIONS['SUBMIT_JOB'])}",
        )
    return ACTIONS[known]


def example_of(action: Action) -> str:
    """A valid body, as JSON."""
    return msgspec.json.encode({"action": action.name, "options": action.example}).decode()


def snake_cased(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options under the tools' own names: ``jobId`` is ``job_id``. Raises InvalidInput for one given twice."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        known = _HUMP.sub(lambda match: f"_{match[0].lower()}", name) if name.isidentifier() else name
        if known in found:
            raise InvalidInput(f"{known} is given twice", field=f"options.{name[:100]}")
        found[known] = value
    return found


_HUMP = re.compile(r"(?<=[a-z0-9])[A-Z]")
