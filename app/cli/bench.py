"""`hae bench`: measure this machine, against a peer in the same run."""

from __future__ import annotations

import typer

commands = typer.Typer(no_args_is_help=True, help="Benchmarks; each prints one JSON object with --json.")
