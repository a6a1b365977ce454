"""A whole engine in this process: the HTTP side on a real port, and the job graph, run by hand or by a real worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
import msgspec

from app.core.access import Scope
from app.http.engine import Engine, build_engine
from app.http.server import build_app
from app.services import keys
from app.services.quotas import quota_rules
from app.services.views import ViewKeeper, matchmaker_from
from app.settings import Settings
from app.store.db import Database
from app.workers.supervisor import run_worker
from graphs.runtime import WaveLimits, WaveRunner
from tests.http.live import serving

TABLES = (
    "jobs", "offers", "results", "signals", "events", "job_history", "match_decisions", "nodes",
    "node_history", "node_heartbeats", "idempotency_keys", "api_keys", "specs", "settlement_history", "schedules",
    "plans", "plan_units", "plan_signals", "plan_history", "key_spending", "agent_threads", "agent_runs",
)  # fmt: skip


@dataclass
class Hae:
    """One running engine. ``url`` ends without a slash; ``secrets``: API keys by name, made by ``key``."""

    url: str
    engine: Engine
    settings: Settings
    sql: asyncpg.Connection[Any]
    runner: WaveRunner
    secrets: dict[str, str] = field(default_factory=dict)
    clients: dict[str, httpx.AsyncClient] = field(default_factory=dict)

    async def key(self, account: str, *scopes: Scope) -> str:
        """The secret of a new key."""
        return (await keys.create(self.engine.db, account, [scope.value for scope in scopes]))[1]

    def client(self, secret: str = "", **headers: str) -> httpx.AsyncClient:
        """A client of its own for ``secret``; closed with the engine."""
        name = f"{secret} {sorted(headers.items())}"
        if name not in self.clients:
            sent = {"authorization": f"Bearer {secret}", **headers} if secret else headers
            self.clients[name] = httpx.AsyncClient(base_url=self.url, headers=sent, timeout=60, trust_env=False)
        return self.clients[name]

    async def settle(self) -> None:
        """Run the job graph until nothing is due: for engines without a worker."""
        await self.runner.views.refresh()
        while (await self.runner.run_once()).signals:
            pass

    async def counts(self) -> dict[str, int]:
        """Rows by table."""
        query = " UNION ALL ".join(f"SELECT '{table}', count(*) FROM {table}" for table in TABLES)
        return {row[0]: row[1] for row in await self.sql.fetch(query)}

    async def contents(self) -> dict[str, str]:
        """A hash of all rows by table, heartbeats aside: what must not change when a request is refused."""
        query = " UNION ALL ".join(
            f"SELECT '{table}', md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} t"
            for table in TABLES
            if table != "node_heartbeats"
        )
        return {row[0]: row[1] for row in await self.sql.fetch(query)}


def settings_for(database_url: str, redis_url: str, **sections: dict[str, Any]) -> Settings:
    """Settings of a small, quick engine; ``sections`` change fields of their sections."""
    given: dict[str, dict[str, Any]] = {
        "database": {"url": database_url, "pool_size": 6},
        "redis": {"url": redis_url},
        "worker": {"poll_s": 0.1},
        "matchmaker": {"refresh_s": 0.05},
    }
    for name, changes in sections.items():
        given[name] = {**given.get(name, {}), **changes}
    return msgspec.convert(given, Settings)


@asynccontextmanager
async def running_engine(
    settings: Settings, *, worker: bool = True, stop: asyncio.Event | None = None
) -> AsyncIterator[Hae]:
    """Yields the engine; with ``worker``, waves and sweeps run by themselves, else ``settle`` runs them.

    ``stop`` reaches streams and long-polls as `hae serve`'s own does.
    """
    async with AsyncExitStack() as stack:
        sql = await asyncpg.connect(settings.database.url)
        stack.push_async_callback(sql.close)
        db = Database(settings.database.url, pool_size=2)
        stack.push_async_callback(db.close)
        views = ViewKeeper(db, matchmaker_from(settings.matchmaker), settings.matchmaker.refresh_s)
        runner = WaveRunner(
            db, views, WaveLimits(offer_ttl_s=settings.jobs.offer_ttl_s, quotas=quota_rules(settings.jobs))
        )
        if worker:
            ending = asyncio.Event()
            task = asyncio.create_task(run_worker(settings, ending))
            stack.push_async_callback(_end, ending, task)
        engine = build_engine(settings)
        # What a test has just registered is to be seen by its next question.
        engine.views.refresh_s = 0.0
        if stop is not None:
            engine.stopping = stop
        url = await stack.enter_async_context(serving(build_app(engine), stop=stop))
        hae = Hae(url, engine, settings, sql, runner)
        stack.push_async_callback(_close, hae.clients)
        yield hae


async def _end(ending: asyncio.Event, task: asyncio.Task[None]) -> None:
    ending.set()
    await task


async def _close(clients: dict[str, httpx.AsyncClient]) -> None:
    for client in clients.values():
        await client.aclose()


class Node:
    """A tiny node over the native API."""

    def __init__(self, http: httpx.AsyncClient, node_id: str) -> None:
        self.http = http
        self.id = node_id

    @classmethod
    async def register(cls, http: httpx.AsyncClient, wallet: str, **described: Any) -> Node:
        answer = await http.post("/v1/node/register", json={"wallet": wallet, "gpu_model": "A100", **described})
        assert answer.status_code in (200, 201), answer.text
        return cls(http, answer.json()["node_id"])

    async def offers(self, wait: float = 20) -> list[dict[str, Any]]:
        answer = await self.http.get(f"/v1/node/{self.id}/offers", params={"wait": wait})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["offers"]
        return found

    async def next_offer(self) -> str:
        """Waits for an offer; its id."""
        (offer, *_) = await self.offers()
        offer_id: str = offer["offer_id"]
        return offer_id

    async def say(self, offer_id: str, action: str, **body: Any) -> httpx.Response:
        """Accept, decline, progress, result or failure."""
        path = f"/v1/node/{self.id}/offers/{offer_id}/{action}"
        return await (self.http.post(path) if action == "accept" else self.http.post(path, json=body))

    async def run_next(self, result: Any = "done") -> str:
        """Take the next offer and complete it; its id."""
        offer_id = await self.next_offer()
        for action, body in (("accept", {}), ("progress", {"percent": 50}), ("result", {"result": result})):
            answer = await self.say(offer_id, action, **body)
            assert answer.status_code == 200, answer.text
        return offer_id


def problem_of(answer: httpx.Response, *statuses: int, code: str = "") -> dict[str, Any]:
    """The problem document of a refusal, checked for what every one of them must have."""
    assert answer.headers.get("content-type") == "application/problem+json", (answer.status_code, answer.text[:500])
    told: dict[str, Any] = answer.json()
    assert answer.status_code in statuses, told
    assert told["status"] == answer.status_code
    assert told["code"] == code or not code, told
    for name in ("type", "title", "detail", "code", "next_action"):
        assert told[name], (name, told)
    assert told["retryable"] is (answer.status_code in (429, 503))
    assert len(answer.content) < 20_000
    return told


async def until_state(http: httpx.AsyncClient, job_id: str, states: Iterable[str]) -> dict[str, Any]:
    """Waits by long-poll until the job is in one of ``states``."""
    wanted = set(states)
    job: dict[str, Any] = (await http.get(f"/v1/jobs/{job_id}")).json()
    async with asyncio.timeout(30):
        while job["state"] not in wanted:
            assert not job["final"], job
            query = {"wait_s": 10, "until": "change", "seen_version": job["version"]}
            job = (await http.get(f"/v1/jobs/{job_id}/wait", params=query)).json()
    return job
