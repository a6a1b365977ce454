"""Runs of one redundant unit of a plan are kept on different nodes: a majority of a single node's results says nothing.

Each run is an ordinary job. Before a wave matches some, it takes the turn of their units and reads where the other
runs are; from then on it knows of every node that one of them has, by rows or by its own choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.core.jobs import Job
from app.core.states import JobState
from app.store import plan_runs
from app.store.db import UnitOfWork

VOTING = (JobState.OFFERED, JobState.ASSIGNED, JobState.RUNNING, JobState.CANCELLING, JobState.COMPLETED)
"""States of a run that has a node, and has or may yet have a result from it."""

_Unit = tuple[str, int]


@dataclass(slots=True)
class Apart:
    """What a wave knows of redundant units. ``nodes``: of each unit, where its runs are, by job id.

    ``noted``: by job id, the nodes that its latest match was kept from.
    """

    unit_of: dict[str, _Unit] = field(default_factory=dict)
    nodes: dict[_Unit, dict[str, str]] = field(default_factory=dict)
    noted: dict[str, frozenset[str]] = field(default_factory=dict)

    def away(self, job_id: str) -> frozenset[str]:
        """Nodes that other runs of the job's unit have."""
        unit = self.unit_of.get(job_id)
        if unit is None:
            return frozenset()
        return frozenset(node_id for run, node_id in self.nodes[unit].items() if run != job_id)

    def put(self, job_id: str, node_id: str | None) -> None:
        """Note that a run is to have this node, None = none any more."""
        unit = self.unit_of.get(job_id)
        if unit is not None:
            self.nodes[unit].pop(job_id, None)
            if node_id is not None:
                self.nodes[unit][job_id] = node_id

    def in_turn(self, asking: Sequence[Job]) -> list[list[Job]]:
        """The jobs in batches, in order, of which none has two runs of a unit; one batch where there are no such."""
        if not self.unit_of:
            return [list(asking)]
        batches: list[list[Job]] = []
        seen: dict[_Unit, int] = {}
        for job in asking:
            unit = self.unit_of.get(job.id)
            at = 0 if unit is None else seen.get(unit, 0)
            if unit is not None:
                seen[unit] = at + 1
            while len(batches) <= at:
                batches.append([])
            batches[at].append(job)
        return batches


async def look(uow: UnitOfWork, apart: Apart, asking: Sequence[Job], held: Sequence[Job]) -> None:
    """Learn, once a wave, which of the jobs that ask for nodes are runs of redundant units, and where the others are.

    ``held``: the jobs that the wave has locked, as they stand in it. Waits for other waves that place runs of the same
    units, until their commit: to be called before anything is taken that such a wave could wait for, such as the turn
    on the view. Costs nothing where no plan's job asks.
    """
    wanted = sorted({(job.plan_id, job.plan_unit) for job in asking if job.plan_id and job.plan_unit is not None})
    if not wanted or apart.unit_of:
        return
    runs = await plan_runs.take_turns(uow, wanted)
    if not runs:
        return
    apart.unit_of = {job_id: unit for unit, job_ids in runs.items() for job_id in job_ids}
    apart.nodes = {unit: {} for unit in runs}
    own = {job.id: job for job in held if job.id in apart.unit_of}
    for job_id, node_id in (
        await plan_runs.nodes(uow, [run for run in apart.unit_of if run not in own], VOTING)
    ).items():
        apart.put(job_id, node_id)
    for job in own.values():
        apart.put(job.id, job.node_id if job.state in VOTING else None)
