"""`hae listener`: the process that reads the chain."""

from __future__ import annotations

import typer

from app.chain.configured import chain_from
from app.cli.environment import ConfigOption, environment, run
from app.settings import load
from app.workers.listener import run_listener


def add_to(cli: typer.Typer) -> None:
    cli.command()(listener)


def listener(config: ConfigOption = None) -> None:
    """Read the network's programs on Solana: nodes, jobs and payments, live and back to the first transaction.

    Run as many as you like: one leads, the others take over when it ends. `hae chain status` shows how far it is,
    `hae replay` reads again from an earlier slot. Without a chain to hand: `hae devchain`.
    """
    # Before any server is started: a wrong id or key is told at once.
    chain_from(load(config))
    with environment(config, "listener", migrated=False) as settings:
        run(lambda stop: run_listener(settings, stop))
