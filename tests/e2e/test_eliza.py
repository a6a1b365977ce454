"""plugin-hypernode as npm installs and builds it, in real ElizaOS agents, against `hae up`: the package's own tests.

What needs npm takes minutes and runs with LONG_TESTS=1, where npm and its packages are there.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.core.access import Scope
from app.services import keys
from app.store.db import Database
from tests.support.eliza_tools import PACKAGE, documented_servers
from tests.support.processes import hae, until_ready

pytestmark = pytest.mark.e2e

LONG = pytest.mark.skipif(not os.environ.get("LONG_TESTS"), reason="takes minutes and needs npm: LONG_TESTS=1")
ROOT = Path(__file__).parents[2]
INSTALL_S = 300
RUN_S = 400


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, copied, with what its lock file names installed."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    place = tmp_path_factory.mktemp("npm") / "plugin-hypernode"
    shutil.copytree(PACKAGE, place, ignore=shutil.ignore_patterns("node_modules", "dist", "build"))
    done = subprocess.run([npm, "ci"], cwd=place, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    if done.returncode and any(code in done.stderr for code in ("ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "EAI_AGAIN")):
        pytest.skip(f"the npm registry cannot be reached: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    return place


def counts_of(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """The counts of a run of node's test runner, which must have ended well."""
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
    lines = (line.removeprefix("# ").split() for line in done.stdout.splitlines() if line.startswith("# "))
    return {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdecimal()}


def npm_run(package: Path, script: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    quiet = {"LOG_LEVEL": "fatal", "NODE_NO_WARNINGS": "1"}
    return subprocess.run(
        ["npm", "run", script],
        cwd=package,
        env={**os.environ, **quiet, **(env or {})},
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )


@LONG
def test_the_package_builds_and_its_tests_pass(package: Path) -> None:
    counts = counts_of(npm_run(package, "test"))
    assert counts["fail"] == counts["skipped"] == 0
    assert counts["pass"] >= 37
    packed = subprocess.run(
        ["npm", "pack", "--json", "--dry-run"], cwd=package, capture_output=True, text=True, timeout=RUN_S, check=True
    )
    names = {one["path"] for one in json.loads(packed.stdout[packed.stdout.index("[") :])[0]["files"]}
    assert {"package.json", "README.md", "LICENSE", "dist/index.js", "dist/index.d.ts"} <= names
    assert all(name.startswith("dist/") or "/" not in name for name in names)


@LONG
async def test_agents_run_jobs_end_to_end(package: Path, database_url: str, redis_url: str) -> None:
    async with engine(database_url, redis_url) as (url, key):
        env = {
            "HYPERNODE_API_URL": url,
            "HYPERNODE_API_KEY": key,
            "HYPERNODE_MCP_SERVERS": json.dumps(mcp_servers(url, key)),
        }
        counts = counts_of(await asyncio.to_thread(npm_run, package, "e2e", env))
    assert counts["fail"] == counts["skipped"] == 0
    # Actions and events, a webhook, and each of the four ways of plugin-mcp.
    assert counts["pass"] == 5 + 1 + 4


@asynccontextmanager
async def engine(database_url: str, redis_url: str) -> AsyncIterator[tuple[str, str]]:
    """`hae up` with a node that runs inference; its URL, and an agent's key."""
    db = Database(database_url)
    try:
        agent_key, node_key = [(await keys.create(db, "acme", [scope]))[1] for scope in (Scope.AGENT, Scope.NODE)]
    finally:
        await db.close()
    env = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "HAE_WEBHOOKS_ALLOW_NETWORKS": '["127.0.0.0/8"]'}
    worker = ("node", "--wallet", "W1", "--gpu-model", "A100", "--vram-gb", "80", "--gpus", "4", "--grace-s", "0")
    async with AsyncExitStack() as stack:
        url = await (await stack.enter_async_context(hae("up", "--port", "0", env=env))).url()
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30, trust_env=False))
        await until_ready(client)
        await stack.enter_async_context(hae(*worker, env={"HAE_API_URL": url, "HAE_API_KEY": node_key}))
        client.headers["authorization"] = f"Bearer {agent_key}"
        async with asyncio.timeout(60):
            free = 0
            while not free:
                await asyncio.sleep(0.05)
                free = (await client.get("/v1/availability")).json().get("available_now", 0)
        yield url, agent_key


def mcp_servers(url: str, key: str) -> dict[str, Any]:
    """The documented settings of `@elizaos/plugin-mcp`, by the way they connect, for this engine and key."""
    ways = ("header", "in-url", "sse", "process")
    text = json.dumps(documented_servers(), ensure_ascii=False)
    servers = json.loads(text.replace("http://127.0.0.1:3002", url).replace("hae_…", key))
    # Published, uvx fetches it; here it is the command of the same name.
    assert (servers[3]["command"], servers[3]["args"]) == ("uvx", ["hae-mcp"])
    servers[3] |= {"command": sys.executable, "args": ["-m", "app", "mcp"], "cwd": str(ROOT)}
    return dict(zip(ways, servers, strict=True))
