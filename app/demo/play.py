"""The course of a demo: register the nodes, submit the jobs, kill some of the cast, wait for the end, audit."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from app.demo.agent import Api, Ledger, submit_all
from app.demo.children import DemoError
from app.demo.judge import judge
from app.demo.receivers import SUBSCRIBED
from app.demo.scenario import DemoOptions, Scenario
from app.demo.screen import Screen
from app.demo.stage import ACCOUNT, Stage
from app.demo.summary import Summary
from app.demo.trace import TraceNode
from app.node_worker.connections import Connections
from app.services import audit

REGISTER_S = 60.0
PATIENCE_S = 60.0
"""How long after the last submission the demo waits for the jobs' ends before it calls them lost."""
WEBHOOKS_S = 15.0
WEBHOOKS_QUIET_S = 3.0
KILL_FLEET_AT = 0.2
"""Share of the jobs ended at which the doomed fleet is killed."""
ENOUGH_NODES = 0.1
"""Share of the nodes that must be registered before the agent begins."""
_LOOK_S = 0.5
_RATE_OVER_S = 5.0
_STANDINGS_PER_CALL = 1_000


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

    async def run(self) -> Summary:
        """Play to the end and audit. Raises DemoError when a part of the engine does not work at all."""
        async with Connections() as connections:
            operator = Api(connections, self._stage.url, self._stage.operator_key)
            agent = Api(connections, self._stage.url, self._stage.agent_key)
            try:
                await self._perform(operator, agent)
            except* DemoError as errors:
                raise first_of(errors) from errors
            await self._webhooks()
        return await self._audit()

    async def _perform(self, operator: Api, agent: Api) -> None:
        async with asyncio.TaskGroup() as group:
            enough = asyncio.Event()
            enlisting = group.create_task(self._enlist(operator, enough))
            await enough.wait()
            submitting = group.create_task(submit_all(agent, self._scenario.submissions, self._ledger))
            await self._watch(operator, enlisting, submitting)
            submitting.cancel()

    async def _enlist(self, operator: Api, enough: asyncio.Event) -> None:
        """Give the nodes the standing they have in the trace as they register; ``enough`` is set at the first ones."""
        status, wanted = self._screen.status, self._scenario.nodes
        status.phase = "nodes register"
        self._screen.note(f"engine serving on {self._stage.url}; {len(wanted)} nodes register")
        known: set[str] = set()

        async def registered() -> bool:
            found = await audit.node_ids(self._stage.db)
            fresh = sorted(found.keys() - known)
            for start in range(0, len(fresh), _STANDINGS_PER_CALL):
                batch = [_standing(found[name], wanted[name]) for name in fresh[start : start + _STANDINGS_PER_CALL]]
                await operator.call("PUT", "/internal/nodes/standing", {"nodes": batch})
            known.update(fresh)
            status.nodes_online = max(status.nodes_online, len(known))
            if len(known) >= ENOUGH_NODES * len(wanted) and not enough.is_set():
                self._screen.note(f"{len(known)} nodes are up; the agent submits while the others register")
                enough.set()
            return len(known) >= len(wanted)

        if not await self._until(registered, REGISTER_S):
            raise DemoError(f"only {len(known)} of {len(wanted)} nodes registered in {REGISTER_S:g} s")
        self._screen.note(f"all {len(known)} nodes are registered")

    async def _watch(self, operator: Api, enlisting: asyncio.Task[None], submitting: asyncio.Task[None]) -> None:
        """Follow the jobs to their ends, and kill who is to be killed on the way."""
        status, count = self._screen.status, len(self._scenario.submissions)
        status.phase = "jobs run"
        crash_at = self._options.kill_worker_at
        fleet_lives = True
        patience = PATIENCE_S + (self._scenario.submissions[-1].due_s if count else 0.0)

        async def over() -> bool:
            nonlocal fleet_lives, crash_at
            await self._look(operator)
            if fleet_lives and status.ended >= KILL_FLEET_AT * count:
                fleet_lives = False
                await self._stage.doomed.kill()
                self._screen.note(f"a fleet of {len(self._scenario.doomed)} nodes is killed (SIGKILL)")
            if crash_at is not None and status.ended >= crash_at * count:
                crash_at = None
                await self._crash_worker()
            done = enlisting.done() and submitting.done()
            return done and status.ended >= len(self._ledger.acknowledged)

        await self._until(over, patience)

    async def _crash_worker(self) -> None:
        await self._stage.worker.kill()
        self._screen.note("the engine's worker is killed (SIGKILL) and started again")
        await self._stage.restart_worker()

    async def _look(self, operator: Api) -> None:
        status = self._screen.status
        figures = await operator.call("POST", "/v1/tools/network_metrics", {})
        traffic = await audit.traffic(self._stage.db)
        status.submitted = len(self._ledger.acknowledged)
        status.states = figures["jobs_by_state"]
        status.nodes_online = figures["nodes_active"]
        status.fallbacks = traffic.fallbacks
        status.webhooks = dict(self._stage.receivers.delivered)
        now = time.monotonic()
        self._ended.append((now, status.ended))
        while now - self._ended[0][0] > _RATE_OVER_S:
            self._ended.popleft()
        (since, before), passed = self._ended[0], now - self._ended[0][0]
        status.rate = (status.ended - before) / passed if passed > 0 and since else 0.0

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
        kinds = sorted({kind for wanted in SUBSCRIBED.values() for kind in wanted})
        record = await audit.record(self._stage.db, ACCOUNT, kinds)
        findings = judge(record, self._ledger.acknowledged, self._scenario.nodes)
        expected = sum(record.events.get(kind, 0) for wanted in SUBSCRIBED.values() for kind in wanted)
        return Summary(
            submitted=len(self._ledger.acknowledged),
            repeats=self._ledger.repeats,
            doubled=self._ledger.doubled,
            findings=findings,
            nodes=len(self._scenario.nodes),
            webhooks_delivered=self._stage.receivers.total,
            webhooks_expected=expected,
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


def _standing(node_id: str, node: TraceNode) -> dict[str, object]:
    return {
        "node_id": node_id,
        "reputation": node.reputation,
        "stake_hyper": str(node.stake),
        "jobs_completed": node.completed,
        "jobs_failed": node.failed,
    }
