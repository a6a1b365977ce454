"""The rows of finished jobs, as the one statement that the server makes them by.

Of a hundred jobs 90 are completed, 5 failed, 3 cancelled and 2 expired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.core.events import Reason
from app.core.states import JobState

ENDS = ((90, JobState.COMPLETED), (95, JobState.FAILED), (98, JobState.CANCELLED), (100, JobState.EXPIRED))
"""Of a hundred jobs: below which number they come to which end."""
GOOD_BELOW = 90
RAN_BELOW = 95
SHORTEST = 5
"""History rows of a job that ran at its first attempt."""
RUN_MS = 29_000
COST = 1_000_000

_REASONS = {
    (None, "scheduled"): Reason.SCHEDULED,
    (None, "pending"): Reason.SUBMITTED,
    ("scheduled", "pending"): Reason.START_DUE,
    ("pending", "offered"): Reason.MATCHED,
    ("offered", "pending"): Reason.OFFER_DECLINED,
    ("offered", "assigned"): Reason.ACCEPTED,
    ("assigned", "running"): Reason.STARTED,
}
_CASES = " ".join(f"WHEN share < {below} THEN '{state}'" for below, state in ENDS)
_STATE = f"CASE {_CASES} END"
_REASON = f"""CASE WHEN share < {GOOD_BELOW} THEN '{Reason.RESULT}' WHEN share < {RAN_BELOW}
    THEN '{Reason.RETRIES_EXHAUSTED}' WHEN share < 98 THEN '{Reason.CANCEL_REQUESTED}'
    ELSE '{Reason.NO_NODE_IN_TIME}' END"""
_TIME = " || ".join(
    f"substr('0123456789abcdefghjkmnpqrstvwxyz', ((ms >> {shift}) & 31)::int + 1, 1)" for shift in range(45, -5, -5)
)

# An id as app/core/ids.py makes it, of the time in milliseconds; hexadecimal digits are among its characters.
MAKE_ID = f"""CREATE FUNCTION bench_id(prefix text, ms bigint, n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT prefix || '_' || {_TIME} || substr(md5(prefix || n), 1, 16) $$"""
DROP_ID = "DROP FUNCTION bench_id"

_ON_NODE = f"CASE WHEN share < {RAN_BELOW} THEN"
_FAILED = f"share >= {GOOD_BELOW} AND share < {RAN_BELOW}"

# $1 and $2: numbers of the first job and of the one after the last; $3: when job 0 was made; $4: time between two jobs;
# $5 and $6: attempts of jobs that ran, and of those that did not; $7: history rows of a job; $8 to $11: the columns of
# both lives, one below the other; $12: the rows' numbers within them; $13: whether they are of jobs that ran.
MAKE = f"""WITH chunk AS MATERIALIZED (SELECT n, n % 100 AS share, at, bench_id('job', ms, n) AS job_id,
        bench_id('offer', ms, n) AS offer_id, 'node_grown_' || n % 1000 AS node_id
    FROM (SELECT n, $3::timestamptz + n * $4::interval AS at,
        (extract(epoch FROM $3::timestamptz + n * $4::interval) * 1000)::bigint AS ms
        FROM generate_series($1::bigint, $2::bigint - 1) AS n) AS g),
made_jobs AS (INSERT INTO jobs (id, account, key_id, type, state, settlement, reason, attempt, failures, version,
        payload, gpu_models, min_vram_gb, capabilities, requirements_hash, policy, timeout_s, queue_ttl_s, node_id,
        offer_id, price, cost, error, created_at, expires_at, assigned_at, started_at, finished_at)
    SELECT job_id, 'grown-' || n % 50, 'key_grown_' || n % 50, 'llm_inference', {_STATE},
        CASE WHEN share < {GOOD_BELOW} THEN 'awaiting' ELSE 'none' END, {_REASON}, {_ON_NODE} $5::int ELSE $6::int END,
        CASE WHEN {_FAILED} THEN 1 ELSE 0 END, $7::int,
        jsonb_build_object('model', 'qwen-7b', 'prompt', 'Explain quantum computing in ' || n || ' words'),
        ARRAY['a100'], 24, 1, md5(n::text) || md5((-n)::text), 'reputation_weighted', 3600, 600,
        {_ON_NODE} node_id END, {_ON_NODE} offer_id END, {_ON_NODE} 100000000 END,
        CASE WHEN share < {GOOD_BELOW} THEN {COST} END, CASE WHEN {_FAILED} THEN 'out of memory' END,
        at, at + interval '10 min', {_ON_NODE} at + interval '1 s' END, {_ON_NODE} at + interval '2 s' END,
        at + interval '30 s'
    FROM chunk),
made_offers AS (INSERT INTO offers (id, job_id, node_id, attempt, state, holds_slots, price, created_at, expires_at,
        decided_at, started_at)
    SELECT offer_id, job_id, node_id, $5::int, 'accepted', false, 100000000, at, at + interval '15 s',
        at + interval '1 s', at + interval '2 s'
    FROM chunk WHERE share < {RAN_BELOW}),
made_results AS (INSERT INTO results (offer_id, job_id, node_id, attempt, ok, body, error, digest, created_at)
    SELECT offer_id, job_id, node_id, $5::int, share < {GOOD_BELOW},
        CASE WHEN share < {GOOD_BELOW} THEN '{{"text": "done", "tokens": 128}}'::jsonb END,
        CASE WHEN {_FAILED} THEN 'out of memory' END, md5(n::text) || md5((-n)::text), at + interval '30 s'
    FROM chunk WHERE share < {RAN_BELOW})
INSERT INTO job_history (job_id, at, from_state, to_state, attempt, reason, actor, node_id)
    SELECT job_id, at + interval '30 s' * (step - 1) / ($7::int - 1), was, coalesce(next, {_STATE}), attempt,
        coalesce(why, {_REASON}), 'engine', CASE WHEN next IN ('offered', 'assigned', 'running') THEN node_id END
    FROM chunk JOIN unnest($8::text[], $9::text[], $10::int[], $11::text[], $12::int[], $13::bool[])
        AS h(was, next, attempt, why, step, ran) ON h.ran = (share < {RAN_BELOW})
    ORDER BY n, step"""


@dataclass(frozen=True, slots=True)
class Life:
    """A job's history: ``(from, to, attempt, reason)`` a row; without ``to`` and reason its end, whichever it is."""

    rows: Sequence[tuple[str | None, str | None, int, str | None]]

    @property
    def attempts(self) -> int:
        return self.rows[-1][2]


def life(length: int, *, ran: bool) -> Life:
    """A legal history of ``length`` rows: offers were declined until one was accepted, or until the job's end."""
    end = ["offered", "assigned", "running", None] if ran else [None]
    begin = ["pending"] if (length - 1 - len(end)) % 2 == 0 else ["scheduled", "pending"]
    declined = ["offered", "pending"] * ((length - len(begin) - len(end)) // 2)
    rows: list[tuple[str | None, str | None, int, str | None]] = []
    was: str | None = None
    attempt = 1
    for state in (*begin, *declined, *end):
        reason = None if state is None else _REASONS[was, state].value
        # A job that goes back does so in the attempt that failed; its next one begins after that.
        rows.append((was, state, attempt, reason))
        attempt += reason == Reason.OFFER_DECLINED
        was = state
    return Life(rows)


def parameters(length: int) -> tuple[Any, ...]:
    """``$5`` to ``$13`` of MAKE for jobs with ``length`` history rows."""
    ran, waited = life(length, ran=True), life(length, ran=False)
    was, to, attempts, reasons = zip(*ran.rows, *waited.rows, strict=True)
    steps = [*range(1, length + 1), *range(1, length + 1)]
    return ran.attempts, waited.attempts, length, was, to, attempts, reasons, steps, [True] * length + [False] * length
