"""What `hae up` does when its processes end, with small processes in their place."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from app.cli.processes import GIVE_UP, supervise


def counting(runs: Path, then: str) -> list[str]:
    """A process that notes its id and then does this."""
    return ["sh", "-c", f'echo $$ >> "{runs}"; {then}']


def pids(runs: Path) -> list[int]:
    return [int(line) for line in runs.read_text().split()] if runs.exists() else []


async def started(runs: Path, count: int) -> int:
    """Wait for the process to have been started that often; the id of the last one."""
    async with asyncio.timeout(30):
        # A file tells nobody that it has grown.
        while len(pids(runs)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return pids(runs)[count - 1]


async def test_a_process_that_refuses_to_start_stops_them_all(tmp_path: Path) -> None:
    refused, other = tmp_path / "refused", tmp_path / "other"
    stop = asyncio.Event()
    code = await supervise({"a": counting(refused, "exit 2"), "b": counting(other, "exec sleep 600")}, {}, stop)
    assert (code, len(pids(refused)), stop.is_set()) == (1, 1, True)
    assert not any(psutil.pid_exists(pid) for pid in pids(other))


async def test_who_is_killed_comes_back_however_often(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    stop = asyncio.Event()
    supervising = asyncio.create_task(supervise({"a": counting(runs, "exec sleep 600")}, {}, stop))
    for count in range(1, 4):
        psutil.Process(await started(runs, count)).kill()
    last = await started(runs, 4)
    stop.set()
    assert await supervising == 0
    assert not psutil.pid_exists(last)


async def test_who_never_comes_up_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.processes.backoff_s", lambda *_, **__: 0.0)
    runs = tmp_path / "runs"
    assert await supervise({"a": counting(runs, "exit 1")}, {}, asyncio.Event()) == 1
    assert len(pids(runs)) == GIVE_UP


async def test_a_stop_does_not_wait_for_a_backoff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.processes.backoff_s", lambda *_, **__: 3600.0)
    runs = tmp_path / "runs"
    stop = asyncio.Event()
    supervising = asyncio.create_task(supervise({"a": counting(runs, "exit 1")}, {}, stop))
    await started(runs, 1)
    stop.set()
    async with asyncio.timeout(30):
        assert await supervising == 0


async def test_who_does_not_end_by_itself_is_killed(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    stop = asyncio.Event()
    stubborn = counting(runs, 'trap "" TERM; while :; do sleep 0.05; done')
    supervising = asyncio.create_task(supervise({"a": stubborn}, {}, stop, stop_s=0.2))
    pid = await started(runs, 1)
    stop.set()
    assert await supervising == 0
    assert not psutil.pid_exists(pid)
