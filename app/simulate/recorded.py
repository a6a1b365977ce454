"""Networks and jobs out of a recording of the engine's own database."""

from __future__ import annotations

import numpy as np

from app.core.errors import InvalidInput
from app.core.requirements import Requirements
from app.core.states import NodeState
from app.matchmaker.arrays import Ints
from app.matchmaker.batch import NodeBatch, batch_of
from app.services.recording import RecordedJob, Recording
from app.simulate.results import percentile, rounded
from app.simulate.traced import busiest
from app.simulate.workload import Workload

_HOUR_MS = 3_600_000
_USUAL_RUN_MS = 60_000


def recorded_network(recording: Recording) -> NodeBatch:
    """The nodes that were online, idle. Raises InvalidInput when there are none, or one is out of range."""
    nodes = [node for node in recording.nodes if node.state is NodeState.ONLINE]
    if not nodes:
        raise InvalidInput("no node was online", field="recorded")
    network = batch_of(nodes)
    network.active_jobs = np.zeros(len(network), np.int64)
    return network


def recorded_jobs(recording: Recording, hours: int) -> Workload:
    """The busiest ``hours`` of the recording, and the jobs that were on nodes when they began.

    A run of unknown length takes the median of the known ones, a minute when there are none. Raises InvalidInput when
    fewer hours, or no jobs, were recorded.
    """
    if hours > recording.hours:
        raise InvalidInput(f"only {recording.hours} hours were recorded", field="hours")
    jobs = recording.jobs
    usual = _usual_ms(jobs)
    submit = np.array([job.submit_ms for job in jobs], np.int64)
    lengths = np.array([usual if job.ran_ms is None else job.ran_ms for job in jobs], np.int64)
    began = submit + np.array([job.waited_ms or 0 for job in jobs], np.int64)
    left = np.array([-1 if job.left_ms is None else job.left_ms for job in jobs], np.int64)
    ends = np.where(left < 0, began + lengths, left)
    # Of those under way when the recording began, only what was left counts; they do not make an hour busy.
    fresh = submit >= 0
    if not fresh.any():
        raise InvalidInput("no job was submitted in that time", field="recorded")
    begin = busiest(submit[fresh], hours * _HOUR_MS)
    ran = np.array([job.waited_ms is not None for job in jobs], np.bool_)
    warm = np.flatnonzero((submit < begin) & (ends > begin) & ran)
    chosen = np.flatnonzero((submit >= begin) & (submit < begin + hours * _HOUR_MS))
    picked = np.concatenate((warm, chosen))
    lengths[warm] = ends[warm] - begin
    return _workload(jobs, picked, np.maximum(submit[picked] - begin, 0), np.maximum(lengths[picked], 1), len(warm))


def _workload(jobs: list[RecordedJob], picked: Ints, submit: Ints, lengths: Ints, warm: int) -> Workload:
    kinds: dict[Requirements, int] = {}
    keys: dict[str, int] = {}
    taken = [jobs[at] for at in picked.tolist()]
    return Workload(
        kind=np.array([kinds.setdefault(job.requirements, len(kinds)) for job in taken], np.int64),
        key=np.array([keys.setdefault(job.key, len(keys)) for job in taken], np.int64),
        priority=np.array([job.priority for job in taken], np.int64),
        submit_ms=submit,
        duration_ms=lengths,
        kinds=list(kinds),
        keys=len(keys),
        warm=warm,
    )


def _usual_ms(jobs: list[RecordedJob]) -> int:
    known = sorted(job.ran_ms for job in jobs if job.ran_ms is not None)
    return known[len(known) // 2] if known else _USUAL_RUN_MS


def recorded_outcome(recording: Recording) -> dict[str, float]:
    """What really became of the jobs submitted in the recorded time: placed_pct, wait_s_p50, wait_s_p99."""
    jobs = [job for job in recording.jobs if job.submit_ms >= 0]
    waits = np.sort(np.array([job.waited_ms for job in jobs if job.waited_ms is not None], np.int64))
    return {
        "placed_pct": rounded(100 * len(waits), len(jobs), 4),
        "wait_s_p50": round(percentile(waits, 50) / 1000, 3),
        "wait_s_p99": round(percentile(waits, 99) / 1000, 3),
    }
