"""Runs a program under cProfile: ``python -m app.bench.profiled FILE MODULE ARGUMENTS…`` as ``python -m MODULE …``.

The profile begins with SIGUSR1, so that start and warm-up stay out of it, ends with SIGUSR2, and lands in FILE when the
program ends, also by SIGTERM where the program ends well on it. Without the signals it is empty.
"""

from __future__ import annotations

import cProfile
import runpy
import signal
import sys


def main() -> None:
    file, module, *arguments = sys.argv[1:]
    sys.argv = [module, *arguments]
    profile = cProfile.Profile()
    signal.signal(signal.SIGUSR1, lambda number, frame: profile.enable())
    signal.signal(signal.SIGUSR2, lambda number, frame: profile.disable())
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        profile.disable()
        profile.dump_stats(file)


if __name__ == "__main__":
    main()
