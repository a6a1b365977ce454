"""`hae submit`, `watch` and `jobs` as people run them against a server: what they print and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hae_client import AsyncClient
from tests.support.live_engine import Hae, Node

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

RUN = """
import contextlib, io, json, sys
from app.cli.main import main
told = []
for arguments, given in json.load(sys.stdin):
    sys.argv, out, err, code = ["hae", *arguments], io.StringIO(), io.StringIO(), 0
    sys.stdin = io.TextIOWrapper(io.BytesIO(given.encode()))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    told.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(told))
"""
"""Runs command lines one after the other in one process: starting one for each would take most of the time."""

Ended = tuple[int, str, str]


def environment(hae: Hae) -> dict[str, str]:
    """Alice's, as people set it."""
    known = {"HYPERNODE_API_URL": hae.url, "HYPERNODE_API_KEY": hae.secrets["alice"], "COLUMNS": "240"}
    return {**os.environ, **known}


async def run(hae: Hae, *lines: list[str], given: str = "") -> list[Ended]:
    """What each command line ended with, printed, and complained of; ``given``: their standard input."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN, env=environment(hae), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    told, _ = await process.communicate(json.dumps([(line, given) for line in lines]).encode())
    return [(code, out, err) for code, out, err in json.loads(told)]


async def test_a_job_is_submitted_followed_and_shown(hae: Hae) -> None:
    described: dict[str, Any] = {"gpu_model": "T4", "capabilities": ["inference"]}
    node = await Node.register(hae.client(hae.secrets["miner"]), "cli-node", **described)
    wish = ["--type", "llm_inference", "--model", "qwen-7b", "--prompt", "Hello", "--gpu-model", "T4"]
    running = asyncio.create_task(node.run_next({"text": "Hi"}))
    ((code, out, _),) = await run(hae, ["submit", *wish, "--wait", "--timeout-s", "60", "--json"])
    await running
    job = json.loads(out)
    assert (code, job["state"], job["result"], job["prompt"]) == (0, "completed", {"text": "Hi"}, "Hello")
    watched, told, listed, shown, again, busy = await run(
        hae,
        ["watch", job["job_id"]],
        ["watch", job["job_id"], "--json"],
        ["jobs", "list", "--state", "completed", "--json"],
        ["jobs", "show", job["job_id"]],
        ["jobs", "rerun", job["job_id"], "--priority", "9", "--json"],
        ["watch", "job_none"],
    )
    lines = watched[1].splitlines()
    assert (watched[0], "job_submitted" in lines[0], "job_completed" in lines[-1]) == (0, True, True)
    events = [json.loads(line) for line in told[1].splitlines()]
    assert [event["position"] for event in events] == sorted({event["position"] for event in events})
    assert [one["job_id"] for one in json.loads(listed[1])] == [job["job_id"]]
    assert "state: completed" in shown[1] and "(new) → pending  submitted" in shown[1] and "account" not in shown[1]
    assert json.loads(again[1])["rerun_of"] == job["job_id"]
    assert (busy[0], "hae: job_not_found:" in busy[2]) == (1, True)


async def test_files_of_jobs_and_their_end(hae: Hae, tmp_path: Path) -> None:
    file = tmp_path / "jobs.json"
    file.write_text(json.dumps([{"type": "render"}, {"type": "render", "gpus": 10_000}]))
    many, single = await run(
        hae,
        ["submit", str(file), "--gpu-model", "nobody-has-it", "--json"],
        ["submit", "-", "--idempotency-key", "cli-once"],
        given='{"type": "render", "gpu_models": ["nobody-has-it"]}',
    )
    first, refused = [json.loads(line) for line in many[1].splitlines()]
    assert (many[0], refused["problem"]["field"], refused["job_id"]) == (1, "gpus", "")
    job_id = single[1].strip()
    late, stopped, watched, cancelled, unknown, nothing = await run(
        hae,
        ["submit", "-", "--idempotency-key", "cli-once", "--wait", "--timeout-s", "0.1"],
        ["jobs", "cancel", job_id, "--json"],
        ["watch", job_id, "--timeout-s", "60"],
        ["jobs", "cancel", "--state", "pending", "--type", "render", "--json"],
        ["jobs", "cancel", "job_none"],
        ["jobs", "schedules", "--json"],
        given='{"type": "render", "gpu_models": ["nobody-has-it"]}',
    )
    assert (late[0], late[2]) == (4, f"hae: {job_id} is still pending\n")
    assert json.loads(stopped[1])["job_ids"] == [job_id]
    assert (watched[0], "job_cancelled" in watched[1]) == (1, True)
    assert first["job_id"] in json.loads(cancelled[1])["job_ids"]
    assert (unknown[0], unknown[1]) == (1, "0 jobs were asked to end\nthere is no job job_none\n")
    assert json.loads(nothing[1]) == []


async def test_what_is_wrong_is_told_in_a_line(hae: Hae) -> None:
    wrong, problem, unreadable, shape, untyped, options, address, keyless, stranger = await run(
        hae,
        ["submit", "--type", "render", "--gpus", "10000"],
        ["submit", "--type", "render", "--gpus", "10000", "--json"],
        ["submit", "-"],
        ["submit", "no-such-file.json"],
        ["submit"],
        ["submit", "--type", "render", "--input", "[1]"],
        ["submit", "--type", "render", "--url", "somewhere"],
        ["watch", "--key", ""],
        ["jobs", "list", "--key", "hae_nobody"],
        given="{",
    )
    assert (wrong[0], wrong[1], wrong[2].startswith("hae: invalid_input: ")) == (1, "", True)
    assert (problem[0], json.loads(problem[2])["field"]) == (1, "gpus")
    assert (unreadable[0], "standard input is no JSON" in unreadable[2]) == (2, True)
    assert (shape[0], "cannot be read" in shape[2]) == (2, True)
    assert (untyped[0], "say --type" in untyped[2]) == (2, True)
    assert (options[0], "--input must be a JSON object" in options[2]) == (2, True)
    assert (address[0], "server's URL" in address[2]) == (2, True)
    for ended in (wrong, unreadable, shape, untyped, options, address):
        assert ended[2].count("\n") == 1
    assert (keyless[0], "hae keys create" in keyless[2]) == (2, True)
    assert (stranger[0], "hae: unauthorised:" in stranger[2]) == (1, True)


async def test_all_that_happens_is_watched_until_ctrl_c(hae: Hae) -> None:
    async with AsyncClient(hae.url, hae.secrets["alice"]) as client:
        made = await client.submit(type="render", gpu_models=["nobody-has-it"])
    line = ["watch", "--after", "0", "--kind", "job_submitted", "--json"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", *line, env=environment(hae), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while json.loads(await process.stdout.readline())["job_id"] != made.job_id:
            pass
        process.send_signal(signal.SIGINT)
        _, complaint = await process.communicate()
    assert (process.returncode, complaint) == (130, b"")


async def test_a_plan_from_file_to_drawing(hae: Hae, tmp_path: Path) -> None:
    node = await Node.register(
        hae.client(hae.secrets["miner"]), "cli-plans", gpu_model="cli-plans", capabilities=["inference"]
    )
    job = {"type": "llm_inference", "gpu_models": ["cli-plans"], "timeout_s": 60}
    plan = {
        "name": "two and one",
        "budget_hyper": "0.001",
        "max_price_per_gpu_hour_hyper": "0.5",
        "tasks": [
            {"task_id": "parts", "job": {**job, "prompt": "{{item}}"}, "for_each": ["a", "b"]},
            {"task_id": "whole", "job": {**job, "prompt": "{{tasks.parts.results}}"}},
        ],
    }
    file, drawing = tmp_path / "plan.json", tmp_path / "plan.svg"
    file.write_text(json.dumps(plan))
    working = asyncio.create_task(_run_three(node))
    poor, tried, waited = await run(
        hae,
        ["plan", "submit", str(file)],
        ["plan", "submit", str(file), "--budget", "1", "--dry-run"],
        ["plan", "submit", str(file), "--budget", "1", "--wait", "--timeout-s", "60"],
    )
    await working
    assert (poor[0], "hae: budget_exceeded:" in poor[2]) == (1, True)
    assert (tried[0], tried[1].splitlines()[1:]) == (
        0,
        ["units: 3", "cost at worst 0.025000002, of a budget of 1 HYPER"],
    )
    assert "nothing is stored" in tried[1]
    plan_id, *progress = waited[1].splitlines()
    assert (waited[0], progress[-1].startswith("completed  3/3 units  cost ")) == (0, True)
    shown, units, mermaid, drawn, listed, watched, cancelled, both, nobody, shape = await run(
        hae,
        ["plan", "show", plan_id, "--units"],
        ["plan", "show", plan_id, "--units", "--json"],
        ["plan", "show", plan_id, "--mermaid"],
        ["plan", "show", plan_id, "--svg", str(drawing)],
        ["plan", "list"],
        ["plan", "watch", plan_id, "--json"],
        ["plan", "cancel", plan_id],
        ["plan", "show", plan_id, "--mermaid", "--json"],
        ["plan", "show", "plan_none"],
        ["plan", "submit", "-"],
        given="[]",
    )
    assert all(word in shown[1] for word in (f"{plan_id} two and one: completed", "parts", "whole", "of a budget of 1"))
    assert [unit["state"] for unit in json.loads(units[1])["units"]] == ["done"] * 3
    assert "parts" in mermaid[1] and mermaid[1].startswith(("flowchart", "graph"))
    assert (drawn[0], drawing.read_text().startswith("<svg")) == (0, True)
    assert plan_id in listed[1] and "3/3" in listed[1]
    assert (watched[0], json.loads(watched[1])["state"]) == (0, "completed")
    assert cancelled[1] == f"{plan_id} completed\n"
    assert (both[0], nobody[0], shape[0]) == (2, 1, 2)
    assert "a plan is a JSON object" in shape[2]


async def _run_three(node: Node) -> None:
    for result in ("A", "B", "AB"):
        await node.run_next(result)


async def test_a_plan_that_is_cancelled_ends_its_watch(hae: Hae, tmp_path: Path) -> None:
    job = {"type": "render", "gpu_models": ["nobody-has-it"], "timeout_s": 60}
    plan = {"budget_hyper": "1", "max_price_per_gpu_hour_hyper": "0.5", "tasks": [{"task_id": "a", "job": job}]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    ((code, out, _),) = await run(hae, ["plan", "submit", str(tmp_path / "plan.json"), "--json"])
    plan_id = json.loads(out)["plan_id"]
    assert code == 0
    late, cancelled, watched = await run(
        hae,
        ["plan", "watch", plan_id, "--timeout-s", "0.1", "--json"],
        ["plan", "cancel", plan_id, "--json"],
        ["plan", "watch", plan_id, "--timeout-s", "60"],
    )
    assert (late[0], json.loads(late[2])["code"]) == (4, "wait_timeout")
    assert json.loads(late[1].splitlines()[0])["state"] == "running"
    assert json.loads(cancelled[1])["state"] in ("cancelling", "cancelled")
    assert (watched[0], watched[1].splitlines()[-1].startswith("cancelled  ")) == (1, True)
