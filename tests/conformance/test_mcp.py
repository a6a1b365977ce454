"""The Model Context Protocol's own conformance suite against `hae up`. Takes npm and half a minute: LONG_TESTS=1.

Some of its scenarios call tools, prompts and resources that only its own example server has. Those fail here, and no
others: docs/mcp.md lists them.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from app.core.access import Scope
from app.services import keys
from app.store.db import Database
from tests.support.processes import hae

SUITE = "@modelcontextprotocol/conformance@0.1.16"
NODE = "node@22"
DOCS = Path(__file__).parents[2] / "docs" / "mcp.md"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("LONG_TESTS"), reason="fetches a suite from npm: LONG_TESTS=1"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed"),
]


async def run(*command: str, cwd: Path, env: dict[str, str] | None = None) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 300)
    return process.returncode, out.decode()


async def install(home: Path) -> Path:
    """Install the suite and a Node.js that it runs on; the directory of their commands. Skips where npm cannot."""
    code, said = await run("npm", "install", "--no-save", "--no-audit", "--no-fund", NODE, SUITE, cwd=home)
    node = home / "node_modules" / "node" / "bin"
    if code or not (node / "node").exists():
        pytest.skip(f"npm cannot install the suite with Node.js 22 here: {said[-300:]}")
    return node


async def test_only_what_asks_for_its_own_fixtures_fails(database_url: str, redis_url: str, tmp_path: Path) -> None:
    node = await install(tmp_path)
    db = Database(database_url)
    secret = (await keys.create(db, "conformance", [Scope.AGENT.value]))[1]
    await db.close()
    async with hae("up", "--port", "0", env={"DATABASE_URL": database_url, "REDIS_URL": redis_url}) as engine:
        url = f"{await engine.url()}/mcp/k/{secret}"
        results = tmp_path / "results"
        _, said = await run(
            str(node / "node"),
            str(tmp_path / "node_modules" / ".bin" / "conformance"),
            *("server", "--url", url, "--suite", "all", "--output-dir", str(results)),
            cwd=tmp_path,
        )
        assert await engine.end() == 0
    ran = {re.sub(r"^server-|-\d{4}-\d\d-\d\dT.*$", "", path.parent.name) for path in results.glob("*/checks.json")}
    failed = {
        check["id"]: check.get("errorMessage", "")
        for path in results.glob("*/checks.json")
        for check in checks(path)
        if check["status"] == "FAILURE"
    }
    assert len(ran) >= 32, said[-2000:]
    assert set(failed) == documented(), failed


def checks(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def documented() -> set[str]:
    """The checks that the documentation names as failing."""
    table = DOCS.read_text().split("## Conformance", 1)[1]
    return set(re.findall(r"^\| `([a-z0-9-]+)` \|", table, re.MULTILINE))
