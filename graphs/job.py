"""The life of a job as a graph, run once a wave.

A run takes a batch of jobs with pending signals and decides, claims and writes; the runner (graphs/runtime.py) commits
once. Each node of the graph works on those jobs of the wave that are in its phase. What a job needs is decided from
its rows (app/core/lifecycle.py), never from the signal that woke it, so that a repeated, late or lost signal does no
harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from app.core.health import HealthRules
from app.core.lifecycle import waits
from app.core.states import JobState
from app.matchmaker.matchmaker import Matchmaker
from app.services import claiming, health, offering, phases, placing
from app.services.quotas import Quotas
from app.services.views import Turn
from app.services.waves import Wave, open_wave, save_wave
from app.store.db import UnitOfWork


class WaveState(TypedDict, total=False):
    """The graph's state: one channel, plain data."""

    wave: Wave


@dataclass(slots=True)
class JobContext:
    """What a run needs besides its state.

    ``due``: the claimed signals as ``(id, job_id, kind)``. ``opened`` gets the wave as soon as there is one, so that
    the runner can undo what a failed run did to the view. ``view_age_s``: seconds since the view was last confirmed.
    ``lease_s``: that a run stays its node's without a sign of life. ``cancel_grace_s``: that a node has to stop a run.
    ``turn``: to be had while the view is matched on. ``pulled``: by job id, which of ``due`` were taken along from the
    backlog.
    """

    uow: UnitOfWork
    matchmaker: Matchmaker
    due: list[tuple[int, str, str]]
    offer_ttl_s: float
    health: HealthRules
    opened: dict[str, Wave]
    view_age_s: float
    quotas: Quotas
    pulled: dict[str, int]
    lease_s: float
    cancel_grace_s: float
    turn: Turn


Runs = Runtime[JobContext]
AfterReceive = Literal["admit", "start", "finish", "settle", "publish"]
AfterAdmit = Literal["match", "start", "finish", "settle", "publish"]
AfterMatch = Literal["claim", "offer"]
AfterClaim = Literal["match", "offer"]
AfterOffer = Literal["start", "finish", "settle", "publish"]
AfterStart = Literal["finish", "settle", "publish"]


async def receive(state: WaveState, runtime: Runs) -> Command[AfterReceive]:
    """Lock the wave's rows and sort its jobs into phases."""
    context = runtime.context
    wave = context.opened["wave"] = await open_wave(context.uow, context.due, timedelta(seconds=context.lease_s))
    wave.pulled, wave.age = context.pulled, context.quotas.rules.age
    wave.cancel_grace = timedelta(seconds=context.cancel_grace_s)
    return Command(update={"wave": wave}, goto="admit" if wave.to_admit else _after_placing(wave))


async def admit(state: WaveState) -> Command[AfterAdmit]:
    """Settle what took a node away, then say which jobs want one now and which end instead."""
    wave = state["wave"]
    for job_id in wave.to_admit:
        visit = wave.visits[job_id]
        if phases.admit(wave, visit) is not JobState.PENDING:
            continue
        if phases.due_to_finish(wave, visit):
            wave.to_finish.append(job_id)
        elif not waits(visit.job, wave.now):
            wave.to_match.append(job_id)
    return Command(goto="match" if wave.to_match else _after_placing(wave))


async def match(state: WaveState, runtime: Runs) -> Command[AfterMatch]:
    """Choose nodes on the in-memory view."""
    wave, context = state["wave"], runtime.context
    await placing.read_runs(context.uow, wave)
    # After the wave's locks, not before: who waits for its turn holds rows, and who has it waits for none.
    await context.turn.take()
    await placing.read_shares(context.uow, wave, context.matchmaker, context.quotas)
    placing.match(wave, context.matchmaker)
    return Command(goto="claim" if wave.to_offer else "offer")


async def claim(state: WaveState, runtime: Runs) -> Command[AfterClaim]:
    """Hold the choices against the true rows; refused ones are matched again."""
    wave = state["wave"]
    await claiming.claim(runtime.context.uow, wave, runtime.context.matchmaker)
    return Command(goto="match" if wave.to_match else "offer")


async def offer(state: WaveState, runtime: Runs) -> Command[AfterOffer]:
    """Offer the granted jobs to their nodes; explain the unplaced."""
    wave = state["wave"]
    context = runtime.context
    offering.offer(wave, context.matchmaker, context.offer_ttl_s, context.view_age_s)
    # What is left is written and committed while the next wave matches.
    context.turn.give_up()
    return Command(goto=_after_placing(wave))


async def start(state: WaveState) -> Command[AfterStart]:
    """Take note of acceptances and first progress."""
    wave = state["wave"]
    for job_id in wave.to_start:
        visit = wave.visits[job_id]
        phases.take_on(wave, visit)
        if visit.report is not None:
            wave.to_finish.append(job_id)
    return Command(goto=_after_starting(wave))


async def finish(state: WaveState) -> Command[Literal["settle"]]:
    """End the jobs that have a result, were cancelled or waited too long."""
    wave = state["wave"]
    for job_id in wave.to_finish:
        phases.finish(wave, wave.visits[job_id])
    return Command(goto="settle")


async def settle(state: WaveState) -> Command[Literal["publish"]]:
    """Price what was completed, and take note of payments on chain."""
    wave = state["wave"]
    for job_id in wave.to_finish:
        phases.settle(wave, wave.visits[job_id])
    for job_id in wave.to_finish + wave.to_settle:
        phases.take_payment(wave.visits[job_id])
    return Command(goto="publish")


async def publish(state: WaveState, runtime: Runs) -> None:
    """Write the wave: moves, history, events, timers, consumed signals; then what it says of its nodes' health."""
    await save_wave(runtime.context.uow, state["wave"])
    await health.record(runtime.context.uow, state["wave"], runtime.context.health)


def _after_placing(wave: Wave) -> Literal["start", "finish", "settle", "publish"]:
    return "start" if wave.to_start else _after_starting(wave)


def _after_starting(wave: Wave) -> AfterStart:
    if wave.to_finish:
        return "finish"
    return "settle" if wave.to_settle else "publish"


JobGraph = CompiledStateGraph[WaveState, JobContext, WaveState, WaveState]


def build() -> JobGraph:
    """Compile the graph; once a process, compiling costs more than running."""
    graph: Any = StateGraph(WaveState, context_schema=JobContext)
    for node in (receive, admit, match, claim, offer, start, finish, settle, publish):
        graph.add_node(node)
    graph.add_edge(START, "receive")
    graph.set_finish_point("publish")
    compiled: JobGraph = graph.compile(name="job")
    return compiled
