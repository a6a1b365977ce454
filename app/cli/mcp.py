"""`hae mcp`: the stdio bridge for local MCP clients."""

from __future__ import annotations

import typer

from agent_plugins.hae_mcp.command import main

_AS_THEY_COME = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": list[str]()}


def add_to(cli: typer.Typer) -> None:
    cli.command(context_settings=_AS_THEY_COME)(mcp)


def mcp(context: typer.Context) -> None:
    """Connect a local MCP client, such as Claude Desktop, to the engine (stdio bridge)."""
    code = main(context.args, prog="hae mcp")
    if code:
        raise typer.Exit(code)
