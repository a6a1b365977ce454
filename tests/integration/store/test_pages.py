"""Pages of a listing of jobs: all of them come, and no page looks through more of them than it may."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from app.core.access import Principal
from app.services import jobs as service
from app.store import jobs
from app.store.db import Database
from tests import factories
from tests.factories import OWNER, STRANGER, sql


async def test_what_is_rare_is_found_over_several_pages(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = await factories.submit(db, 14)
    await factories.submit(db, 5, principal=STRANGER)
    rare = [mine[0], mine[5], mine[6], mine[13]]
    await sql(db, "UPDATE jobs SET type = 'render' WHERE id = ANY($1)", rare)
    operator = replace(OWNER, scopes=frozenset({"operator"}))
    for looked_through, limit in itertools.product((3, 4, 7, 100), (1, 3, 50)):
        monkeypatch.setattr(jobs, "LOOKED_THROUGH", looked_through)
        for principal, types, expected in (
            (OWNER, ["render"], rare),
            (OWNER, [], mine),
            (OWNER, ["vision_pipeline"], []),
            (operator, ["render"], rare),
        ):
            pages = [page async for page in _pages(db, principal, types, limit)]
            assert all(len(page) <= min(limit, looked_through) for page in pages)
            assert [job_id for page in pages for job_id in page] == sorted(expected, reverse=True)
            assert len(pages) <= len(expected) + 19 // looked_through + 2


async def _pages(db: Database, principal: Principal, types: list[str], limit: int) -> AsyncIterator[list[str]]:
    before: str | None = None
    while before != "":
        page, before = await service.listing(
            db, principal, states=["pending"], types=types, before=before or "", limit=limit
        )
        yield [job.id for job in page]


async def test_a_full_look_that_ends_with_the_last_job_is_followed_by_an_empty_page(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LOOKED_THROUGH", 4)
    mine = await factories.submit(db, 4)
    async with db.unit() as uow:
        for before, following in (("", min(mine)), (min(mine), "")):
            page = await jobs.page(uow, "acme", states=["failed"], types=[], before=before, limit=2)
            assert page == ([], following)
