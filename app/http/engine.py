"""What the routes work with: everything one server process holds, put together once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from agent_plugins.host import Hosts, hosts
from app.core.access import Principal
from app.core.errors import HaeError
from app.core.states import JobState
from app.http.langgraph_api.keeper import RunKeeper
from app.http.streams.fanout import Fanout
from app.http.streams.seats import Seats
from app.services import feed, nodes, offers, plans
from app.services.background import Probe, end_within, keep_running
from app.services.batching import Batcher
from app.services.desk import Desk
from app.services.keys import Authenticator
from app.services.network import NetworkFigures
from app.services.nodes import Registration
from app.services.offers import Acceptance
from app.services.ownership import Ownership
from app.services.pulse import Pulse
from app.services.registration import Answer, register_many
from app.services.views import ViewKeeper, views_from
from app.settings import Settings
from app.store import events, jobs
from app.store.bus import Bus, HintMessage
from app.store.db import Database
from app.store.deltas import DeltaStream
from app.store.nodes import NodeRow
from app.store.offers import OpenOffer
from app.store.results import NewReport
from app.webhooks.guard import Guard
from graphs.agent import AgentRunner
from tools.context import ToolContext

IDLE_S = 5.0
"""Seconds between looks at the nodes while nobody asks."""
CLOSE_S = 5.0
"""What is under way behind the routes may take that long to end by itself."""


@dataclass(slots=True)
class Engine:
    """One server process. ``draining`` is set when it is about to shut down: it is unready, and still answers.
    ``stopping`` is set when it shuts down: streams and long-polls then end by themselves."""

    settings: Settings
    db: Database
    bus: Bus
    deltas: DeltaStream
    auth: Authenticator
    views: ViewKeeper
    figures: NetworkFigures
    agents: AgentRunner
    job_desk: Desk[tuple[JobState, int]]
    plan_desk: Desk[tuple[int, bool]]
    event_desk: Desk[int]
    offer_desk: Desk[list[OpenOffer]]
    feed_desk: Desk[int]
    fanout: Fanout
    pulse: Pulse
    ownership: Ownership
    accepts: Batcher[Acceptance, int]
    reports: Batcher[NewReport, None]
    registers: Batcher[tuple[Principal, Registration], Answer]
    database_probe: Probe[bool]
    valkey_probe: Probe[bool]
    plugins: Hosts
    hook_guard: Guard
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    seats: Seats = field(init=False)
    runs: RunKeeper = field(init=False)
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        streams = self.settings.streams
        self.seats = Seats(per_key=streams.per_key, per_process=streams.per_process)
        self.runs = RunKeeper(self.db, self.agents, self.settings.worker.poll_s)

    async def start(self) -> None:
        """Start the tasks behind the routes."""
        self.db.on_commit = self.bus.publish
        parts = (
            self.job_desk.run,
            self.plan_desk.run,
            self.event_desk.run,
            self.offer_desk.run,
            self.feed_desk.run,
            self.fanout.run,
            self.runs.desk.run,
            self.runs.run,
            self.pulse.run,
            self.views.listen,
            self._keep_view,
            self._listen,
        )
        self._tasks += [asyncio.create_task(keep_running(part, self.stopping)) for part in parts]

    async def close(self) -> None:
        """Stop the tasks, write the last heartbeats, close the connections."""
        self.stopping.set()
        await end_within(CLOSE_S, self._tasks)
        self.hook_guard.close()
        await self.bus.close()
        await self.deltas.close()
        await self.db.close()

    async def _keep_view(self, stop: asyncio.Event) -> None:
        # Requests have it refreshed when they come: this only keeps the first of them from paying for hours.
        await self.views.run(stop, every_s=IDLE_S)

    async def _listen(self, stop: asyncio.Event) -> None:
        await self.bus.listen(self._heard, stop)

    async def _heard(self, message: HintMessage) -> None:
        self.job_desk.wake(message.jobs)
        self.event_desk.wake(message.jobs)
        self.plan_desk.wake(message.plans)
        self.offer_desk.wake(message.nodes)
        if message.feed:
            self.feed_desk.wake(self.feed_desk.keys())
            self.fanout.nudge()
        if message.view:
            self.views.nudge()


def build_engine(settings: Settings) -> Engine:
    """Put a server process together. Connects to nothing yet. Raises InvalidInput on settings that make no sense,
    and NotFound, listing the installed ones, for an agent plugin that is not there."""
    database = settings.database
    db = Database(
        database.url,
        pool_size=database.pool_size,
        pool_timeout_s=database.pool_timeout_s,
        pgbouncer=database.pgbouncer,
        application="hae serve",
    )
    deltas = DeltaStream(settings.redis.url)
    views = views_from(settings, db, deltas)
    figures = NetworkFigures(db)

    async def job_states(ids: list[str]) -> dict[str, tuple[JobState, int]]:
        async with db.unit() as uow:
            return await jobs.states_of(uow, ids)

    async def event_seqs(ids: list[str]) -> dict[str, int]:
        async with db.unit() as uow:
            return await events.latest(uow, ids)

    async def feed_ends(accounts: list[str]) -> dict[str, int]:
        return await feed.ends(db, accounts)

    async def open_offers(ids: list[str]) -> dict[str, list[OpenOffer]]:
        return await offers.waiting(db, ids)

    async def accept(asked: Sequence[Acceptance]) -> Sequence[int | Exception]:
        answers: list[int | HaeError] = await offers.accept_leases(db, asked)
        return answers

    async def report(reports: Sequence[NewReport]) -> Sequence[Exception | None]:
        answers: list[HaeError | None] = await offers.report(db, reports)
        return answers

    async def register(calls: Sequence[tuple[Principal, Registration]]) -> Sequence[Answer | Exception]:
        answers: list[Answer | HaeError] = await register_many(db, calls)
        return answers

    bus = Bus(settings.redis.url)

    async def plan_versions(ids: list[str]) -> dict[str, tuple[int, bool]]:
        return await plans.versions(db, ids)

    job_desk = Desk(job_states, settings.worker.poll_s)
    plan_desk = Desk(plan_versions, settings.worker.poll_s)
    offer_desk = Desk(open_offers, settings.worker.poll_s)
    return Engine(
        settings=settings,
        db=db,
        bus=bus,
        deltas=deltas,
        auth=Authenticator(db, settings.server.api_key),
        views=views,
        figures=figures,
        agents=AgentRunner(
            ToolContext(db, views, figures, job_desk, settings.jobs, settings.matchmaker.algorithm, plan_desk)
        ),
        job_desk=job_desk,
        plan_desk=plan_desk,
        event_desk=Desk(event_seqs, settings.worker.poll_s),
        offer_desk=offer_desk,
        feed_desk=Desk(feed_ends, settings.worker.poll_s),
        fanout=Fanout(db, settings.worker.poll_s),
        pulse=Pulse(
            db,
            flush_s=settings.nodes.heartbeat_flush_s,
            interval_s=min(settings.nodes.offline_after_s / 4, 15.0),
            waiting=offer_desk.keys,
        ),
        ownership=Ownership(db),
        accepts=Batcher(accept),
        reports=Batcher(report),
        registers=Batcher(register),
        database_probe=Probe(db.answers),
        valkey_probe=Probe(bus.ping),
        plugins=hosts(settings.agents.plugins),
        hook_guard=Guard(settings.webhooks.allow_networks),
    )


async def owned_node(engine: Engine, principal: Any, node_id: str) -> NodeRow:
    """The caller's node; raises NotFound. Hearing from its owner is a sign of life of the node."""
    row = await nodes.owned(engine.db, principal, node_id)
    engine.pulse.beat(node_id)
    return row


async def check_owner(engine: Engine, principal: Principal, node_id: str) -> None:
    """As owned_node, for calls that need nothing of the node itself: costs no query after the first."""
    await engine.ownership.check(principal, node_id)
    engine.pulse.beat(node_id)
