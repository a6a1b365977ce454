"""MCP with real processes: a server that restarts between two calls of its clients, and the bridge from its wheel."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

import agent_plugins.hae_mcp
from app.core.access import Scope
from app.services import keys
from app.store.db import Database
from tests.support.mcp_clients import connected
from tests.support.processes import HAE, hae
from tools.registry import TOOLS

pytestmark = pytest.mark.e2e

ALONE = """
import sys
sys.modules.update(dict.fromkeys(("app", "tools", "graphs", "agent_plugins", "hae_client", "mcp", "pydantic")))
sys.path.insert(0, sys.argv.pop(1))
from hae_mcp.command import main
sys.exit(main())
"""
"""Runs the bridge from a directory, with nothing of the engine to import."""


async def agent_key(database_url: str) -> str:
    db = Database(database_url)
    try:
        return (await keys.create(db, "acme", [Scope.AGENT.value]))[1]
    finally:
        await db.close()


def told(result: Any) -> dict[str, Any]:
    assert isinstance(result, types.CallToolResult)
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    said: dict[str, Any] = json.loads(block.text)
    assert said == result.structured_content
    return said


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel of the distribution hae-mcp."""
    source = tmp_path_factory.mktemp("source") / "hae_mcp"
    shutil.copytree(Path(agent_plugins.hae_mcp.__file__).parent, source, ignore=shutil.ignore_patterns("__pycache__"))
    built = tmp_path_factory.mktemp("built")
    made = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    (wheel,) = built.glob("hae_mcp-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(built / "unpacked")
    return built / "unpacked"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


async def test_clients_live_on_over_a_restart(database_url: str, redis_url: str, bridge: Path) -> None:
    secret, port = await agent_key(database_url), free_port()
    url = f"http://127.0.0.1:{port}"
    env = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    serve = ("serve", "--port", str(port))
    told_by = {"HYPERNODE_API_KEY": secret, "HYPERNODE_API_URL": url}
    command = (sys.executable, "-c", ALONE, str(bridge))
    async with AsyncExitStack() as stack:
        errors = stack.enter_context((bridge / "errors").open("w"))
        clients: dict[str, Client] = {}
        async with hae(*serve, env=env) as first:
            assert await first.url() == url
            for how in ("modern", "handshake"):
                clients[how] = await stack.enter_async_context(connected(url, secret, how))
                server = StdioServerParameters(command=command[0], args=[*command[1:]], env=told_by)
                mode = "auto" if how == "modern" else "legacy"
                clients[f"stdio, {how}"] = await stack.enter_async_context(
                    Client(stdio_client(server, errlog=errors), mode=mode)
                )
            made = {}
            for how, client in clients.items():
                assert [tool.name for tool in (await client.list_tools()).tools] == list(TOOLS)
                made[how] = told(await client.call_tool("submit_job", {"type": "render"}))["job_id"]
            assert await first.end() == 0
        async with hae(*serve, env=env) as second:
            assert await second.url() == url
            for how, client in clients.items():
                job = told(await client.call_tool("get_job", {"job_id": made[how]}))
                assert (job["job_id"], job["state"]) == (made[how], "pending"), how


async def test_the_command_checks_and_complains(database_url: str, redis_url: str) -> None:
    secret = await agent_key(database_url)

    async def run(*arguments: str, **env: str) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            *HAE,
            "mcp",
            *arguments,
            env={**os.environ, **env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode, out.decode(), errors.decode()

    async with hae("serve", "--port", "0", env={"DATABASE_URL": database_url, "REDIS_URL": redis_url}) as engine:
        url = await engine.url()
        code, out, _ = await run("--check", HYPERNODE_API_KEY=secret, HYPERNODE_API_URL=url)
        assert code == 0 and f"it may call {len(TOOLS)} tools" in out
        code, out, errors = await run("--check", "--url", url, HYPERNODE_API_KEY="hae_wrong")
        assert code == 1 and "unknown or revoked" in errors and "hae keys create" in errors and not out
        # Standard input ends at once: so does the bridge.
        assert await run("--url", url, HYPERNODE_API_KEY=secret) == (0, "", "")
        code, out, errors = await run(HYPERNODE_API_KEY="")
        assert code == 2 and "HYPERNODE_API_KEY is not set" in errors and not out
