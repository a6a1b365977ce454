"""Runs the `hae` command line in this process under a wrong clock, and with one planted bug, as the chaos suite asks.

    python -m app.chaos.child [--bug NAME] [--skew FILE] -- worker --some-option

The product knows nothing of either: it is changed in memory, before it starts.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import mmap
import runpy
import struct
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

_SECONDS = struct.Struct("<d")


class SkewFile:
    """Seconds by which the wall clocks of a process are wrong: 8 bytes that another process may rewrite at any time."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if create:
            path.write_bytes(_SECONDS.pack(0.0))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SECONDS.size)

    def read(self) -> float:
        seconds: float = _SECONDS.unpack_from(self._map)[0]
        return seconds

    def write(self, seconds: float) -> None:
        self._map[:] = _SECONDS.pack(seconds)


def skew_clocks(seconds: Callable[[], float]) -> None:
    """Shift ``time.time``, ``time.time_ns`` and ``datetime.now`` by ``seconds()``, asked at each call, for good.

    Monotonic clocks stay right, and so does the kernel's clock, which other processes and PostgreSQL go by.
    """
    true_time, true_ns, true_now = time.time, time.time_ns, datetime.now

    def skewed_time() -> float:
        return true_time() + seconds()

    def skewed_ns() -> int:
        return true_ns() + int(seconds() * 1e9)

    def skewed_now(tz: tzinfo | None = None) -> datetime:
        return true_now(tz) + timedelta(seconds=seconds())

    time.time, time.time_ns = skewed_time, skewed_ns
    # A subclass in datetime's place would not do: libraries compare types. So the type itself gets another `now`.
    attributes: Any = gc.get_referents(datetime.__dict__)[0]
    attributes["now"] = staticmethod(skewed_now)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime))


def main(arguments: Sequence[str]) -> None:
    """Entry point. Exit codes are those of `hae`; 2 for an unknown bug or file."""
    parser = argparse.ArgumentParser(prog="python -m app.chaos.child", description=__doc__.splitlines()[0])
    parser.add_argument("--bug", default="", help="the planted bug, by its name in app/chaos/bugs.py")
    parser.add_argument(
        "--skew", type=Path, help="a file of 8 bytes: the clock's error in seconds, a little-endian double"
    )
    parser.add_argument("command", nargs="+", help="the arguments of `hae`")
    given = parser.parse_args(arguments)
    if given.skew is not None:
        try:
            skew_clocks(SkewFile(given.skew).read)
        except (OSError, ValueError) as error:
            parser.error(f"--skew {given.skew}: {error}")
    if given.bug:
        from app.chaos.bugs import BUGS, plant

        if given.bug not in BUGS:
            parser.error(f"there is no planted bug {given.bug}; there are {', '.join(sorted(BUGS))}")
        plant(given.bug)
    sys.argv = ["hae", *given.command]
    runpy.run_module("app", run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
