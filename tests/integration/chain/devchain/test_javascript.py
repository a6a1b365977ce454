"""What programs written for JavaScript's two Solana libraries do, on a served chain."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.chain.devchain import ChainConfig, Served, serve

PACKAGES = ("@solana/web3.js@1.99.0", "@solana/kit@8.4.0")
INSTALL_S = 90
RUN_S = 30
SCRIPTS = Path(__file__).parent / "js"


@pytest.fixture(scope="module")
def modules() -> Path:
    """A directory with the libraries in node_modules, kept between runs; skips where there is no way to get them."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("node and npm are not here")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hae-tests"
    place = cache / "-".join(package.rsplit("@", 1)[1] for package in PACKAGES)
    if not place.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            fresh = Path(scratch) / "js"
            fresh.mkdir()
            command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", "."]
            try:
                subprocess.run([*command, *PACKAGES], cwd=fresh, check=True, capture_output=True, timeout=INSTALL_S)
            except (subprocess.SubprocessError, OSError) as error:
                pytest.skip(f"the libraries cannot be installed: {error}")
            if not place.exists():
                fresh.rename(place)
    return place


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serve(ChainConfig(slot_ms=20, finalize_depth=3)) as served:
        yield served


async def run(script: str, modules: Path, tmp_path: Path, served: Served) -> Any:
    """What the script found, run beside the libraries."""
    (tmp_path / "node_modules").symlink_to(modules / "node_modules")
    shutil.copy(SCRIPTS / script, tmp_path / script)
    process = await asyncio.create_subprocess_exec(
        *("node", str(tmp_path / script), served.url, served.ws_url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(RUN_S):
            said, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    return json.loads(said)


async def test_web3_js(modules: Path, tmp_path: Path, served: Served) -> None:
    found = await run("web3.mjs", modules, tmp_path, served)
    assert found["balance"] == 2 * 10**9
    assert found["logs"]["signature"] == found["legacy"] == found["signatures"][-1]
    assert found["logs"]["logs"][-1].endswith("success")
    assert (found["account"], found["parsed"], found["info"]) == (1_000_000, 1_000_000, 3_000_000)
    assert (found["version"], found["moved"], found["simulated"]) == (0, 2_000_000, 150)
    assert found["versioned"] in found["block"] and found["versioned"] == found["signatures"][0]
    assert found["status"] in ("confirmed", "finalized")
    assert found["slot"] > 0
    assert found["refused"]["typed"] is True
    assert any("insufficient lamports" in line for line in found["refused"]["logs"])


async def test_kit(modules: Path, tmp_path: Path, served: Served) -> None:
    found = await run("kit.mjs", modules, tmp_path, served)
    assert found["balance"] == 2 * 10**9
    assert found["logs"]["signature"] == found["signature"] == found["signatures"][0]
    assert (found["version"], found["moved"], found["parsed"]) == (0, 1_000_000, 1_000_000)
    assert found["signature"] in found["block"]
    assert found["refused"]["typed"] is True
    assert any("insufficient lamports" in line for line in found["refused"]["logs"])
