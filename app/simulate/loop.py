"""The run of a scene: events in virtual time, decided by the engine's matchmaker."""

from __future__ import annotations

from array import array
from collections.abc import Callable

from app.core.nodes import NodeRecord
from app.core.states import NodeState
from app.matchmaker.fairness import Line, Share, Waiter
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.types import Query
from app.simulate.agenda import Agenda, Kind, same_attempt
from app.simulate.backlog import Backlog, Wishes
from app.simulate.luck import Luck
from app.simulate.outages import outages
from app.simulate.placing import place
from app.simulate.reference import Reference
from app.simulate.state import Jobs, Nodes
from app.simulate.trail import HoldEnd, JobEnd, Trail
from app.simulate.workload import Scene

_HOLD_ENDS = {
    Kind.DONE: HoldEnd.COMPLETED,
    Kind.FAILED: HoldEnd.FAILED,
    Kind.DECLINED: HoldEnd.DECLINED,
    Kind.LAPSED: HoldEnd.LAPSED,
}
LOOK_EVERY = 256
"""Instants between two looks at whether to stop."""


class Run:
    """One scene under one policy; good for one ``run``.

    A job's life is the engine's: offered to the best node; on a decline, a silent node or a failed run offered to the
    best without that node; in the backlog while none is free, at most ``queue_ttl_ms``; failed when it lost more runs
    than ``max_retries``. A node's luck with a job depends on the two alone, so that policies meet the same. Standing
    and response times of nodes stay what they were at the start.
    """

    def __init__(self, scene: Scene, policy: str, matchmaker: Matchmaker) -> None:
        network, workload, behaviour = scene.network, scene.workload, scene.behaviour
        count = len(workload)
        self.scene = scene
        self.trail = Trail(bytearray(count), array("q", [-1]) * count)
        self.reference = Reference(matchmaker, network, workload.kinds)
        self.horizon = (int(workload.submit_ms[-1]) if count else 0) + behaviour.queue_ttl_ms
        self._behaviour = behaviour
        self._policy = policy
        self._matchmaker = matchmaker
        self._luck = Luck(scene)
        self._nodes = Nodes(scene)
        self._jobs = Jobs(scene)
        self._held = [0] * workload.keys
        self._backlog = Backlog(
            Wishes(workload.kinds, network, matchmaker.min_reputation), self._held, behaviour.age_per_priority_ms
        )
        self._outages = outages(scene, self.horizon)
        self._outage = 0
        self._agenda = Agenda()
        self._changed: list[NodeRecord] = []
        self._due: list[int] = []
        self._woken: list[int] = []
        self._round_at = -1

    def run(self, stopped: Callable[[int, int], bool]) -> Trail:
        """To the horizon, or until ``stopped(virtual ms, jobs seen)``, which is asked now and then."""
        agenda, submit, trail = self._agenda, self._jobs.submit, self.trail
        count, at, instants = len(submit), 0, 0
        self._next_outage()
        while True:
            now = agenda.next_at()
            if at < count and submit[at] < now:
                now = submit[at]
            if now >= self.horizon:
                trail.complete, now = True, self.horizon
                break
            for kind, who, attempt in agenda.take(now):
                self._happen(kind, who, attempt, now)
            if self._changed:
                # Together: one by one, they would take longer than the jobs of a large network.
                self._matchmaker.view.upsert(self._changed)
                self._changed = []
            while at < count and submit[at] == now:
                self._due.append(at)
                at += 1
            if self._due or self._woken:
                self._decide(now)
            instants += 1
            if instants % LOOK_EVERY == 0 and stopped(now, at):
                break
        for job in self._due:
            trail.ends[job] = JobEnd.WAITING
        trail.end_ms = now
        return trail

    def _happen(self, kind: int, who: int, attempt: int, now: int) -> None:
        if kind <= Kind.LAPSED:
            # Of an earlier attempt it tells nothing; of a silent node, its word does not come through.
            if same_attempt(attempt, self._jobs.attempt[who]):
                node = self.trail.hold_node[self._jobs.hold[who]]
                if kind > Kind.FAILED or not self._nodes.silent[node]:
                    self._answered(who, node, Kind(kind), now)
        elif kind == Kind.EXPIRE:
            if self.trail.ends[who] == JobEnd.WAITING and self._jobs.expires[who] <= now:
                self._backlog.leave(who)
                self._leave_stay(who, now)
                self.trail.ends[who] = JobEnd.EXPIRED
        elif kind == Kind.SILENT:
            self._fall_silent(who)
        elif kind == Kind.DETECTED:
            self._detected(who, now)
        elif kind == Kind.BACK:
            self._nodes.silent[who] = self._nodes.away[who] = 0
            self._set_state(who, NodeState.ONLINE)
            self._woken.append(who)

    def _answered(self, job: int, node: int, kind: Kind, now: int) -> None:
        self._give_back(job, node, now, _HOLD_ENDS[kind])
        if kind is Kind.DONE:
            self.trail.ends[job] = JobEnd.COMPLETED
            return
        self._jobs.excluded[job] = (*self._jobs.excluded.get(job, ()), self._nodes.ids[node])
        self._again(job, now, lost=kind is Kind.FAILED)

    def _again(self, job: int, now: int, *, lost: bool) -> None:
        """The job wants another node. ``lost``: it had begun to run, and a retry is used up."""
        if lost:
            self._jobs.lost[job] += 1
            self._jobs.expires[job] = now + self._behaviour.queue_ttl_ms
        if self._jobs.lost[job] > self._behaviour.max_retries:
            self.trail.ends[job] = JobEnd.FAILED
        elif self._jobs.expires[job] <= now:
            self.trail.ends[job] = JobEnd.EXPIRED
        else:
            self._due.append(job)

    def _give_back(self, job: int, node: int, now: int, end: HoldEnd) -> None:
        hold, slots = self._jobs.hold[job], self._jobs.slots_of(job)
        self.trail.hold_to[hold] = now
        self.trail.hold_end[hold] = end
        self._jobs.attempt[job] += 1
        self._nodes.taken[node] -= slots
        self._held[self._jobs.key[job]] -= slots
        self._nodes.holders[node].discard(job)
        self._matchmaker.view.adjust(self._nodes.ids[node], -slots)
        if self._backlog:
            self._woken.append(node)

    def _next_outage(self) -> None:
        if self._outage < len(self._outages):
            self._agenda.push(self._outages[self._outage].at, Kind.SILENT, self._outage)

    def _fall_silent(self, which: int) -> None:
        at, node, noticed, until = self._outages[which]
        self._outage += 1
        self._next_outage()
        if not self._nodes.silent[node]:
            self._nodes.silent[node] = 1
            self.trail.outages.append((node, at, until))
            self._agenda.push(noticed, Kind.DETECTED, node)
            self._agenda.push(until, Kind.BACK, node)

    def _detected(self, node: int, now: int) -> None:
        self._nodes.away[node] = 1
        for job in sorted(self._nodes.holders.get(node, ())):
            running = self.trail.ends[job] == JobEnd.RUNNING
            self._give_back(job, node, now, HoldEnd.LOST)
            self._again(job, now, lost=running)
        self._set_state(node, NodeState.OFFLINE)

    def _set_state(self, node: int, state: NodeState) -> None:
        record = self._matchmaker.view.get(self._nodes.ids[node])
        assert record is not None
        record.state = state
        record.version += 1
        self._changed.append(record)

    def _decide(self, now: int) -> None:
        """Place what is due and, on slots given back, the most urgent of those who wait, until nobody more fits."""
        every = self._behaviour.batch_ms
        if every and now % every:
            at = now - now % every + every
            if self._round_at != at:
                self._round_at = at
                self._agenda.push(at, Kind.ROUND, 0)
            return
        due, self._due = self._due, []
        woken, self._woken = dict.fromkeys(self._woken), []
        passed: set[int] = set()
        while True:
            for node in woken:
                if not self._nodes.away[node]:
                    free = self._nodes.free(node)
                    due += self._backlog.next_for(node, free, passed, self._behaviour.batch)
            if not due:
                return
            self._place(due, now, passed)
            due = []

    def _place(self, jobs: list[int], now: int, passed: set[int]) -> None:
        kinds, most = self.scene.workload.kinds, self._behaviour.batch
        jobs.sort(key=self._jobs.rank.__getitem__)
        for start in range(0, len(jobs), most):
            part = jobs[start : start + most]
            wishes = [
                Query(self._jobs.ids[job], kinds[self._jobs.kind[job]], self._jobs.excluded.get(job, ()), self._policy)
                for job in part
            ]
            found = place(self._matchmaker, wishes, self._order(part), self.trail.match_ns)
            for job, node_id in zip(part, found, strict=True):
                if node_id is None:
                    self._wait(job, now, passed)
                else:
                    self._offer(job, self._nodes.place_of[node_id], now)

    def _order(self, jobs: list[int]) -> Line | None:
        """The order of right among several jobs; deciding it for a single one would be a third of its time."""
        if len(jobs) == 1:
            return None
        shares = {str(key): Share(held=held) for key, held in enumerate(self._held)}
        waiters = [
            Waiter(self._jobs.ids[job], str(self._jobs.key[job]), self._jobs.slots_of(job), self._jobs.rank[job])
            for job in jobs
        ]
        return Line(waiters, shares, self._behaviour.age_per_priority_ms)

    def _wait(self, job: int, now: int, passed: set[int]) -> None:
        kind = self._jobs.kind[job]
        self.trail.ends[job] = JobEnd.WAITING
        if self._jobs.stay[job] < 0:
            self._jobs.stay[job] = len(self.trail.stay_from)
            self.trail.stay_job.append(job)
            self.trail.stay_from.append(now)
            self.trail.stay_to.append(-1)
            self._agenda.push(self._jobs.expires[job], Kind.EXPIRE, job)
        if not self.reference.never_fits[kind]:
            alone = job in self._jobs.excluded
            passed.add(self._backlog.add(job, self._jobs.rank[job], kind, self._jobs.key[job], alone=alone))

    def _leave_stay(self, job: int, now: int) -> None:
        stay = self._jobs.stay[job]
        if stay >= 0:
            self.trail.stay_to[stay] = now
            self._jobs.stay[job] = -1

    def _offer(self, job: int, node: int, now: int) -> None:
        trail, kind = self.trail, self._jobs.kind[job]
        self._leave_stay(job, now)
        self._jobs.hold[job] = len(trail.hold_job)
        trail.hold_job.append(job)
        trail.hold_node.append(node)
        trail.hold_from.append(now)
        trail.hold_to.append(-1)
        trail.hold_end.append(HoldEnd.OPEN)
        free = self._nodes.free(node)
        self._nodes.taken[node] += self._jobs.slots[kind]
        self._held[self._jobs.key[job]] += self._jobs.slots[kind]
        self._nodes.holders.setdefault(node, set()).add(job)
        self._answer(job, node, free, now)

    def _answer(self, job: int, node: int, free: int, now: int) -> None:
        """What the node will say to the offer, and how the run will end. ``free``: its slots before the offer."""
        trail, kind, attempt = self.trail, self._jobs.kind[job], self._jobs.attempt[job]
        warm = job < self._jobs.warm
        answer = now + self._nodes.response_ms[node]
        draw = self._luck.draw(job, node)
        trail.ends[job] = JobEnd.OFFERED
        if self._nodes.silent[node]:
            self._agenda.push(now + self._behaviour.offer_ttl_ms, Kind.LAPSED, job, attempt)
            return
        if self._luck.declines(draw) and not warm:
            self._agenda.push(answer, Kind.DECLINED, job, attempt)
            return
        trail.ends[job] = JobEnd.RUNNING
        if trail.waits[job] < 0:
            trail.waits[job] = answer - self._jobs.submit[job]
            if not warm:
                trail.accepted += 1
                trail.regret += self.reference.regret(kind, node, free)
                trail.overpaid += self.reference.overpaid(kind, node)
                trail.response += self._nodes.response_ms[node]
        length, lost = self._jobs.duration[job], False
        if not warm:
            length, lost = self._luck.run_of(draw, node, length)
        self._agenda.push(answer + length, Kind.FAILED if lost else Kind.DONE, job, attempt)
