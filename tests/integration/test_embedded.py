"""The embedded servers: shared, stopped by the last, whole after every crash."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import psutil
import pytest
import redis

from app import embedded
from app.embedded.process import wait_until, working_in
from tests.support import embedded_user
from tests.support.servers import temporary_directory

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with temporary_directory() as directory:
        yield directory / "data"


def execute(servers: embedded.EmbeddedServers, statement: str) -> object:
    async def work() -> object:
        connection = await asyncpg.connect(servers.database_url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(work())


def postgres_processes(data_dir: Path) -> list[psutil.Process]:
    return working_in(data_dir.resolve() / "pg", "postgres")


def test_the_servers_are_what_the_engine_counts_on(data_dir: Path) -> None:
    with embedded.start(data_dir) as servers:
        assert str(execute(servers, "SHOW server_version")).startswith("18.")
        assert [execute(servers, f"SHOW {name}") for name in ("fsync", "synchronous_commit")] == ["on", "on"]
        assert execute(servers, "SHOW listen_addresses") == ""
        assert execute(servers, "SHOW data_checksums") == "on"
        with redis.Redis.from_url(servers.redis_url) as client:
            assert client.info("server")["valkey_version"].startswith("9.")
            assert client.config_get("save", "appendonly", "port") == {
                "save": "",
                "appendonly": "no",
                "port": "0",
            }
        run = data_dir / "run"
        assert (run.stat().st_mode & 0o777, (data_dir / "pg").stat().st_mode & 0o777) == (0o700, 0o700)
        # A terminal's Ctrl-C goes to the foreground process group, so the servers must be in none of ours.
        (postmaster,) = {process.pid for process in postgres_processes(data_dir)} & {
            int((data_dir / "pg" / "postmaster.pid").read_text().split()[0])
        }
        assert os.getsid(postmaster) != os.getsid(0)


def test_processes_share_and_the_last_one_out_stops_the_servers(data_dir: Path) -> None:
    with embedded_user.child(data_dir) as starter:
        with embedded.start(data_dir) as servers:
            mine = embedded_user.identity(servers)
            assert mine == {name: starter.said[name] for name in mine}
            assert starter.leave() == 0
            # Whoever started them is gone, and they serve on.
            assert embedded_user.identity(servers) == mine
            with embedded.start(data_dir) as again:
                assert embedded_user.identity(again) == mine
            assert embedded_user.identity(servers) == mine
        assert postgres_processes(data_dir) == []
        assert list((data_dir / "run").iterdir()) == []


def test_closing_twice_takes_nothing_from_others(data_dir: Path) -> None:
    with embedded.start(data_dir) as servers:
        other = embedded.start(data_dir)
        other.close()
        other.close()
        assert execute(servers, "SELECT 1") == 1


def test_processes_that_start_at_once_get_the_same_servers(data_dir: Path) -> None:
    with ExitStack() as stack:
        launched = [stack.enter_context(embedded_user.launch(data_dir)) for _ in range(4)]
        said = [process.stdout.readline() for process in launched if process.stdout]
        assert len({line.partition('"postgres"')[2] for line in said}) == 1
        assert "refused" not in said[0]
        for process in launched:
            assert process.stdin is not None
            process.stdin.close()
        assert [process.wait() for process in launched] == [0, 0, 0, 0]
    assert postgres_processes(data_dir) == []


def test_a_killed_process_leaves_servers_that_the_next_one_shares_and_stops(data_dir: Path) -> None:
    with embedded_user.child(data_dir) as killed:
        killed.kill()
        with embedded.start(data_dir) as servers:
            mine = embedded_user.identity(servers)
            assert mine == {name: killed.said[name] for name in mine}
    assert postgres_processes(data_dir) == []


def test_killed_servers_come_back_with_every_committed_row(data_dir: Path) -> None:
    with embedded_user.child(data_dir) as killed, embedded.start(data_dir) as servers:
        execute(servers, "CREATE TABLE kept (id int)")
        execute(servers, "INSERT INTO kept VALUES (1)")
        killed.kill()
        # The postmaster first and alone: its backends are still there when the next start begins.
        os.kill(int((data_dir / "pg" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        os.kill(killed.said["valkey_pid"], signal.SIGKILL)
        with embedded.start(data_dir) as restarted:
            assert execute(restarted, "SELECT count(*) FROM kept") == 1
            now = embedded_user.identity(restarted)
    assert now["postgres"] != killed.said["postgres"]
    assert now["valkey"] != killed.said["valkey"]
    assert postgres_processes(data_dir) == []


def test_lock_files_whose_process_id_is_another_programs_are_no_obstacle(data_dir: Path) -> None:
    with embedded.start(data_dir):
        postmaster = data_dir / "pg" / "postmaster.pid"
        lines = postmaster.read_text().splitlines()
    postmaster.write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")
    (data_dir / "run" / ".s.PGSQL.5432.lock").write_text(f"{os.getppid()}\n")
    (data_dir / "run" / ".s.PGSQL.5432").touch()
    with embedded.start(data_dir) as servers:
        assert execute(servers, "SELECT 1") == 1


def test_an_interrupted_initialisation_is_begun_again(data_dir: Path) -> None:
    (data_dir / "pg.partial" / "base").mkdir(parents=True)
    data_dir.chmod(0o711)
    (data_dir / "pg.partial" / "PG_VERSION").write_text("18\n")
    with embedded.start(data_dir) as servers:
        assert execute(servers, "SELECT 1") == 1
    assert not (data_dir / "pg.partial").exists()


def test_a_long_path_with_odd_characters_works(data_dir: Path) -> None:
    odd = data_dir / ("long " * 20) / "it's, ä%41"
    with embedded.start(odd) as servers:
        sockets = Path(servers.redis_url.removeprefix("unix://")).parent
        assert len(os.fsencode(sockets / ".s.PGSQL.5432.lock")) < 100
        assert sockets.stat().st_mode & 0o777 == 0o700
        assert embedded_user.identity(servers)
        with embedded.start(odd) as again:
            assert again.database_url == servers.database_url
    assert not sockets.exists()


def test_the_users_environment_does_not_reach_the_servers(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("PGPORT", "1"),
        ("PGDATA", "/nowhere"),
        ("PGOPTIONS", "-c fsync=off"),
        ("PGUSER", "x"),
    ):
        monkeypatch.setenv(name, value)
    with embedded.start(data_dir):
        assert (data_dir / "run" / ".s.PGSQL.5432").is_socket()


def test_stopping_waits_until_the_files_are_at_rest(data_dir: Path) -> None:
    with embedded.start(data_dir) as servers:
        execute(servers, "CREATE TABLE kept (id int)")
    assert not (data_dir / "pg" / "postmaster.pid").exists()
    assert wait_until(lambda: "database system is shut down" in (data_dir / "postgres.log").read_text(), timeout_s=5)
