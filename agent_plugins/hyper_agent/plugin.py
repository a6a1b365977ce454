"""The Hyper Agent's plugin: intents in, ``{ok, intent, message, result, problem}`` out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent_plugins.hyper_agent.requests import INTENTS, NEGOTIATE
from agent_plugins.hyper_agent.terms import offered
from agent_plugins.protocol import PROTOCOL, About, AgentEvent, AgentRequest, Outcome, Reply, RequestInfo, ToolCall
from app.core.errors import NotFound, sentences


class HyperAgentPlugin:
    """``POST {intent}`` with the intent's fields as the body."""

    protocol = PROTOCOL
    name = "hyper_agent"
    version = "1.0.0"

    def describe(self) -> About:
        return About(
            "Hyper Agents: negotiate prices, hire nodes, execute plans and scale jobs, within a budget.",
            tuple(RequestInfo(one.name, one.summary, dict(one.example), one.tools) for one in INTENTS.values()),
        )

    def parse(self, request: AgentRequest) -> Sequence[ToolCall]:
        intent = INTENTS.get(request.path)
        if intent is None:
            raise NotFound(
                f"a Hyper Agent has no intent {request.path[:60]!r}",
                code="no_such_route",
                next_action=f"Intents: {', '.join(INTENTS)}",
            )
        body = {} if request.body is None else request.body
        if not isinstance(body, dict):
            raise intent.refusal("the body must be an object")
        return intent.calls(body)

    def render(self, request: AgentRequest, outcomes: Sequence[Outcome]) -> Reply:
        problem = next((one.problem for one in outcomes if one.problem is not None), None)
        if problem is not None:
            return _refused(request.path, problem)
        answers = {one.call.tool: one.answer or {} for one in outcomes}
        if request.path == NEGOTIATE.name:
            result = offered(answers["quote"], answers["match"], outcomes[0].call.arguments)
        else:
            (result,) = (dict(answer) for answer in answers.values())
        return Reply(
            {
                "ok": True,
                "intent": request.path,
                "message": _message(request.path, result),
                "result": result,
                "problem": {},
            }
        )

    def render_error(self, request: AgentRequest, problem: Mapping[str, Any]) -> Reply:
        return _refused(request.path[:60], problem)

    def event(self, event: AgentEvent) -> Any | None:
        """Events of jobs, payments and plans; news of nodes is not for these agents."""
        if event.kind.startswith("node_"):
            return None
        return {
            "intent": "event",
            "kind": event.kind,
            "id": event.id,
            "position": event.position,
            "at": event.at,
            "job_id": event.job_id,
            "node_id": event.node_id,
            "data": event.data,
        }


def _refused(intent: str, problem: Mapping[str, Any]) -> Reply:
    told = sentences(problem.get("detail", ""), problem.get("next_action", ""))
    return Reply(
        {"ok": False, "intent": intent, "message": told, "result": {}, "problem": problem},
        status=problem.get("status", 500),
    )


def _message(intent: str, result: Mapping[str, Any]) -> str:
    if intent == NEGOTIATE.name:
        return str(result["why"] or "Nobody would take it now.")
    if "plan_id" in result:
        done = f"{result.get('units_over', 0)} of {result.get('units_total', 0)} units are over"
        cost = f"{result.get('cost_hyper') or '0'} of {result.get('budget_hyper') or '0'} HYPER spent"
        return f"Plan {result['plan_id']} is {result.get('state')}: {done}, {cost}."
    return f"Job {result.get('job_id')} is {result.get('state')}."
