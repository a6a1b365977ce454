"""Where `hae jobs` looks: at a server over its API, as a key, or straight into the database, as an operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from app.cli.asking import with_database
from app.cli.asking_api import server
from app.core.access import Principal, Scope
from app.core.jobs import Job
from app.services import cancelling, jobs, repeating, schedules
from app.services.cancelling import Wanted
from app.services.repeating import Changes
from app.store.db import Database
from hae_client import Client
from hae_client.models import JobFilter, JobState, JobType

OPERATOR = Principal("cli", "operator", frozenset({Scope.OPERATOR.value}))
Row = dict[str, Any]


class JobsSource(Protocol):
    """Answers are as the API gives them. ``account`` is empty where only one's own are seen."""

    def listing(self, states: list[str], types: list[str], limit: int) -> list[tuple[str, Row]]:
        """``(account, job)``, newest first."""

    def show(self, job_id: str) -> tuple[str, Row, list[Row]]:
        """``(account, job, its transitions)``."""

    def cancel(self, job_ids: Sequence[str], wanted: Wanted) -> tuple[list[str], list[str]]:
        """Ids of the jobs that were asked to end, and of those named that are not there."""

    def rerun(self, job_id: str, changes: Changes) -> str:
        """The id of the new job."""

    def schedules(self, limit: int) -> list[tuple[str, Row]]:
        """``(account, schedule)``, newest first."""


def jobs_source(url: str | None, key: str | None, config: Path | None, as_json: bool) -> JobsSource:
    """The server where a URL or a key is given, by an option or in the environment; else the database."""
    return FromServer(url, key, as_json) if url or key else FromDatabase(config)


class FromServer:
    """Over the API: the jobs that the key may see."""

    def __init__(self, url: str | None, key: str | None, as_json: bool) -> None:
        self._given = (url, key, as_json)

    def _asking(self) -> AbstractContextManager[Client]:
        url, key, as_json = self._given
        return server(url, key, as_json=as_json)

    def listing(self, states: list[str], types: list[str], limit: int) -> list[tuple[str, Row]]:
        asked = (cast("list[JobState]", states), cast("list[JobType]", types))
        with self._asking() as client:
            found: list[Any] = []
            cursor = ""
            while len(found) < limit:
                size = min(limit - len(found), 200)
                page = client.list_jobs(state=asked[0], type=asked[1], cursor=cursor, limit=size)
                found += page.jobs
                cursor = page.next_cursor
                if not cursor:
                    break
        return [("", msgspec.to_builtins(one)) for one in found]

    def show(self, job_id: str) -> tuple[str, Row, list[Row]]:
        with self._asking() as client:
            job, history = client.get(job_id), client.history(job_id)
        return "", msgspec.to_builtins(job), msgspec.to_builtins(history.transitions)

    def cancel(self, job_ids: Sequence[str], wanted: Wanted) -> tuple[list[str], list[str]]:
        conditions = {"state": list(wanted.states), "type": list(wanted.types), "schedule_id": wanted.schedule_id}
        given = cast("JobFilter", {name: value for name, value in conditions.items() if value})
        with self._asking() as client:
            return _cancel_named(client, job_ids) if job_ids else _cancel_matching(client, given)

    def rerun(self, job_id: str, changes: Changes) -> str:
        given = {name: value for name in ("priority", "timeout_s", "queue_ttl_s") if (value := getattr(changes, name))}
        if changes.priority is not None:
            given["priority"] = changes.priority
        with self._asking() as client:
            return client.rerun(job_id, **given).job_id

    def schedules(self, limit: int) -> list[tuple[str, Row]]:
        with self._asking() as client:
            page = client.list_schedules(limit=min(limit, 200))
            found = page.schedules
            while page.next_cursor and len(found) < limit:
                page = client.list_schedules(cursor=page.next_cursor, limit=min(limit - len(found), 200))
                found += page.schedules
        return [("", msgspec.to_builtins(one)) for one in found]


def _cancel_named(client: Client, job_ids: Sequence[str]) -> tuple[list[str], list[str]]:
    done = client.cancel_many(job_ids)
    return done.job_ids, done.unknown


def _cancel_matching(client: Client, conditions: JobFilter) -> tuple[list[str], list[str]]:
    asked: list[str] = []
    while True:
        done = client.cancel_many(**conditions)
        asked += done.job_ids
        if not done.more:
            return asked, []


class FromDatabase:
    """Without a server: the jobs of every account, in the database that the settings name."""

    def __init__(self, config: Path | None) -> None:
        self._ask: Callable[[Any], Any] = lambda work: with_database(config, "jobs", work)

    def listing(self, states: list[str], types: list[str], limit: int) -> list[tuple[str, Row]]:
        from tools.answers import job_summary

        async def look(db: Database) -> list[Job]:
            found, before = await jobs.listing(db, OPERATOR, states=states, types=types, before="", limit=limit)
            while before and len(found) < limit:
                more, before = await jobs.listing(
                    db, OPERATOR, states=states, types=types, before=before, limit=limit - len(found)
                )
                found += more
            return found

        return [(job.account, msgspec.to_builtins(job_summary(job))) for job in self._ask(look)]

    def show(self, job_id: str) -> tuple[str, Row, list[Row]]:
        from tools.answers import job_answer, stamp

        async def look(db: Database) -> tuple[jobs.JobView, list[Row]]:
            view = await jobs.get(db, OPERATOR, job_id)
            return view, (await jobs.history(db, OPERATOR, job_id))[0]

        view, history = self._ask(look)
        moves = [{**row, "at": stamp(row["at"])} for row in history]
        return view.job.account, msgspec.to_builtins(job_answer(view)), moves

    def cancel(self, job_ids: Sequence[str], wanted: Wanted) -> tuple[list[str], list[str]]:
        async def ask(db: Database) -> tuple[list[str], list[str]]:
            if job_ids:
                done = await cancelling.cancel_named(db, OPERATOR, job_ids)
                return done.asked, done.unknown
            asked: list[str] = []
            while True:
                done = await cancelling.cancel_matching(db, OPERATOR, wanted)
                asked += done.asked
                if not done.more:
                    return asked, []

        done: tuple[list[str], list[str]] = self._ask(ask)
        return done

    def rerun(self, job_id: str, changes: Changes) -> str:
        made: str = self._ask(lambda db: repeating.rerun(db, OPERATOR, job_id, changes)).job_id
        return made

    def schedules(self, limit: int) -> list[tuple[str, Row]]:
        from tools.schedules import schedule_answer

        found = self._ask(lambda db: schedules.listing(db, OPERATOR, "", limit))
        return [(row.account, msgspec.to_builtins(schedule_answer(row))) for row in found]
