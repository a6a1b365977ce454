"""Logs that were made to mislead: exactly the expected events, and everything else where it belongs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from app.chain.decode import Decoder, ProgramDecoder
from app.chain.model import Instruction, Reading, Transaction
from app.chain.shapes import Idl
from tests.conformance.solana import COPIED, SHARED, plain
from tests.support.invocations import IDLS, PROGRAMS

CASES: list[dict[str, Any]] = json.loads((COPIED / "adversarial_logs.json").read_bytes())["cases"]
PLAIN = Decoder(ProgramDecoder(program, idl) for program, idl in IDLS.items())
REASONS = {
    "undecodable:trailing": "trailing_bytes",
    "undecodable:short": "short",
    "undecodable:utf8": "invalid_value",
    "undecodable:enum": "invalid_value",
    "unknown_discriminator": "unknown_discriminator",
    "not_anchor_line": "not_anchor_line",
}
INVOKE = re.compile(r"Program (\S+) invoke \[(\d+)\]")


def transaction(case: dict[str, Any]) -> Transaction:
    """The transaction that would have logged this: lines that are the runtime's say what was called."""
    inner: dict[int, list[Instruction]] = {}
    top, outer = case["top_level_programs"], -1
    for line in case["logs"] or ():
        called = INVOKE.fullmatch(line)
        if called is not None and called[2] == "1":
            outer = top.index(called[1], outer + 1)
        elif called is not None:
            inner.setdefault(outer, []).append(Instruction(called[1], (), b"", int(called[2])))
    return Transaction(
        signature="s",
        slot=1,
        block_time=1,
        version=0,
        error=case["err"],
        accounts=tuple(top),
        instructions=tuple(Instruction(program, (), b"") for program in top),
        inner={outer: tuple(called) for outer, called in inner.items()},
        logs=None if case["logs"] is None else tuple(case["logs"]),
    )


def events(reading: Reading) -> list[dict[str, Any]]:
    return [
        {
            "program": one.key.program,
            "name": one.name,
            "data": _plain(IDLS[one.key.program], one.name, one.data),
            "instruction_index": one.key.outer,
        }
        for one in reading.events
    ]


def _plain(idl: Idl, name: str, data: Any) -> Any:
    return plain(idl, next(one.type for one in idl.events if one.name == name), data, legacy=False)


def is_known(program: str, raw: bytes) -> bool:
    return raw[:8] in {one.discriminator for one in IDLS[program].events}


@pytest.mark.parametrize("case", CASES, ids=[one["name"] for one in CASES])
def test_cases(case: dict[str, Any]) -> None:
    tx = transaction(case)
    wanted = [{key: value for key, value in one.items() if key != "log_index"} for one in case["expected"]]
    policy = case["policy"]
    by_logs = PLAIN.logs_only(case["logs"], case["top_level_programs"], case["err"])
    for reading in (PLAIN.read(tx), by_logs):
        assert events(reading) == wanted
        keys = [one.key for one in reading.events] + [one.key for one in reading.quarantined]
        assert len(set(keys)) == len(keys)
        if case["name"].startswith("random_"):
            # Its policies are not written down: our programs emit one another's events in them.
            assert all(one.reason == "unknown_discriminator" for one in reading.quarantined)
            assert not any(is_known(one.key.program, one.raw) for one in reading.quarantined)
        else:
            assert [one.reason for one in reading.quarantined] == [REASONS[one] for one in policy if one in REASONS]
        assert reading.truncated == ("incomplete_logs" in policy)
        if policy == ["not_committed"]:
            assert reading == Reading()
    if case["name"] == "nul_and_bidi_text":
        refused = PROGRAMS.decoder.read(tx)
        assert (refused.events, [one.reason for one in refused.quarantined]) == ([], ["nul_in_text"])
    else:
        assert PROGRAMS.decoder.read(tx) == PLAIN.read(tx)


def test_what_was_truncated_is_said_to_be_unread() -> None:
    found = {case["name"]: PLAIN.read(transaction(case)) for case in CASES if "incomplete_logs" in case["policy"]}
    unread = {name: [(outer, inner) for outer, inner, _ in reading.unread] for name, reading in found.items()}
    assert unread == {
        "truncated_after_event": [],
        "truncated_before_event": [(40, -1)],
        "data_after_truncation": [(0, -1)],
        "logs_null": [(0, -1)],
        "logs_empty_success": [(0, -1)],
    }


@pytest.mark.skipif(not SHARED.is_dir(), reason="the whole collection is not beside the project")
def test_the_copy_is_the_original() -> None:
    assert json.loads((SHARED / "adversarial_logs.json").read_bytes())["cases"] == CASES
