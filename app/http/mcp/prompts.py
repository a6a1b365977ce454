"""Prompts: ways of work that people pick in their client, written out for the model."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import mcp_types as types
import msgspec
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from app.core.errors import HaeError, InvalidInput
from app.http.mcp.caller import caller_of
from app.http.problems import problem_from

Context = ServerRequestContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Written:
    """A prompt. ``text`` names its arguments in braces; ``arguments``: what each means, and whether it is needed."""

    title: str
    description: str
    arguments: dict[str, tuple[str, bool]]
    text: str
    example: dict[str, str]


PROMPTS: dict[str, Written] = {
    "run_inference": Written(
        "Run inference",
        "Run one prompt on a model of the network and show the answer and what it cost.",
        {"model": ("Model to run, such as qwen-7b", True), "prompt": ("What the model is asked", True)},
        "Run this prompt on the model {model} of the Hypernode network:\n\n{prompt}\n\n"
        "Call quote for type llm_inference first and tell me the price. Then call submit_job with type "
        "llm_inference, this model, this prompt and an idempotency_key of your own. Call wait_job with the job_id "
        "until final is true. Show me the result, the cost and the node; if the job did not complete, call "
        "job_history and tell me why.",
        {"model": "qwen-7b", "prompt": "Explain quantum computing"},
    ),
    "plan_batch": Written(
        "Plan a batch",
        "Turn a goal into a plan of dependent jobs within a budget, shown before anything is spent.",
        {
            "goal": ("What is to be reached", True),
            "budget_hyper": ("Most that all jobs together may cost, HYPER", True),
        },
        "I want to reach this on the Hypernode network: {goal}\n\nIt may cost {budget_hyper} HYPER at most. "
        "Break it into tasks and what each needs of the ones before it. Call availability and quote for the kinds of "
        "jobs in it. Call submit_plan with dry_run true and that budget, and show me the tasks and the forecast. "
        "Only when I agree, call submit_plan without dry_run, and get_plan until it is over.",
        {"goal": "Sum up 200 articles, then the summaries", "budget_hyper": "25"},
    ),
    "why_not_matched": Written(
        "Why is it not matched?",
        "Find out why a job still waits, and what change would help.",
        {"job_id": ("The job_id that submit_job returned", True)},
        "The job {job_id} on the Hypernode network waits. Call get_job and job_history for it. If it is still pending, "
        "call match with its requirements and read which requirement most nodes fail. Tell me in two sentences why it "
        "has no node, and the smallest change that would get it one. Change and cancel nothing.",
        {"job_id": "job_01jd3k5m7p9r1t3v5x7z9b1d3f"},
    ),
}


async def list_prompts(ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
    """All prompts; they are the same for every caller."""
    return types.ListPromptsResult(prompts=[_shown(name, one) for name, one in PROMPTS.items()])


def _shown(name: str, one: Written) -> types.Prompt:
    arguments = [
        types.PromptArgument(name=argument, description=meaning, required=needed)
        for argument, (meaning, needed) in one.arguments.items()
    ]
    return types.Prompt(name=name, title=one.title, description=one.description, arguments=arguments)


async def get_prompt(ctx: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    """The prompt with its arguments filled in. Raises MCPError that names what is wrong and shows a valid request."""
    one = PROMPTS.get(params.name)
    if one is None:
        raise _wrong(
            "name", f"there is no prompt {params.name[:60]!r}; there are {', '.join(PROMPTS)}", "run_inference"
        )
    given = params.arguments or {}
    for argument, (_, needed) in one.arguments.items():
        if needed and not given.get(argument, "").strip():
            raise _wrong(argument, f"{params.name} needs the argument {argument}", params.name)
    text = one.text.format_map(_Given(given))
    message = types.PromptMessage(role="user", content=types.TextContent(type="text", text=text))
    return types.GetPromptResult(description=one.description, messages=[message])


class _Given(dict[str, str]):
    def __init__(self, given: Mapping[str, str]) -> None:
        super().__init__(given)

    def __missing__(self, name: str) -> str:
        return ""


def _wrong(field: str, detail: str, name: str) -> MCPError:
    example = {"name": name, "arguments": PROMPTS[name].example}
    error = InvalidInput(detail, field=field, next_action=f"A valid request: {msgspec.json.encode(example).decode()}")
    return MCPError(code=types.INVALID_PARAMS, message=detail, data=msgspec.to_builtins(problem_from(error)))


_JOB_ARGUMENTS = ("job_id", "id")
_MOST = 50


async def complete(ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
    """For the id of a job, of a prompt or a resource: the caller's latest jobs whose ids begin with what is typed."""
    values: list[str] = []
    if params.argument.name in _JOB_ARGUMENTS:
        caller = caller_of(ctx)
        with suppress(HaeError):
            page = await caller.engine.agents.call(caller.principal, "list_jobs", {"limit": _MOST})
            values = [job.job_id for job in page.jobs if job.job_id.startswith(params.argument.value)]
    return types.CompleteResult(completion=types.Completion(values=values, has_more=False))
