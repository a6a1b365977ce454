"""An agent's request as a graph: receive (find the tool, authorise, read the arguments) → tool.

Every call of a tool, over whatever face it came, goes through here. A run takes a batch of calls; one call is a batch
of one. Calls of tools that can share a transaction do, so that neither the graph nor the commit is paid per call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import msgspec
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from app.core.access import Principal
from app.core.errors import HaeError, InvalidInput
from app.services.batching import Batcher
from tools.context import ToolContext
from tools.registry import Tool, get_tool

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Call:
    """One call on its way. ``arguments``: decoded JSON, or the tool's input struct already. ``error`` ends the way."""

    principal: Principal
    name: str
    arguments: Any
    tool: Tool | None = None
    parsed: msgspec.Struct | None = None
    answer: Any = None
    error: Exception | None = None


class CallState(TypedDict):
    """The graph's state: one channel."""

    calls: list[Call]


Runs = Runtime[ToolContext]


async def receive(state: CallState) -> Command[Literal["tool", "__end__"]]:
    """Find each call's tool, hold the caller's scopes and rights against it, then read the arguments as its input.

    Who may not call it is told so before a word is said about the arguments. One node for all three: each further one
    costs half a millisecond, which is more than they take together.
    """
    for call in state["calls"]:
        try:
            _receive(call)
        except HaeError as error:
            call.error = error
    return Command(goto="tool" if _going(state) else "__end__")


def _receive(call: Call) -> None:
    call.tool = get_tool(call.name)
    call.principal.require(*call.tool.scopes)
    call.principal.rights.require_tool(call.name)
    call.parsed = call.tool.parse(call.arguments)


async def tool(state: CallState, runtime: Runs) -> None:
    """Run the tools: calls that share a transaction together, the others side by side."""
    shared: dict[str, list[Call]] = {}
    single: list[Call] = []
    for call in _going(state):
        assert call.tool is not None
        if call.tool.run_many is not None:
            shared.setdefault(call.name, []).append(call)
        else:
            single.append(call)
    if len(single) == 1 and not shared:
        await _run_single(single[0], runtime.context)
    else:
        await asyncio.gather(
            *(_run_shared(calls, runtime.context) for calls in shared.values()),
            *(_run_single(call, runtime.context) for call in single),
        )
    for call in state["calls"]:
        if isinstance(call.error, InvalidInput):
            # What only the tool itself finds wrong is told like what its schema refuses: with a valid call.
            assert call.tool is not None
            call.error.next_action = call.error.next_action or call.tool.advice
        elif call.error is not None and not isinstance(call.error, HaeError):
            # An error of ours, none of the caller's.
            log.error("tool %s failed", call.name, exc_info=call.error)


async def _run_shared(calls: list[Call], context: ToolContext) -> None:
    tool_ = calls[0].tool
    assert tool_ is not None and tool_.run_many is not None
    answers = await tool_.run_many(context, [(call.principal, call.parsed) for call in calls])
    for call, answer in zip(calls, answers, strict=True):
        if isinstance(answer, Exception):
            call.error = answer
        else:
            call.answer = answer


async def _run_single(call: Call, context: ToolContext) -> None:
    assert call.tool is not None and call.tool.run is not None
    try:
        call.answer = await call.tool.run(context, call.principal, call.parsed)
    except Exception as error:
        call.error = error


def _going(state: CallState) -> list[Call]:
    return [call for call in state["calls"] if call.error is None]


AgentGraph = CompiledStateGraph[CallState, ToolContext, CallState, CallState]


def build() -> AgentGraph:
    """Compile the graph; once a process."""
    graph: Any = StateGraph(CallState, context_schema=ToolContext)
    graph.add_node(receive)
    graph.add_node(tool)
    graph.add_edge(START, "receive")
    graph.set_finish_point("tool")
    compiled: AgentGraph = graph.compile(name="agent")
    return compiled


class AgentRunner:
    """Takes calls from any face, runs the graph on them, gives the answers back."""

    def __init__(self, context: ToolContext) -> None:
        self.context = context
        self._graph = build()
        # A run costs the best part of a millisecond however many calls it takes.
        self._submissions: Batcher[Call, Any] = Batcher(self._run)
        self._reads: Batcher[Call, Any] = Batcher(self._run)

    async def call(self, principal: Principal, name: str, arguments: Any) -> Any:
        """The tool's output struct. Raises HaeError as the tool says; never answers half a thing."""
        call = Call(principal, name, arguments)
        tool_ = get_tool(name)
        if tool_.run_many is not None:
            return await self._submissions.call(call)
        if tool_.read_only and not tool_.waits:
            return await self._reads.call(call)
        # On its own: others would wait with it, or for its commit.
        (answer,) = await self._run([call])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _run(self, calls: Sequence[Call]) -> list[Any]:
        for call in calls:
            call.error = None
        await self._graph.ainvoke({"calls": list(calls)}, context=self.context)
        return [call.error if call.error is not None else call.answer for call in calls]
