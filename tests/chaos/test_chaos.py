"""The suite itself: a small run of it, its plans, its proxy. Long runs are `make chaos`'s."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from app.chaos.clients import orders
from app.chaos.engine import Size
from app.chaos.faults import FAULTS
from app.chaos.plan import drawn, span_s
from app.chaos.proxy import Link, Trouble
from app.chaos.run import ChaosOptions, run
from app.cli.chaos import chaos
from app.cli.environment import CommandError

pytestmark = pytest.mark.chaos
LONG = bool(os.environ.get("LONG_TESTS"))
SMALL = Size(serves=2, workers=2, listeners=1, nodes=14, legacy=1)


@pytest.mark.slow
async def test_a_small_run_has_no_violations_and_keeps_what_explains_it(tmp_path: Path) -> None:
    # No worker is killed: the deliveries that it had claimed would be waited for until the claims end.
    kinds = ("kill_serve", "postgres_restart", "link_cut")
    said: list[str] = []
    result = await run(1, ChaosOptions(jobs=40, kinds=kinds, keep=tmp_path, size=SMALL), said.append)
    assert result.violations == [], said
    assert result.faults.keys() >= set(kinds)
    assert result.recovery_s["postgres"] is not None
    kept = tmp_path / "seed-1"
    ops = Counter(
        (op["kind"], op["outcome"]) for op in map(json.loads, (kept / "history.jsonl").read_text().splitlines())
    )
    assert ops["submit", "ok"] >= 40 * 0.8
    assert ops["result", "ok"] > 0
    assert ops["webhook", "ok"] > 0
    assert (kept / "database.sql").stat().st_size > 10_000
    assert (kept / "worker0.log").exists()


@pytest.mark.slow
@pytest.mark.skipif(not LONG, reason="takes minutes: LONG_TESTS=1")
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_whole_run_has_no_violations(seed: int, tmp_path: Path) -> None:
    said: list[str] = []
    result = await run(seed, ChaosOptions(jobs=1500, keep=tmp_path), said.append)
    assert result.violations == [], said
    assert result.faults.keys() >= set(FAULTS)


def test_the_same_seed_draws_the_same_run() -> None:
    assert drawn(7, 1500) == drawn(7, 1500)
    assert orders(7, 300, 20.0) == orders(7, 300, 20.0)
    assert drawn(7, 1500) != drawn(8, 1500)
    assert orders(7, 300, 20.0) != orders(8, 300, 20.0)


@pytest.mark.parametrize("seed", range(20))
def test_with_1500_jobs_every_kind_of_fault_comes_while_jobs_are_submitted(seed: int) -> None:
    planned = drawn(seed, 1500)
    assert {one.kind for one in planned} == set(FAULTS)
    assert all(0.0 <= one.due_s <= span_s(1500) for one in planned)
    asked = orders(seed, 1500, span_s(1500))
    assert sum(len(one.bodies) for one in asked) == 1500
    assert [one.due_s for one in asked] == sorted(one.due_s for one in asked)


@pytest.mark.parametrize(
    ("asked", "known"), [({"faults": "kill_worker,nonsense"}, "kill_worker"), ({"bug": "nonsense"}, "no_fencing")]
)
def test_unknown_faults_and_bugs_are_refused_with_those_that_there_are(asked: dict[str, str], known: str) -> None:
    with pytest.raises(CommandError, match=rf"nonsense.*{known}"):
        chaos(**asked)  # type: ignore[arg-type]


class Echo:
    """A server that says what it hears, behind a link. ``ask``: one exchange on a connection of its own."""

    async def __aenter__(self) -> Echo:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.link = await Link(self.server.sockets[0].getsockname()[1]).__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.link.__aexit__(None, None, None)
        self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except OSError:
            pass
        finally:
            writer.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.link.port)


async def test_a_link_passes_everything_on_unless_there_is_trouble() -> None:
    sent = os.urandom(300_000)
    async with Echo() as echo:
        reader, writer = await echo.connect()
        for trouble in (Trouble.NONE, Trouble.DELAY, Trouble.NONE):
            echo.link.trouble(trouble)
            writer.write(sent)
            assert await reader.readexactly(len(sent)) == sent
        echo.link.trouble(Trouble.DRIP)
        writer.write(sent[:500])
        assert await reader.readexactly(500) == sent[:500]
        writer.close()


async def test_a_cut_link_ends_its_connections_and_lets_nobody_through_until_it_is_healed() -> None:
    async with Echo() as echo:
        reader, writer = await echo.connect()
        writer.write(b"before")
        assert await reader.readexactly(6) == b"before"
        echo.link.trouble(Trouble.CUT)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        other, into = await echo.connect()
        into.write(b"meanwhile")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await other.readexactly(1)
        into.close()
        echo.link.trouble(Trouble.NONE)
        again, last = await echo.connect()
        last.write(b"after")
        assert await again.readexactly(5) == b"after"
        last.close()


async def test_what_is_sent_over_a_hanging_link_arrives_when_it_is_healed() -> None:
    async with Echo() as echo:
        reader, writer = await echo.connect()
        writer.write(b"before")
        assert await reader.readexactly(6) == b"before"
        echo.link.trouble(Trouble.HANG)
        writer.write(b"meanwhile")
        await writer.drain()
        reading = asyncio.create_task(reader.readexactly(9))
        # Through the kernel and the link's own loop, which is this one: whatever could pass has passed by then.
        other, into = await echo.connect()
        for _ in range(50):
            await asyncio.sleep(0)
        assert not reading.done()
        echo.link.trouble(Trouble.NONE)
        assert await reading == b"meanwhile"
        for each in (writer, into):
            each.close()
        del other
