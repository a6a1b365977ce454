"""The course of a demo: the nodes register, the jobs come, some of the cast are killed, the chain forks; then audit."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from app.demo.agent import Ledger, submit_all
from app.demo.api import Api, ChainApi
from app.demo.children import DemoError
from app.demo.judge import judge
from app.demo.judge_chain import judge_chain, pair
from app.demo.receivers import SUBSCRIBED
from app.demo.scenario import DemoOptions, Scenario
from app.demo.screen import Screen
from app.demo.settling import Settling
from app.demo.stage import Stage
from app.demo.summary import Summary
from app.node_worker.connections import Connections
from app.services import audit

REGISTER_S = 60.0
PATIENCE_S = 60.0
"""How long after the last submission the demo waits for the jobs' ends before it calls them lost."""
SETTLE_S = 45.0
"""Longer than what a killed worker was just sending stays claimed: the last jobs are paid once their ends are told."""
WEBHOOKS_S = 15.0
WEBHOOKS_QUIET_S = 3.0
KILL_FLEET_AT = 0.2
"""Share of the jobs ended at which the doomed fleet is killed."""
FORK_AT = 0.5
"""The same for the chain's fork."""
FORK_SLOTS = 4
ENOUGH_NODES = 0.1
"""Share of the nodes that must be registered before the agent begins."""
_LOOK_S = 0.5
_RATE_OVER_S = 5.0


@dataclass(slots=True)
class Incident:
    """Something that happens once a share of the jobs has ended; None: not, or not any more."""

    at: float | None
    happen: Callable[[], Awaitable[None]] = field(repr=False)


