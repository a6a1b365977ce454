"""Specs by content: stored before their job is created on chain, and turned into jobs when it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from app.core.access import Principal, Scope
from app.core.errors import NotFound
from app.core.jobs import Job
from app.core.requirements import Requirements
from app.core.states import ExcludeNodes
from app.services.submissions import PAYLOAD, Submission, repeated
from app.store import jobs, specs
from app.store.db import Database, UnitOfWork
from app.store.specs import SpecRow

_RESOLVED = (
    "type", "policy", "priority", "timeout_s", "max_retries", "queue_ttl_s", "deadline_s", "max_attempts",
    "retry_backoff_s", "retry_backoff_max_s", "exclude_nodes",
)  # fmt: skip


async def put(db: Database, principal: Principal, spec: dict[str, Any], submission: Submission) -> tuple[str, bool]:
    """Store ``spec``, in its canonical form, with the validated submission that it comes to; its hash, and whether
    it is new.

    A spec that somebody else stored before stays theirs: jobs that the chain makes of it are of their account.
    """
    resolved = {name: getattr(submission, name) for name in _RESOLVED}
    # The payload is the spec's own, and may be large: kept once.
    body = {"spec": spec, "resolved": {**resolved, "requirements": asdict(submission.requirements)}}
    async with db.unit() as uow:
        spec_hash = submission.requirements_hash
        return spec_hash, await specs.put(uow, spec_hash, principal.account, principal.key_id, body)


async def get(db: Database, principal: Principal, spec_hash: str) -> SpecRow:
    """A spec of the caller's account, or of anyone's for operators. Raises NotFound."""
    async with db.unit() as uow:
        found = await specs.known(uow, [spec_hash], principal.sees)
    if not found:
        raise NotFound(
            f"there is no spec {spec_hash[:64]} that this key may see",
            code="spec_not_found",
            next_action="Store it with PUT /v1/specs.",
        )
    return found[0]


async def known(uow: UnitOfWork, hashes: Sequence[str]) -> dict[str, Submission]:
    """The submissions that those of ``hashes`` stand for which are known: stored specs, under the account that stored
    them, and jobs that were submitted here and came to nothing before the chain told of them."""
    if not hashes:
        return {}
    found = {row.hash: _submission(row) for row in await specs.known(uow, hashes)}
    missing = [spec_hash for spec_hash in hashes if spec_hash not in found]
    if missing:
        lost = await jobs.lost_by_hash(uow, missing)
        found |= {job.requirements_hash: _again(job, key_id, payload) for job, key_id, payload in lost}
    return found


def _again(job: Job, key_id: str, payload: dict[str, Any]) -> Submission:
    """What the job was, for the chain to have it run."""
    return repeated(job, payload, Principal(key_id, job.account, frozenset({Scope.AGENT.value})), "chain")


def _submission(row: SpecRow) -> Submission:
    spec, resolved = row.body["spec"], row.body["resolved"]
    # Specs stored before a field was there do without it.
    known = {name: resolved[name] for name in _RESOLVED if name in resolved}
    if "exclude_nodes" in known:
        known["exclude_nodes"] = ExcludeNodes(known["exclude_nodes"])
    return Submission(
        principal=Principal(row.key_id, row.account, frozenset({Scope.AGENT.value})),
        payload={name: spec[name] for name in PAYLOAD if name in spec},
        requirements=msgspec.convert(resolved["requirements"], Requirements),
        source="chain",
        requirements_hash=row.hash,
        **known,
    )
