"""The commands of the chain's side as operators use them: real processes against a real chain."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.chain.devchain.config import JOB_RECEIPT, NODE_REGISTRY, PAYMENT_SPLITTER
from app.chain.devchain.faults import Kind
from app.workers.listener import LEADER_LOCK
from tests.integration.chain.world import World
from tests.integration.chain.world import world as new_world

pytestmark = pytest.mark.e2e
KNOWN = ("HAE_", "DATABASE_", "REDIS_", "SOLANA_")


@dataclass
class Operator:
    """Somebody with a shell, and a world to look at."""

    world: World
    environment: dict[str, str] = field(default_factory=dict)

    async def hae(self, *arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        """Exit code, output and errors of `hae`."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(KNOWN)}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app", *arguments),
            env={**kept, **self.environment, **(env or {})},
            stdout=PIPE,
            stderr=PIPE,
        )
        out, errors = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode is not None
        return process.returncode, out.decode(), errors.decode()

    async def refused(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """The one line that says what is wrong with the command or the settings."""
        code, out, errors = await self.hae(*arguments, env=env)
        assert (code, out) == (2, ""), errors
        (line,) = errors.strip().splitlines()
        assert line.startswith("hae: ")
        return line


@pytest.fixture
async def operator(database_url: str, redis_url: str) -> AsyncIterator[Operator]:
    async with new_world(database_url) as world:
        yield Operator(
            world,
            {
                "DATABASE_URL": database_url,
                "REDIS_URL": redis_url,
                "SOLANA_RPC_URL": world.served.url,
                "SOLANA_WS_URL": world.served.ws_url,
                "NODE_REGISTRY_PROGRAM_ID": NODE_REGISTRY,
                "JOB_RECEIPT_PROGRAM_ID": JOB_RECEIPT,
                "PAYMENT_SPLITTER_PROGRAM_ID": PAYMENT_SPLITTER,
            },
        )


async def test_settings_of_no_use_are_one_clear_line(operator: Operator, tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text("[1, 2, 3]")
    wrong = {
        "NODE_REGISTRY_PROGRAM_ID": "0OIl",
        "JOB_RECEIPT_PROGRAM_ID": NODE_REGISTRY,
        "SOLANA_RPC_URL": "http://",
        "HAE_CHAIN_KEYPAIR": str(key),
    }
    lines = await asyncio.gather(
        *(operator.refused("listener", env={name: value, "HAE_CHAIN_SUBMIT": "true"}) for name, value in wrong.items())
    )
    told = dict(zip(wrong, lines, strict=True))
    assert "is not a program id" in told["NODE_REGISTRY_PROGRAM_ID"]
    assert "two programs have the same id" in told["JOB_RECEIPT_PROGRAM_ID"]
    assert "SOLANA_RPC_URL: must be a URL" in told["SOLANA_RPC_URL"]
    assert "chain.keypair: not a keypair" in told["HAE_CHAIN_KEYPAIR"]


async def test_the_state_of_the_reading_is_told_and_a_stall_is_a_failure(operator: Operator) -> None:
    world = operator.world
    code, out, _ = await operator.hae("chain", "status")
    assert (code, out) == (0, "nothing was read yet: start `hae listener`\n")
    first, second = world.create("job-1", "job-2")
    world.create(b"nul\0")
    world.land()
    world.faults.add(Kind.NULL_TRANSACTION, signatures={second})
    async with world.listening(scan_s=0.1):
        await world.until(lambda: _stalled(world))
    (code, out, _), (text_code, text, _) = await asyncio.gather(
        operator.hae("chain", "status", "--json"), operator.hae("chain", "status")
    )
    assert code == text_code == 1
    told = json.loads(out)
    (receipts,) = [one for one in told["programs"] if one["program"] == JOB_RECEIPT]
    assert (receipts["signature"], receipts["slot"]) == (first, world.truth()[0][5])
    assert second in receipts["stalled"]
    assert told["tip_slot"] == world.chain.slot_at("confirmed")
    assert told["events"] == {"confirmed": 1}
    assert "job_receipt" in text and "stalled: the node" in text

    world.faults.clear()
    async with world.listening(scan_s=0.1):
        await world.until(world.exact)
    (code, out, _), (_, rows, _) = await asyncio.gather(
        operator.hae("chain", "status", "--json"), operator.hae("chain", "quarantine", "--json")
    )
    assert code == 0
    assert json.loads(out)["quarantine"] == {"nul_in_text": 1}
    assert [row["reason"] for row in json.loads(rows)] == ["nul_in_text"]


async def _stalled(world: World) -> bool:
    return bool((await world.cursor()).get("stalled"))


async def test_a_replay_by_command(operator: Operator) -> None:
    world = operator.world
    first, last = world.create("job-1", "job-2")
    world.land()
    code, out, errors = await operator.hae("replay", "--from-start")
    assert (code, errors) == (0, "")
    assert out == "2 transactions read again from slot 0, 2 events were new\n"
    assert await world.exact()
    code, out, _ = await operator.hae("replay", "--program", "job_receipt", "--from-signature", last, "--json")
    report = json.loads(out)
    assert (code, report["new_events"], report["by_leader"]) == (0, 0, False)
    # While a listener leads, which then does it.
    await world.rows("DELETE FROM chain_events WHERE signature = $1", first)
    async with world.listening(lock=LEADER_LOCK, scan_s=0.1):
        await world.until(lambda: _led(world))
        code, out, _ = await operator.hae("replay", "--from-slot", "1")
        assert (code, out) == (0, "a listener leads and reads again from slot 1; see: hae chain status\n")
        await world.until(world.exact)


async def _led(world: World) -> bool:
    return (await world.rows("SELECT holder FROM chain_leader")) == [("test",)]


async def test_a_replay_that_cannot_be(operator: Operator) -> None:
    wrong = [
        ("replay", "--from-start", "--from-slot", "5"),
        ("replay", "--from-start", "--program", "nothing"),
        ("replay", "--from-signature", "nonsense"),
        ("replay", "--from-slot", "999999999"),
    ]
    lines = await asyncio.gather(*(operator.refused(*one) for one in wrong))
    words = ["say where to begin", "is none of", "not a transaction's signature", "the chain is at slot"]
    assert [word in line for word, line in zip(words, lines, strict=True)] == [True] * len(words), lines
    operator.environment["SOLANA_RPC_URL"] = "http://127.0.0.1:9"
    code, _, errors = await operator.hae("replay", "--from-start", env={"HAE_CHAIN_TIMEOUT_S": "1"})
    assert code == 1
    assert "no Solana RPC endpoint answered" in errors
    assert "Traceback" not in errors