class Play:
    """One run on a stage. ``began``: Unix seconds at which the command was given."""

    def __init__(self, options: DemoOptions, scenario: Scenario, stage: Stage, screen: Screen, began: float) -> None:
        self._options = options
        self._scenario = scenario
        self._stage = stage
        self._screen = screen
        self._began = began
        self._ledger = Ledger()
        self._ended: deque[tuple[float, int]] = deque()
        self._forks = 0

    async def run(self) -> Summary:
        """Play to the end and audit. Raises DemoError when a part of the engine does not work at all."""
        async with Connections() as connections:
            self._operator = Api(connections, self._stage.url, self._stage.operator_key)
            self._agents = [Api(connections, self._stage.url, key) for key in self._stage.agent_keys]
            self._chain = ChainApi(connections, self._stage.chain.url)
            self._settling = Settling(self._operator, self._chain, self._stage.db, self._ledger, self._scenario.nodes)
            try:
                await self._perform()
            except* DemoError as errors:
                raise first_of(errors) from errors
            return await self._audit()

    async def _perform(self) -> None:
        async with asyncio.TaskGroup() as group:
            enough = asyncio.Event()
            enlisting = group.create_task(self._enlist(enough))
            await enough.wait()
            submitting = group.create_task(
                submit_all(self._agents, self._chain, self._scenario.submissions, self._ledger)
            )
            settling = group.create_task(self._settling.run(self._stage.receivers.ends))
            await self._watch(enlisting, submitting)
            submitting.cancel()
            await self._settle()
            settling.cancel()
            await self._webhooks()

    async def _enlist(self, enough: asyncio.Event) -> None:
        """Follow the nodes' workers as they register, with the wallets that the chain knows; ``enough``: a part is."""
        status, wanted = self._screen.status, len(self._scenario.nodes)
        status.phase = "nodes register"
        self._screen.note(f"engine serving on {self._stage.url}; it knows {wanted} nodes from the chain")

        async def registered() -> bool:
            online = (await audit.traffic(self._stage.db)).online
            status.nodes_online = max(status.nodes_online, online)
            if online >= ENOUGH_NODES * wanted and not enough.is_set():
                self._screen.note(f"{online} nodes are up; the agent submits while the others come")
                enough.set()
            return online >= wanted

        if not await self._until(registered, REGISTER_S):
            raise DemoError(f"only {status.nodes_online} of {wanted} nodes came online in {REGISTER_S:g} s")
        self._screen.note(f"all {wanted} nodes are up")

    async def _watch(self, enlisting: asyncio.Task[None], submitting: asyncio.Task[None]) -> None:
        """Follow the jobs to their ends, and let happen on the way what is to happen."""
        status, count = self._screen.status, len(self._scenario.submissions)
        status.phase = "jobs run"
        patience = PATIENCE_S + (self._scenario.submissions[-1].due_s if count else 0.0)
        incidents = [
            Incident(KILL_FLEET_AT, self._kill_fleet),
            Incident(FORK_AT, self._fork),
            Incident(self._options.kill_worker_at, self._crash_worker),
            Incident(self._options.kill_listener_at, self._crash_listener),
        ]

        async def over() -> bool:
            await self._look()
            for incident in incidents:
                if incident.at is not None and status.ended >= incident.at * count:
                    incident.at = None
                    await incident.happen()
            done = enlisting.done() and submitting.done()
            return done and status.ended >= len(self._ledger.created)

        await self._until(over, patience)

    async def _kill_fleet(self) -> None:
        await self._stage.doomed.kill()
        self._screen.note(f"a fleet of {len(self._scenario.doomed)} nodes is killed (SIGKILL)")

    async def _fork(self) -> None:
        landed = await self._chain.fork(FORK_SLOTS)
        self._forks += 1
        self._screen.note(f"the chain forks {FORK_SLOTS} slots back: {landed} transactions land again, in another slot")

    async def _crash_worker(self) -> None:
        await self._stage.workers[0].kill()
        self._screen.note("the engine's worker is killed (SIGKILL) and started again")
        await self._stage.restart_worker()

    async def _crash_listener(self) -> None:
        await self._stage.listener.kill()
        self._screen.note("the engine's listener is killed (SIGKILL) and started again")
        await self._stage.restart_listener()

    async def _look(self) -> None:
        status = self._screen.status
        figures = await self._operator.call("POST", "/v1/tools/network_metrics", {})
        status.submitted = len(self._ledger.created)
        status.states = figures["jobs_by_state"]
        status.nodes_online = figures["nodes_active"]
        await self._look_at_chain()
        now = time.monotonic()
        self._ended.append((now, status.ended))
        while now - self._ended[0][0] > _RATE_OVER_S:
            self._ended.popleft()
        (since, before), passed = self._ended[0], now - self._ended[0][0]
        status.rate = (status.ended - before) / passed if passed > 0 and since else 0.0

    async def _look_at_chain(self) -> bool:
        """Whether everything that happened on chain is final, and as final in the engine."""
        status = self._screen.status
        chain = await self._chain.status()
        traffic = await audit.traffic(self._stage.db)
        status.fallbacks = traffic.fallbacks
        status.webhooks = dict(self._stage.receivers.delivered)
        status.slot, status.on_chain, status.indexed = chain.slot, chain.events, traffic.indexed
        status.settled, status.disputed = traffic.settled, traffic.disputed
        paid = len(self._settling.paid)
        return chain.settled and traffic.final >= chain.events and traffic.settled + traffic.disputed >= paid

    async def _settle(self) -> None:
        """Let the last jobs be paid, and the payments become final."""
        self._screen.status.phase = "the last payments become final"

        async def settled() -> bool:
            return self._settling.done >= len(self._ledger.created) and await self._look_at_chain()

        if not await self._until(settled, SETTLE_S):
            self._screen.note(f"not everything is final {SETTLE_S:g} s after the last job; audited as it is")

    async def _webhooks(self) -> None:
        """Let the last messages arrive; what a killed worker was just sending stays leased for longer than that."""
        status, receivers = self._screen.status, self._stage.receivers
        status.phase = "the last webhooks are delivered"
        before, changed = -1, time.monotonic()

        async def delivered() -> bool:
            nonlocal before, changed
            if receivers.total != before:
                before, changed = receivers.total, time.monotonic()
            status.webhooks = dict(receivers.delivered)
            quiet = time.monotonic() - changed > WEBHOOKS_QUIET_S
            return quiet or (await audit.traffic(self._stage.db)).undelivered == 0

        await self._until(delivered, WEBHOOKS_S)

    async def _audit(self) -> Summary:
        self._screen.status.phase = "audit"
        self._screen.show()
        created = self._ledger.created.values()
        kinds = sorted({kind for wanted in SUBSCRIBED.values() for kind in wanted})
        record = await audit.record(self._stage.db, kinds)
        seen = await audit.chain_record(self._stage.db)
        pairing = pair(seen, record.jobs, created)
        findings = judge(record, pairing.acknowledged, self._scenario.nodes, pairing.missing)
        chain = judge_chain(
            await self._chain.ledger(),
            seen,
            record.jobs,
            record.nodes,
            paid=self._settling.paid,
            created=created,
            trace=self._scenario.nodes,
            mint=self._stage.chain.hyper_mint,
            mistaken=pairing.mistaken,
        )
        return Summary(
            submitted=len(created),
            repeats=self._ledger.repeats,
            doubled=self._ledger.doubled,
            findings=findings,
            chain=chain,
            forks=self._forks,
            nodes=len(self._scenario.nodes),
            webhooks_delivered=self._stage.receivers.total,
            webhooks_expected=sum(record.events.get(kind, 0) for wanted in SUBSCRIBED.values() for kind in wanted),
            first_completed_s=(findings.first_completed or self._began) - self._began,
            seconds=time.time() - self._began,
        )

    async def _until(self, done: Callable[[], Awaitable[bool]], timeout_s: float) -> bool:
        """Ask again and again, drawing the screen; False when ``timeout_s`` ran out. A dead process raises."""
        give_up = time.monotonic() + timeout_s
        while not await done():
            self._stage.children.check()
            self._screen.show()
            if time.monotonic() > give_up:
                return False
            await asyncio.sleep(_LOOK_S)
        self._screen.show()
        return True


def first_of(errors: BaseExceptionGroup[DemoError]) -> DemoError:
    """The first error in a group of them."""
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, DemoError)
    return found
