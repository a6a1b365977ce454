"""The agent's side of the demo: jobs are told to the engine and created on chain, at their time.

Most of them the engine learns of from the chain alone; see Way.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.demo.api import Api, ChainApi
from app.demo.onchain import CreateJob, Way, chain_type
from app.demo.scenario import Submission


@dataclass(frozen=True, slots=True)
class Creation:
    """A job that was created on chain under ``name``, its account at ``address``. ``at``: Unix seconds.

    ``job_id``: the engine's job, where that was there before; else empty.
    """

    one: Submission
    name: str
    address: str
    at: float
    job_id: str


@dataclass(slots=True)
class Ledger:
    """``created``: by requirements hash, which no two jobs of the trace share. ``repeats``: submissions sent again.

    ``doubled``: repeats that were answered with another job than the first, which must not be.
    """

    created: dict[str, Creation] = field(default_factory=dict)
    repeats: int = 0
    doubled: int = 0


async def submit_all(apis: Sequence[Api], chain: ChainApi, submissions: Sequence[Submission], ledger: Ledger) -> None:
    """Submit every job when it is due, all agents at once, each with its own API; raises DemoError on a refusal."""
    due = iter(submissions)
    clock = asyncio.get_running_loop().time
    began = clock()

    async def submitter(api: Api) -> None:
        for one in due:
            await asyncio.sleep(max(0.0, began + one.due_s - clock()))
            await _submit(api, chain, one, ledger)

    async with asyncio.TaskGroup() as group:
        for api in apis[: len(submissions)]:
            group.create_task(submitter(api))


async def _submit(api: Api, chain: ChainApi, one: Submission, ledger: Ledger) -> None:
    job_id = ""
    if one.way is Way.DEFAULTS:
        spec_hash = hashlib.sha256(f"what {one.key} asks for is told to nobody".encode()).hexdigest()
    elif one.way is Way.SPEC:
        spec_hash = (await api.call("PUT", "/v1/specs", one.body))["requirements_hash"]
    else:
        job_id, spec_hash = await _submit_first(api, one, ledger)
    name = job_id if one.way is Way.ID else one.job.id
    order = CreateJob(name, one.client, chain_type(one.body["type"]), one.price, spec_hash)
    created = await chain.create(order)
    ledger.created[spec_hash] = Creation(one, name, created.address, created.at, job_id)


async def _submit_first(api: Api, one: Submission, ledger: Ledger) -> tuple[str, str]:
    answer = await api.call("POST", "/v1/jobs", one.body, one.key)
    if one.repeat:
        again = await api.call("POST", "/v1/jobs", one.body, one.key)
        ledger.repeats += 1
        ledger.doubled += again["job_id"] != answer["job_id"] or again["created"]
    return answer["job_id"], answer["requirements_hash"]
