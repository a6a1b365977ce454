"""Specs by content, and the jobs that the chain's side makes of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from app.core.access import Principal
from app.core.errors import NotFound
from app.core.requirements import Requirements
from app.services import jobs, specs
from app.services.submissions import Submission
from app.store.db import Database
from tests import factories
from tests.factories import OWNER, STRANGER, sql

SPEC: dict[str, Any] = {"type": "llm_inference", "prompt": "why", "input": {"a": [1, 2.5]}, "gpu_models": ["A100"]}
OPERATOR = Principal("key_ops", "ops", frozenset({"operator"}))
HASH = "ab" * 32


def wish(**changes: Any) -> Submission:
    wants = Requirements(gpu_models=("a100", "h100"), gpus=2, capabilities=3, region="EU", max_price=7)
    payload = {"prompt": "why", "input": {"a": [1, 2.5]}}
    return factories.submission(payload=payload, requirements=wants, requirements_hash=HASH, max_retries=5, **changes)


async def test_the_first_to_store_a_spec_stays_its_owner(db: Database) -> None:
    assert await specs.put(db, OWNER, SPEC, wish()) == (HASH, True)
    assert await specs.put(db, OWNER, SPEC, wish()) == (HASH, False)
    assert await specs.put(db, STRANGER, SPEC, replace(wish(), principal=STRANGER)) == (HASH, False)
    assert (await specs.get(db, OWNER, HASH)).body["spec"] == SPEC
    assert (await specs.get(db, OPERATOR, HASH)).account == OWNER.account
    for principal, wanted in ((STRANGER, HASH), (OWNER, "cd" * 32), (OWNER, "")):
        with pytest.raises(NotFound):
            await specs.get(db, principal, wanted)


async def test_a_known_spec_is_the_submission_that_was_stored(db: Database) -> None:
    await specs.put(db, OWNER, SPEC, wish(priority=3, timeout_s=5))
    async with db.unit() as uow:
        assert await specs.known(uow, []) == {}
        found = await specs.known(uow, ["cd" * 32, HASH])
    principal = Principal(OWNER.key_id, OWNER.account, frozenset({"agent"}))
    assert found == {HASH: replace(wish(priority=3, timeout_s=5), principal=principal, source="chain")}


async def test_jobs_taken_in_are_part_of_the_callers_transaction(db: Database) -> None:
    async def take(fail: bool) -> list[str]:
        async with db.unit() as uow:
            assert await jobs.take_in(uow, [], []) == []
            made = await jobs.take_in(uow, [wish(), replace(wish(), source="chain")], [None, "address"])
            if fail:
                raise RuntimeError
        return made

    with pytest.raises(RuntimeError):
        await take(True)
    assert await sql(db, "SELECT * FROM jobs UNION ALL SELECT * FROM jobs") == []
    first, second = await take(False)
    assert await sql(db, "SELECT id, source, chain_job, requirements_hash, max_retries FROM jobs ORDER BY id") == [
        (first, "api", None, HASH, 5),
        (second, "chain", "address", HASH, 5),
    ]
    assert (await jobs.get(db, OWNER, second)).job.chain_job == "address"
    told = "SELECT (SELECT count(*) FROM {}), (SELECT count(*) FROM signals WHERE kind = 'submitted')"
    for table in ("job_history", "events"):
        assert await sql(db, told.format(table)) == [(2, 2)]
    await factories.node(db, gpu_model="a100", gpus=8, capacity=8, price=1)
    waves = factories.runner(db)
    await factories.run_waves(waves)
    assert {offer.job_id for offer in await factories.all_offers(db)} == {first, second}


async def test_two_who_store_one_spec_at_once_agree_on_its_owner(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(2)]
    try:
        said = await asyncio.gather(
            *(specs.put(each, who, SPEC, replace(wish(), principal=who)) for each, who in zip(
                databases, (OWNER, STRANGER), strict=True
            ))
        )  # fmt: skip
        assert sorted(said) == [(HASH, False), (HASH, True)]
        (owner,) = [who for who, (_, created) in zip((OWNER, STRANGER), said, strict=True) if created]
        assert (await specs.get(databases[0], owner, HASH)).key_id == owner.key_id
    finally:
        for each in databases:
            await each.close()


async def test_a_repeated_submission_is_answered_with_its_jobs_own_hash(db: Database) -> None:
    one = replace(wish(), idempotency_key="mine")
    (first,) = await jobs.submit(db, [one])
    (again,) = await jobs.submit(db, [replace(one, requirements_hash="cd" * 32)])
    assert isinstance(first, jobs.Submitted) and isinstance(again, jobs.Submitted)
    assert (first.created, again.created, again.job_id) == (True, False, first.job_id)
    assert first.requirements_hash == again.requirements_hash == HASH
