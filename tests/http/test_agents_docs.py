"""docs/agents.md: each of its examples does what the page says, under the key that the page makes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from hae_client.config import LOCAL_URL
from tests.http.conftest import as_, make_keys
from tests.support.live_engine import Hae, Node, running_engine, settings_for
from tests.support.receiver import Receiver
from tests.support.servers import Servers

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "agents.md").read_text(encoding="utf-8")
SHELL: list[str] = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
PYTHON: list[str] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
BASH, CURL = shutil.which("bash"), shutil.which("curl")


def shell(mark: str) -> str:
    (found,) = [one for one in SHELL if mark in one]
    return found


async def run(command: str, given: dict[str, str]) -> str:
    """What a block prints; ``given``: its environment, on top of this one."""
    assert BASH is not None
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        BASH, "-euc", command, env={**os.environ, "PATH": path, **given}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


@asynccontextmanager
async def working(hae: Hae) -> AsyncIterator[None]:
    """A node that answers every job with the same result."""
    node = await Node.register(as_(hae, "miner"), "agents-docs", capabilities=["inference"], vram_gb=24, capacity=32)

    async def work() -> None:
        while True:
            for offer in await node.offers():
                for action, body in (("accept", {}), ("result", {"result": {"text": "42"}})):
                    await node.say(offer["offer_id"], action, **body)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


def run_python() -> list[str]:
    """The lines that all blocks of Python print."""
    with redirect_stdout(StringIO()) as printed:
        for block in PYTHON:
            names: dict[str, Any] = {}
            exec(compile(block, "docs/agents.md", "exec"), names)
            if "result" in names:
                print(names["result"]["is_error"], json.loads(names["result"]["content"])["matching"])
    return printed.getvalue().splitlines()


@pytest.mark.e2e
@pytest.mark.skipif(BASH is None or CURL is None, reason="the examples need bash and curl")
async def test_every_example_runs(module_database_url: str, servers: Servers) -> None:
    settings = settings_for(module_database_url, servers.redis_url, webhooks={"allow_networks": ["127.0.0.0/8"]})
    making = f'{shell("hae keys create")}echo "$HYPERNODE_API_URL $HYPERNODE_API_KEY"'
    made = asyncio.create_task(run(making, {"DATABASE_URL": module_database_url, "REDIS_URL": servers.redis_url}))
    async with running_engine(settings) as hae, Receiver() as receiver:
        await make_keys(hae)
        url, key = (await made).split()
        assert url == LOCAL_URL
        given = {"HYPERNODE_API_URL": hae.url, "HYPERNODE_API_KEY": key}
        async with working(hae):
            submitted = json.loads(await run(shell("tools/submit_job"), given))
            assert submitted["created"] and submitted["budget_remaining_hyper"] == "12"
            given["JOB_ID"] = submitted["job_id"]
            hooking = shell("/v1/hooks").replace("https://agent.example/hooks/hae", receiver.url())
            with pytest.MonkeyPatch.context() as patched:
                for name, value in given.items():
                    patched.setenv(name, value)
                python = asyncio.create_task(asyncio.to_thread(run_python))
                waited, called, task, scaled, told, followed, hook, refused, feed = await asyncio.gather(
                    run(shell("tools/wait_job"), given),
                    run(shell("/mcp"), given),
                    run(shell("/a2a"), given),
                    run(shell("hyper_agent/scale"), given),
                    run(shell("hae submit"), given),
                    run(shell('/events"'), given),
                    run(hooking, given),
                    run(shell("tools/quote"), given),
                    run(shell("/v1/events?"), given),
                )
                printed = await python
            job = json.loads(waited)
            assert (job["state"], job["final"], job["result"]) == ("completed", True, {"text": "42"})
            assert printed[0] == "False 1"
            assert json.loads(printed[1])["available_now"] is True
            assert "'cost_hyper'" in printed[2]
            assert printed[3] == "completed {'text': '42'}"
            assert printed[4].startswith("completed {'text': '42'} 0")
            assert json.loads(called)["result"]["structuredContent"]["duration_s"] == 600
            assert json.loads(task)["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
            plan = json.loads(scaled)
            assert (plan["ok"], plan["result"]["units_total"]) == (True, 3)
            assert "completed (result" in told and told.endswith('{"text":"42"}\n')
            assert "event: job_submitted" in followed and "event: job_completed" in followed
            assert json.loads(hook)["secret"].startswith("whsec_")
            problem = json.loads(refused)
            assert (problem["code"], problem["field"]) == ("invalid_input", "gpus")
            assert problem["next_action"].startswith("A valid call: {")
            assert json.loads(feed)["events"][0]["kind"] == "job_submitted"


def test_every_block_is_run_and_every_page_is_there() -> None:
    assert (len(SHELL), len(PYTHON)) == (11, 5)
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        page, _, heading = target.partition("#")
        text = (DOCS / page).read_text(encoding="utf-8") if page else TEXT
        assert not heading or heading in headings(text), target


def headings(text: str) -> set[str]:
    """What links may name, as GitHub makes it of the headings."""
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9_ -]", "", one.lower()).replace(" ", "-") for one in found}
