"""The command: ``hae-mcp``, and behind ``hae mcp``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
from typing import Any

from .bridge import Bridge
from .config import BridgeConfig, ConfigError, from_environment
from .upstream import Upstream, UpstreamError

HELP = """\
Connect a local MCP client to a Hypernode Automation Engine.

MCP clients start this command and speak to it over standard input and output; it passes everything on to the engine.
It takes two environment variables:

  HYPERNODE_API_KEY   an API key; operators make them with: hae keys create --scope agent
  HYPERNODE_API_URL   the engine's address; without it http://127.0.0.1:3002

Claude Desktop, Cursor and others take it like this:

  {"mcpServers": {"hypernode": {"command": "uvx", "args": ["hae-mcp"],
    "env": {"HYPERNODE_API_KEY": "hae_…", "HYPERNODE_API_URL": "https://hae.example.org"}}}}

Where the engine itself is installed, "command": "hae", "args": ["mcp"] does the same. Try it out with --check.
Clients that speak HTTP need no bridge: they connect to the engine's /mcp with the key as a bearer token.
"""


def main(arguments: list[str] | None = None, prog: str = "hae-mcp") -> int:
    """Run the command; the exit code: 0 = the client has left, 1 = the check has failed, 2 = bad settings."""
    parser = argparse.ArgumentParser(
        prog=prog, description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--url", default="", help="the engine's address, before HYPERNODE_API_URL")
    parser.add_argument("--check", action="store_true", help="say whether the engine takes the key, and end")
    given = parser.parse_args(arguments)
    try:
        config = from_environment(os.environ, given.url)
    except ConfigError as error:
        _complain(str(error))
        return 2
    if config.warning:
        _complain(config.warning)
    return asyncio.run(_check(config) if given.check else _bridge(config))


def _complain(text: str) -> None:
    print(f"hae-mcp: {text}", file=sys.stderr, flush=True)


async def _bridge(config: BridgeConfig) -> int:
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[bytes]()

    def read() -> None:
        # A thread, since not every system lets an event loop read standard input.
        ended = False
        while not ended:
            line = sys.stdin.buffer.readline()
            ended = not line
            try:
                loop.call_soon_threadsafe(lines.put_nowait, line)
            except RuntimeError:
                return

    def emit(message: dict[str, Any]) -> None:
        sys.stdout.buffer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        sys.stdout.buffer.flush()

    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, lines.put_nowait, b"")
        except NotImplementedError:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(lines.put_nowait, b""))
    threading.Thread(target=read, daemon=True).start()
    upstream = Upstream(config)
    try:
        await Bridge(upstream, emit, _complain).run(lines.get)
    except BrokenPipeError:
        # The client is gone; nothing is left to say, not even at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        await upstream.close()
    return 0


async def _check(config: BridgeConfig) -> int:
    upstream = Upstream(config)
    try:
        async for answer in upstream.send({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}):
            tools = answer["result"]["tools"]
            print(f"{config.endpoint} takes the key; it may call {len(tools)} tools")
            print(", ".join(tool["name"] for tool in tools))
    except UpstreamError as error:
        _complain(f"{error}. {error.problem.get('next_action', '')}")
        return 1
    finally:
        await upstream.close()
    return 0
