"""Recordings of the network: read from the database, kept as JSON lines, replayed by the simulator.

The first line is the header ``{"format": "hae-recording", "version": 1, …}``; then one ``{"node": …}`` a node and one
``{"job": …}`` a job. Payloads, accounts and wallets stay out; API keys are told apart by a hash of their ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from app.core.errors import InvalidInput
from app.core.money import MAX_AMOUNT
from app.core.nodes import NodeRecord
from app.core.requirements import MAX_GPUS, MAX_REPUTATION, MAX_VRAM_GB, Requirements
from app.store import recording
from app.store.db import Database
from app.store.recording import JobSeen

FORMAT = "hae-recording"
VERSION = 1

_Milliseconds = Annotated[int, Meta(ge=-(2**53), le=2**53)]
_Length = Annotated[int, Meta(ge=0, le=2**53)]


class Header(msgspec.Struct, frozen=True, kw_only=True, rename={"kind": "format"}):
    """``hours``: how long was recorded. ``nodes``, ``jobs``: lines that follow."""

    kind: str
    version: int
    hours: Annotated[int, Meta(ge=1)]
    nodes: Annotated[int, Meta(ge=0)]
    jobs: Annotated[int, Meta(ge=0)]


class RecordedJob(msgspec.Struct, frozen=True, kw_only=True):
    """``submit_ms``: from the recording's beginning, below 0 for a job that was on a node by then.

    ``waited_ms``: to its first assignment. ``ran_ms``: its last run, ``left_ms``: what of that was still to come when
    the recording began; None where that is not known. ``state``: what it had come to when it was recorded.
    """

    key: str
    requirements: Requirements
    priority: int
    state: str
    submit_ms: _Milliseconds
    waited_ms: _Length | None
    ran_ms: _Length | None
    left_ms: _Length | None


class Recording(msgspec.Struct, frozen=True):
    """Some hours of a network: its nodes as they were at the end, its jobs by submission."""

    hours: int
    nodes: list[NodeRecord]
    jobs: list[RecordedJob]


class _Line(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    node: NodeRecord | None = None
    job: RecordedJob | None = None


async def record(db: Database, hours: int) -> Recording:
    """The last ``hours`` up to now. Reads only."""
    async with db.unit() as uow:
        await recording.read_only(uow)
        since = uow.now - timedelta(hours=hours)
        nodes = await recording.nodes(uow)
        jobs = await recording.jobs(uow, since)
    return Recording(hours, nodes, [_job(job, since) for job in jobs])


def lines(of: Recording) -> Iterator[bytes]:
    """The recording as JSON lines, each with its end of line."""
    header = Header(kind=FORMAT, version=VERSION, hours=of.hours, nodes=len(of.nodes), jobs=len(of.jobs))
    yield _encoder.encode(header) + b"\n"
    for node in of.nodes:
        yield _encoder.encode(_Line(node=node)) + b"\n"
    for job in of.jobs:
        yield _encoder.encode(_Line(job=job)) + b"\n"


def read(source: Iterable[bytes]) -> Recording:
    """The recording in these lines. Raises InvalidInput, naming the line, on what is none or not whole."""
    nodes: list[NodeRecord] = []
    jobs: list[RecordedJob] = []
    header: Header | None = None
    for number, line in enumerate(source, 1):
        try:
            if header is None:
                header = _header.decode(line)
                if header.kind != FORMAT or header.version != VERSION:
                    raise InvalidInput(f"line 1: this version reads {FORMAT} {VERSION}", field="recorded")
                continue
            one = _line.decode(line)
        except msgspec.MsgspecError as error:
            raise InvalidInput(f"line {number}: no part of a recording: {error}", field="recorded") from None
        if (one.node is None) == (one.job is None):
            raise InvalidInput(f"line {number}: neither a node nor a job", field="recorded")
        if one.node is not None:
            nodes.append(one.node)
        if one.job is not None:
            _check(one.job, number)
            jobs.append(one.job)
    if header is None or (header.nodes, header.jobs) != (len(nodes), len(jobs)):
        raise InvalidInput("the recording is not whole: its end is missing", field="recorded")
    jobs.sort(key=lambda job: job.submit_ms)
    return Recording(header.hours, nodes, jobs)


_encoder = msgspec.json.Encoder()
_header = msgspec.json.Decoder(Header)
_line = msgspec.json.Decoder(_Line)


def _check(job: RecordedJob, line: int) -> None:
    """Raise InvalidInput unless the index and the simulator can hold what the job asks."""
    asked = job.requirements
    for name, value, low, high in (
        ("gpus", asked.gpus, 1, MAX_GPUS),
        ("min_vram_gb", asked.min_vram_gb, 0, MAX_VRAM_GB),
        ("capabilities", asked.capabilities, 0, 2**31 - 1),
        ("min_reputation", asked.min_reputation, 0, MAX_REPUTATION),
        ("max_price", asked.max_price or 0, 0, MAX_AMOUNT),
        ("priority", job.priority, -100, 100),
    ):
        if not low <= value <= high:
            raise InvalidInput(f"line {line}: {name} is {value}, not in {low}..{high}", field="recorded")


def _job(job: JobSeen, since: datetime) -> RecordedJob:
    ran = left = None
    if job.ran_from is not None and job.ran_to is not None:
        ran = max(0, _ms(job.ran_to - job.ran_from))
        left = max(0, _ms(job.ran_to - since)) if job.created_at <= since else None
    return RecordedJob(
        key=hashlib.blake2b(job.key_id.encode(), digest_size=8).hexdigest(),
        requirements=job.requirements,
        priority=job.priority,
        state=job.state,
        submit_ms=_ms(job.created_at - since),
        waited_ms=None if job.waited_ms is None else max(0, job.waited_ms),
        ran_ms=ran,
        left_ms=left,
    )


def _ms(time: timedelta) -> int:
    return time // timedelta(milliseconds=1)
