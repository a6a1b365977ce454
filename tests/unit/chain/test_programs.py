"""app.chain.programs"""

from __future__ import annotations

from typing import Any

import pytest
from solders.pubkey import Pubkey

from app.chain.programs import EVENT_NAMES, TEXT_LIMITS, Programs, check_program_id, refusal
from app.core.errors import InvalidInput
from tests.support.invocations import (
    IDLS,
    PROGRAMS,
    RECEIPT,
    REGISTRY,
    SPLITTER,
    call,
    created,
    event,
    key,
    transaction,
)
from tests.support.invocations import Data as DataLine

PUBLISHED_SPLITTER = "HyPErNoDePaymEntSpLiTtErProGramId1234567"


def test_the_programs() -> None:
    assert PROGRAMS.ids == (REGISTRY, RECEIPT, SPLITTER)
    assert (PROGRAMS.node_registry, PROGRAMS.job_receipt, PROGRAMS.payment_splitter) == PROGRAMS.ids
    decoder = PROGRAMS.decoder_of(RECEIPT)
    assert decoder is not None and decoder.event(created("j"))[0] == "JobCreatedEvent"
    assert PROGRAMS.decoder_of(key(1)) is None


def test_the_splitter_need_not_be_indexed() -> None:
    programs = Programs(REGISTRY, RECEIPT, "")
    assert programs.ids == (REGISTRY, RECEIPT)
    assert programs.decoder_of(SPLITTER) is None
    withdrawn = event(SPLITTER, "TreasuryWithdrawalEvent", amount=1, destination=key(1), timestamp=1)
    tx = transaction(call(SPLITTER, DataLine(withdrawn)))
    assert programs.decoder.read(tx).events == []
    assert [one.name for one in PROGRAMS.decoder.read(tx).events] == ["TreasuryWithdrawalEvent"]


@pytest.mark.parametrize("text", ["", "x", PUBLISHED_SPLITTER, REGISTRY[:-2], REGISTRY + "1", f" {REGISTRY}", "0" * 44])
def test_a_bad_id_is_one_clear_line(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_program_id(text, "JOB_RECEIPT_PROGRAM_ID")
    assert caught.value.field == "JOB_RECEIPT_PROGRAM_ID"
    assert caught.value.detail == (f"JOB_RECEIPT_PROGRAM_ID: {text!r} is not a program id, which is base58 of 32 bytes")
    with pytest.raises(InvalidInput):
        Programs(REGISTRY, text, SPLITTER)


def test_an_id_given_twice() -> None:
    with pytest.raises(InvalidInput, match="two programs have the same id"):
        Programs(REGISTRY, REGISTRY, SPLITTER)


def test_addresses() -> None:
    owner = key(5)
    expected, _ = Pubkey.find_program_address(
        [b"node", bytes(Pubkey.from_string(owner)), b"n-1"], Pubkey.from_string(REGISTRY)
    )
    assert PROGRAMS.node_address(owner, "n-1") == str(expected)
    expected, _ = Pubkey.find_program_address(
        [b"job", bytes(Pubkey.from_string(owner)), "jö".encode()], Pubkey.from_string(RECEIPT)
    )
    assert PROGRAMS.job_address(owner, "jö") == str(expected)
    assert PROGRAMS.job_address(owner, "j" * 32) is not None
    # No such account can exist.
    assert PROGRAMS.job_address(owner, "j" * 33) is None
    assert PROGRAMS.node_address(owner, "ö" * 17) is None
    with pytest.raises(ValueError, match=r"wrong size|Invalid"):
        PROGRAMS.job_address("owner", "j")


def test_every_event_has_a_name_in_the_engine() -> None:
    assert set(EVENT_NAMES) == {one.name for idl in IDLS.values() for one in idl.events}
    for wanted in ("NodeRegistered", "JobCreated", "JobCompleted", "PaymentDistributed"):
        assert wanted in EVENT_NAMES.values()


COMPLETED = {"job_id": "j", "operator": key(1), "result_hash": "h", "logs_url": "u", "timestamp": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"job_id": "", "result_hash": "", "logs_url": ""}, ""),
        ({"job_id": "j" * 32}, ""),
        ({"job_id": "j" * 33}, "over_long"),
        ({"job_id": "ö" * 16}, ""),
        ({"job_id": "ö" * 17}, "over_long"),
        ({"result_hash": "h" * 64}, ""),
        ({"result_hash": "h" * 65}, "over_long"),
        ({"logs_url": "u" * 128}, ""),
        ({"logs_url": "u" * 129}, "over_long"),
        ({"logs_url": "a\0"}, "nul_in_text"),
        ({"job_id": "\0" * 99}, "nul_in_text"),
    ],
)
def test_texts_that_must_not_be_stored(change: dict[str, Any], reason: str) -> None:
    data = COMPLETED | change
    assert refusal("JobCompletedEvent", data) == reason
    reading = PROGRAMS.decoder.read(transaction(call(RECEIPT, DataLine(event(RECEIPT, "JobCompletedEvent", **data)))))
    assert [one.reason for one in reading.quarantined] == ([reason] if reason else [])
    assert [one.data for one in reading.events] == ([] if reason else [data])


def test_limits_hold_for_every_text_of_every_event() -> None:
    for name in ("NodeRegistered", "JobAssignedEvent"):
        long = {"node_id": "n" * (TEXT_LIMITS["node_id"] + 1), "job_id": "j"}
        assert refusal(name, long) == "over_long"
    assert refusal("PaymentProcessedEvent", {"total_amount": 1}) == ""
