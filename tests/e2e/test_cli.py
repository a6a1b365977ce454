"""The `hae` command as people and supervisors use it: real processes on embedded servers of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from app.store import revision

HAE = [sys.executable, "-m", "app"]
CHAIN = {
    "SOLANA_RPC_URL": "http://127.0.0.1:1",
    "SOLANA_WS_URL": "ws://127.0.0.1:1",
    "NODE_REGISTRY_PROGRAM_ID": "Vote111111111111111111111111111111111111111",
    "JOB_RECEIPT_PROGRAM_ID": "Stake11111111111111111111111111111111111111",
    "PAYMENT_SPLITTER_PROGRAM_ID": "Config1111111111111111111111111111111111111",
}
pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def home() -> Iterator[dict[str, str]]:
    """The environment of a newcomer: no URL, a data directory of its own."""
    with tempfile.TemporaryDirectory(prefix="hae-e2e-") as scratch:
        Path(scratch).chmod(0o755)
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("HAE_", "DATABASE_", "REDIS_"))
        }
        yield {**kept, "HAE_DATA_DIR": f"{scratch}/data"}


def hae(home: dict[str, str], *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HAE, *arguments], env={**home, **(env or {})}, capture_output=True, text=True, timeout=60, check=False
    )


@contextmanager
def running(
    home: dict[str, str], *arguments: str, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [*HAE, *arguments], env={**home, **(env or {})}, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            if process.stdout is not None:
                process.stdout.close()


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("hae serving on http://"), line
    return line.split()[3]


def until(check: str, client: httpx.Client, seconds: float = 20.0) -> httpx.Response:
    end = time.monotonic() + seconds
    while True:
        try:
            answer = client.get(check)
            if answer.status_code == 200:
                return answer
        except httpx.TransportError as error:
            if time.monotonic() > end:
                raise AssertionError(f"{check} does not answer") from error
        assert time.monotonic() < end, f"{check} is not ready"
        time.sleep(0.1)


def children(process: subprocess.Popen[str], command: str) -> list[psutil.Process]:
    """The process's living descendants that run this command."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        # One that ends meanwhile, or waits to be reaped, is none.
        with suppress(psutil.Error):
            if command in child.cmdline():
                found.append(child)
    return found


def test_a_job_goes_through_the_processes_that_a_newcomer_starts(home: dict[str, str]) -> None:
    made = hae(home, "keys", "create", "--scope", "agent", "--scope", "node", "--json")
    key = json.loads(made.stdout)["key"]
    with running(home, "up", "--port", "0") as engine:
        url = url_of(engine)
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
            until("/readyz", client)
            arguments = ("node", "--url", url, "--wallet", "w1", "--gpu-model", "RTX 4090", "--executor", "echo")
            with running(home, *arguments, env={"HAE_API_KEY": key}) as node:
                job = client.post("/v1/jobs", json={"type": "llm_inference", "prompt": "hello"}).json()
                done = client.get(f"/v1/jobs/{job['job_id']}/wait", params={"wait_s": 25}).json()
                assert (done["state"], done["result"]["prompt"]) == ("completed", "hello")
                node.send_signal(signal.SIGTERM)
                assert node.wait(30) == 0
            assert client.get("/v1/availability").json()["available_now"] == 0
        (serving,) = children(engine, "serve")
        assert serving.memory_info().rss < 150 * 2**20
        engine.send_signal(signal.SIGTERM)
        assert engine.wait(30) == 0


def test_up_outlives_its_parts_and_they_end_with_it(home: dict[str, str]) -> None:
    key = json.loads(hae(home, "keys", "create", "--scope", "agent", "--json").stdout)["key"]
    with running(home, "up", "--port", "0") as engine:
        url = url_of(engine)
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
            until("/readyz", client)
            (worker,) = children(engine, "worker")
            worker.send_signal(signal.SIGKILL)
            postmaster(home).send_signal(signal.SIGKILL)
            time.sleep(1)
            until("/readyz", client)
            # Only a worker drives jobs: this one ends because a new one is there.
            job = client.post("/v1/jobs", json={"type": "render", "queue_ttl_s": 1}).json()
            ended = client.get(f"/v1/jobs/{job['job_id']}/wait", params={"wait_s": 20}).json()
            assert ended["state"] == "expired"
        parts = psutil.Process(engine.pid).children(recursive=True)
        engine.kill()
        _, left = psutil.wait_procs(parts, timeout=20)
        assert left == []


def postmaster(home: dict[str, str]) -> psutil.Process:
    (pid_file,) = Path(home["HAE_DATA_DIR"]).rglob("postmaster.pid")
    return psutil.Process(int(pid_file.read_text().split()[0]))


