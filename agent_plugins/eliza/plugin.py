"""ElizaOS agents: actions in, action results out, runtime events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent_plugins.eliza.actions import ACTIONS, Action, action_named, example_of, snake_cased
from agent_plugins.protocol import (
    PROTOCOL,
    WEBHOOK,
    About,
    AgentEvent,
    AgentRequest,
    Outcome,
    Reply,
    RequestInfo,
    ToolCall,
)
from app.core.errors import InvalidInput, NotFound, sentences

ACTION_PATH = "actions"
_HANDED = frozenset({"message", "state", "responses"})
"""What ElizaOS hands to an action's handler besides its options: taken and not read."""


class ElizaPlugin:
    """``POST actions`` and signed messages take ``{"action": …, "options": {…}}``, ``POST actions/SUBMIT_JOB`` the
    options alone. Answers are ElizaOS's ActionResult: ``{success, text, values, data, error}``."""

    protocol = PROTOCOL
    name = "eliza"
    version = "1.0.0"

    def describe(self) -> About:
        tools = tuple(dict.fromkeys(action.tool for action in ACTIONS.values()))
        submit = ACTIONS["SUBMIT_JOB"]
        whole = {"action": submit.name, "options": dict(submit.example)}
        return About(
            "ElizaOS agents: the network's actions, answered as action results.",
            (
                RequestInfo(ACTION_PATH, f"Any action: {', '.join(ACTIONS)}.", whole, tools),
                *(
                    RequestInfo(f"{ACTION_PATH}/{one.name}", one.summary, {"options": dict(one.example)}, (one.tool,))
                    for one in ACTIONS.values()
                ),
                RequestInfo(WEBHOOK, "Any action, as a signed message (Standard Webhooks).", whole, tools),
            ),
        )

    def parse(self, request: AgentRequest) -> Sequence[ToolCall]:
        body = {} if request.body is None else request.body
        if not isinstance(body, dict):
            raise InvalidInput("the body must be an object", next_action=f"A valid request: {_EXAMPLE}")
        action = self._action(request.path, body)
        options = body.get("options", {})
        if not isinstance(options, dict):
            raise InvalidInput(
                "options must be an object", field="options", next_action=f"A valid request: {example_of(action)}"
            )
        unknown = next((name for name in body if name not in _HANDED | {"action", "options"}), None)
        if unknown is not None:
            raise InvalidInput(
                f"unknown field {unknown[:60]!r}; what the action needs goes into options",
                field=unknown[:100],
                next_action=f"A valid request: {example_of(action)}",
            )
        return [ToolCall(action.tool, snake_cased(options), note=action.name)]

    def _action(self, path: str, body: Mapping[str, Any]) -> Action:
        head, _, name = path.partition("/")
        if head == ACTION_PATH and name:
            action = action_named(name)
            if body.get("action", action.name) != action.name:
                raise InvalidInput(f"the path says {action.name}, the body another action", field="action")
            return action
        if path not in (ACTION_PATH, WEBHOOK):
            raise NotFound(
                f"Eliza has no path {path[:60]!r}",
                code="no_such_route",
                next_action=f"Send {_EXAMPLE} to {ACTION_PATH}.",
            )
        return action_named(body.get("action"))

    def render(self, request: AgentRequest, outcomes: Sequence[Outcome]) -> Reply:
        (outcome,) = outcomes
        name = outcome.call.note
        if outcome.answer is None:
            return _failed(name, outcome.problem or {})
        answer = outcome.answer
        return Reply(
            {
                "success": True,
                "text": ACTIONS[name].text(answer),
                "values": _values(answer),
                "data": {"actionName": name, "tool": outcome.call.tool, "answer": answer},
                "error": "",
            }
        )

    def render_error(self, request: AgentRequest, problem: Mapping[str, Any]) -> Reply:
        return _failed("", problem)

    def event(self, event: AgentEvent) -> Any | None:
        """What a runtime emits: ``{type, payload, text}``. News of nodes is not for these agents."""
        if event.kind.startswith("node_"):
            return None
        of = f" of {event.job_id}" if event.job_id else ""
        return {
            "type": f"HYPERNODE_{event.kind.upper()}",
            "text": f"{event.kind.replace('_', ' ').capitalize()}{of}.",
            "payload": {
                "position": event.position,
                "id": event.id,
                "at": event.at,
                "jobId": event.job_id,
                "nodeId": event.node_id,
                **event.data,
            },
        }


_EXAMPLE = example_of(ACTIONS["SUBMIT_JOB"])


def _failed(name: str, problem: Mapping[str, Any]) -> Reply:
    detail, what_next = problem.get("detail", ""), problem.get("next_action", "")
    return Reply(
        {
            "success": False,
            "text": sentences(f"{name or 'The request'} failed: {detail}", what_next),
            "values": {"problemCode": problem.get("code", "error"), "retryable": bool(problem.get("retryable"))},
            "data": {"actionName": name, "problem": problem},
            "error": f"{problem.get('code', 'error')}: {detail}",
        },
        status=problem.get("status", 500),
    )


def _values(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What an agent's state takes over: a job's id and state, and the amounts that matter."""
    known = {
        "job_id": "jobId",
        "state": "jobState",
        "final": "jobFinal",
        "cost_hyper": "costHyper",
        "available_now": "availableNow",
        "budget_remaining_hyper": "budgetRemainingHyper",
    }
    return {shown: answer[name] for name, shown in known.items() if name in answer}
