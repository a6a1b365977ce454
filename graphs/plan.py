"""The life of plans as a graph: receive → gather → negotiate → replan → release → finish → publish.

A run takes a wave of plans. Each node does its part for all of them; what it decides is plain data, written by publish
in the one transaction that also consumes the signals. The rows are the checkpoint: if the process dies, nothing has
happened, and the signals are still there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from app.core import planning
from app.core.blueprint import Blueprint
from app.core.plans import Plan
from app.services import plans
from app.services.plans import PlanWave
from app.services.quotas import Quotas
from app.store.db import UnitOfWork
from graphs.plan_jobs import Submitter
from tools.context import Defaults
from tools.plan_reading import Reading


class PlanState(TypedDict):
    """The graph's state: one channel."""

    wave: PlanWave


@dataclass(slots=True)
class PlanContext:
    """What a run needs besides its state. ``due``: the claimed signals as ``(id, plan_id)``.

    ``readings``: requests of the wave's plans, read, by plan id. ``digests``: of results that are known, by job id.
    """

    uow: UnitOfWork
    due: list[tuple[int, str]]
    readings: dict[str, Reading]
    defaults: Defaults
    quotas: Quotas
    digests: dict[str, str]

    def blueprint_of(self, plan: Plan) -> Blueprint:
        return self.readings[plan.id].blueprint


Runs = Runtime[PlanContext]


async def receive(state: PlanState, runtime: Runs) -> Command[Literal["gather", "publish"]]:
    """Lock the plans and read what their jobs have come to."""
    context = runtime.context
    wave = await plans.open_wave(context.uow, context.due, context.blueprint_of, context.digests)
    return Command(update={"wave": wave}, goto="gather" if wave.works else "publish")


async def gather(state: PlanState) -> Command[Literal["negotiate", "replan"]]:
    """Take in the results of units, majorities where they run more than once."""
    works = state["wave"].works
    for work in works:
        planning.gather(work)
    return Command(goto="negotiate" if any(work.unplaced for work in works) else "replan")


async def negotiate(state: PlanState) -> Command[Literal["replan"]]:
    """Raise the bids of units that no node took."""
    for work in state["wave"].works:
        planning.negotiate(work)
    return Command(goto="replan")


async def replan(state: PlanState) -> Command[Literal["release"]]:
    """Retry, replace, skip or abort what failed; end plans that were cancelled or are late."""
    for work in state["wave"].works:
        planning.replan(work)
    return Command(goto="release")


async def release(state: PlanState, runtime: Runs) -> Command[Literal["finish"]]:
    """Fan out: submit the units whose turn has come, within parallelism, budget and the key's limits."""
    context = runtime.context
    submitter = Submitter(context.uow, context.readings, context.defaults, context.quotas)
    works = state["wave"].works
    for work in works:
        planning.release(work)
    await submitter.cancel(works)
    await submitter.take_turns(works)
    for work in works:
        while work.releases and await submitter.release(work):
            # Units that could not be filled in are over now: others may be ready, or the plan at its end.
            planning.release_more(work)
    await submitter.enter()
    return Command(goto="finish")


async def finish(state: PlanState) -> Command[Literal["publish"]]:
    """End the plans that are through, or that were given up and have no jobs under way."""
    for work in state["wave"].works:
        planning.finish(work)
    return Command(goto="publish")


async def publish(state: PlanState, runtime: Runs) -> None:
    """Write the wave."""
    await plans.save_wave(runtime.context.uow, state["wave"])


PlanGraph = CompiledStateGraph[PlanState, PlanContext, PlanState, PlanState]


def build() -> PlanGraph:
    """Compile the graph; once a process."""
    graph: Any = StateGraph(PlanState, context_schema=PlanContext)
    for node in (receive, gather, negotiate, replan, release, finish, publish):
        graph.add_node(node)
    graph.add_edge(START, "receive")
    graph.set_finish_point("publish")
    compiled: PlanGraph = graph.compile(name="plan")
    return compiled