def test_the_readme_works_as_printed(home: dict[str, str]) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    block = next(part for part in readme.split("```sh\n")[1:] if "/v1/jobs -H" in part).split("```")[0]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    node = "hae node --wallet"
    script = (
        block.replace(".venv/bin/hae", " ".join(HAE)).replace("3002", port).replace("app up", f"app up --port {port}")
    )
    script = script.replace("app node", f"app node --url http://127.0.0.1:{port}")
    assert node in block
    with subprocess.Popen(
        ["bash", "-c", f"{script}\necho; kill %2 %1; wait"],
        env=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            said, _ = shell.communicate(timeout=90)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    answers = [line for line in said.splitlines() if '"job_id":"job_' in line]
    assert answers, said
    assert '"state":"pending"' in answers[0]


def test_links_in_the_documents_lead_somewhere() -> None:
    root = Path(__file__).parents[2]
    for page in [*root.glob("*.md"), *(root / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if not target.startswith(("http://", "https://")):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_two_servers_share_one_directory(home: dict[str, str]) -> None:
    with running(home, "serve", "--port", "0") as first, running(home, "serve", "--port", "0") as second:
        for process in (first, second):
            with httpx.Client(base_url=url_of(process)) as client:
                assert until("/readyz", client).json()["database"] == "ok"


def test_keys_are_listed_without_their_secrets_and_revoked(home: dict[str, str]) -> None:
    made = json.loads(hae(home, "keys", "create", "--scope", "operator", "--account", "ops", "--json").stdout)
    listed = hae(home, "keys", "list", "--json").stdout
    assert made["id"] in listed
    assert made["key"] not in listed
    assert hae(home, "keys", "set", made["id"], "--weight", "3", "--max-active", "8").returncode == 0
    (limited,) = [one for one in json.loads(hae(home, "keys", "list", "--json").stdout) if one["id"] == made["id"]]
    assert (limited["weight"], limited["max_active"], limited["max_queued"]) == (3, 8, None)
    assert hae(home, "keys", "revoke", made["id"]).returncode == 0
    again = hae(home, "keys", "revoke", made["id"])
    assert (again.returncode, len(again.stderr.strip().splitlines())) == (1, 1)


def test_what_a_key_may_do_and_spend_is_set_listed_and_lifted(home: dict[str, str]) -> None:
    options = ("--tool", "quote", "--job-type", "render", "--cap-day", "12.5", "--cap-job", "0.5")
    made = json.loads(hae(home, "keys", "create", "--scope", "agent", *options, "--json").stdout)

    def listed() -> tuple[list[str], list[str], str, str]:
        found = json.loads(hae(home, "keys", "list", "--json").stdout)
        (one,) = [one for one in found if one["id"] == made["id"]]
        return one["tools"], one["job_types"], one["cap_day"], one["cap_job"]

    assert listed() == (["quote"], ["render"], "12.5", "0.5")
    changed = hae(home, "keys", "set", made["id"], "--tool", "get_job", "--tool", "quote", "--cap-day", "7")
    assert "may call get_job, quote" in changed.stdout and "spend 7 HYPER a day, 0.5 HYPER a job" in changed.stdout
    lifted = ("--tool", "none", "--job-type", "none", "--cap-day", "none", "--cap-job", "none")
    assert "every type of job, spend any amount a day" in hae(home, "keys", "set", made["id"], *lifted).stdout
    assert listed() == ([], [], "", "")
    for wrong, said in ((("--tool", "fly"), "submit_job"), (("--cap-day", "-1"), "--cap-day")):
        refused = hae(home, "keys", "set", made["id"], *wrong)
        assert refused.returncode in (1, 2) and said in refused.stderr, refused.stderr


def test_graph_prints_every_graph(home: dict[str, str]) -> None:
    printed = hae(home, "graph").stdout
    assert printed.count("flowchart LR") == 3
    assert "match --> claim" in printed
    assert "receive --> tool" in printed


def test_migrate_tells_where_the_database_stands(home: dict[str, str]) -> None:
    assert hae(home, "migrate", "up").returncode == 0
    status = hae(home, "migrate", "status")
    assert (status.returncode, status.stdout.splitlines()[0]) == (0, f"database: {revision.revisions()[-1]}")


def test_a_named_database_must_be_migrated_first(home: dict[str, str], empty_database_url: str, redis_url: str) -> None:
    named = {"DATABASE_URL": empty_database_url, "REDIS_URL": redis_url}
    refused = hae(home, "serve", "--port", "0", env=named)
    assert refused.returncode == 2
    assert "run hae migrate up" in refused.stderr
    assert hae(home, "migrate", "status", env=named).returncode == 1
    assert hae(home, "migrate", "up", env=named).returncode == 0
    assert hae(home, "migrate", "status", env=named).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "env", "code", "said"),
    [
        (("serve",), {"PORT": "many"}, 2, "PORT"),
        (("serve",), {"HAE_JOBS_MAX_RETRIES": "-1"}, 2, "HAE_JOBS_MAX_RETRIES"),
        (
            ("keys", "list"),
            {"DATABASE_URL": "postgresql://x@127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1"},
            1,
            "reached",
        ),
        (
            ("worker",),
            {"DATABASE_URL": "postgresql://x@127.0.0.1:port/x", "REDIS_URL": "redis://127.0.0.1:1"},
            2,
            "DATABASE_URL",
        ),
        (("serve", "--config", "/nowhere.json"), {}, 2, "/nowhere.json"),
        *(
            (
                (command,),
                {"HAE_MATCHMAKER_ALGORITHM": "dearest", **CHAIN},
                2,
                "unknown policy 'dearest'; known are reputation_weighted",
            )
            for command in ("worker", "listener", "up")
        ),
        (("keys", "create", "--scope", "king"), {}, 2, "king"),
        (("nonsense",), {}, 2, "nonsense"),
    ],
)
def test_mistakes_end_with_a_clear_word_and_no_traceback(
    home: dict[str, str], arguments: tuple[str, ...], env: dict[str, str], code: int, said: str
) -> None:
    ended = hae(home, *arguments, env=env)
    assert ended.returncode == code
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_taken_port_is_one_clear_line(home: dict[str, str]) -> None:
    with running(home, "serve", "--port", "0") as first:
        port = url_of(first).rsplit(":", 1)[1]
        second = hae(home, "serve", "--port", port)
    assert second.returncode == 2
    assert "cannot listen" in second.stderr
    assert "Traceback" not in second.stderr
