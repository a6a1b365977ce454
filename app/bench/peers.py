"""What the peers of the lifecycle benchmark have in common: the seven-step life of a job, its tables, how it is timed.

Each transition is one UPDATE of the job and one INSERT of an event, in one statement and so in one commit: the least
that any engine has to write. Waiting is left to the peer: for the offer's answer before ACCEPTED, for the result before
FINISHED. Whoever answers lives in the same process and does so as soon as the peer waits.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

MISSING = "the peers are not installed: pip install 'hypernode-automation-engine[bench]'"
SUBMITTED, MATCHED, OFFERED, ACCEPTED, STARTED, FINISHED, SETTLED = STEPS = (
    "submitted", "matched", "offered", "accepted", "started", "finished", "settled",
)  # fmt: skip
WAITS = {ACCEPTED: "offer", FINISHED: "result"}
"""The steps before which a job waits, and for what."""

TABLES = (
    """CREATE TABLE peer_jobs (id text PRIMARY KEY, state text NOT NULL, attempt int NOT NULL DEFAULT 1,
        payload jsonb NOT NULL, updated_at timestamptz NOT NULL DEFAULT now()) WITH (fillfactor = 60)""",
    """CREATE TABLE peer_events (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, job_id text NOT NULL,
        kind text NOT NULL, data jsonb NOT NULL, at timestamptz NOT NULL DEFAULT now())""",
)
SUBMIT = """WITH made AS (INSERT INTO peer_jobs (id, state, payload)
        VALUES (%(job_id)s, 'submitted', '{"model": "qwen-7b", "prompt": "Explain quantum computing"}') RETURNING id)
    INSERT INTO peer_events (job_id, kind, data) SELECT id, 'submitted', '{"attempt": 1}' FROM made"""
MOVE = """WITH moved AS (UPDATE peer_jobs SET state = %(to)s, updated_at = now()
        WHERE id = %(job_id)s AND state = %(was)s AND attempt = 1 RETURNING id)
    INSERT INTO peer_events (job_id, kind, data) SELECT id, %(to)s, '{"attempt": 1}' FROM moved"""
COUNT = """SELECT count(*) FILTER (WHERE j.state = 'settled'),
        (SELECT count(*) FROM peer_events) FROM peer_jobs j"""

BEFORE = dict(zip(STEPS[1:], STEPS, strict=False))
"""The state that a step finds."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """``concurrency``: jobs under way at a time. ``variant``: what else the peer can be given."""

    concurrency: int
    variant: str


@dataclass(frozen=True, slots=True)
class Size:
    """``jobs`` of each tuning, after ``warm_up`` others that do not count."""

    jobs: int
    warm_up: int = 16


def statement(step: str, job_id: str) -> tuple[str, dict[str, str]]:
    """The one statement of a transition, with its parameters, for psycopg."""
    if step == SUBMITTED:
        return SUBMIT, {"job_id": job_id}
    return MOVE, {"job_id": job_id, "to": step, "was": BEFORE[step]}


async def best(
    tunings: Sequence[Tuning], size: Size, drive: Callable[[Tuning, Sequence[str]], Awaitable[None]]
) -> dict[str, Any]:
    """Drive new jobs with each tuning; the fastest counts, and all are told."""
    rates = {}
    for number, tuning in enumerate(tunings):
        ids = [f"job_{number}_{each}" for each in range(size.warm_up + size.jobs)]
        await drive(tuning, ids[: size.warm_up])
        began = time.perf_counter()
        await drive(tuning, ids[size.warm_up :])
        rates[f"{tuning.variant}, {tuning.concurrency} at a time"] = size.jobs / (time.perf_counter() - began)
    return {
        "jobs_per_s": max(rates.values()),
        "tried": {name: round(rate, 1) for name, rate in rates.items()},
    }


def check(counted: tuple[int, int] | None, size: Size, tunings: int) -> None:
    """Raises RuntimeError unless every job has gone through every step: ``counted`` is what COUNT answered."""
    jobs = (size.warm_up + size.jobs) * tunings
    if counted != (jobs, jobs * len(STEPS)):
        raise RuntimeError(f"of {jobs} jobs, settled ones and events: {counted}")


def missing() -> str:
    """How to install the peers, empty where they are."""
    there = all(find_spec(name) for name in ("dbos", "langgraph.checkpoint.postgres", "psycopg_pool"))
    return "" if there else MISSING
