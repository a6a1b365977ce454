"""`hae devchain` as a process."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.chain.devchain.emitter import program
from app.chain.devchain.money import keypair

HAE = [sys.executable, "-m", "app", "devchain"]


def test_it_says_where_it_serves_and_ends_when_told(tmp_path: Path) -> None:
    elf, key = tmp_path / "own.so", str(keypair("own").pubkey())
    elf.write_bytes(program())
    command = [*HAE, "--port", "0", "--slot-ms", "20", "--program", f"{key}={elf}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("hae devchain serving on http://127.0.0.1:")
            assert process.stdout.readline().split()[1] == key
            answer = httpx.post(line.split()[4], json={"jsonrpc": "2.0", "id": 1, "method": "devchain_status"})
            assert answer.json()["result"]["programs"] == [key]
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--program", "no key"], "not a program id"),
        (["--program", f"{keypair('x').pubkey()}=/does/not/exist"], "No such file"),
        (["--confirm-depth", "9", "--finalize-depth", "3"], "depths must be"),
    ],
)
def test_what_cannot_be_is_one_clear_line(arguments: list[str], words: str) -> None:
    done = subprocess.run([*HAE, "--port", "0", *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1)
    assert words in done.stderr
