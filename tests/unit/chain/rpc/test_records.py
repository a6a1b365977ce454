"""Reading results: what is well is read, what is not is said."""

from __future__ import annotations

from typing import Any

import pytest
from solders.signature import Signature

from app.chain.rpc import records
from app.chain.rpc.records import AccountInfo, SignatureInfo, Status

SIGNATURE = str(Signature(bytes([7] * 64)))


def entry(**changes: Any) -> dict[str, Any]:
    usual = {"signature": SIGNATURE, "slot": 5, "err": None, "memo": None, "blockTime": 1700000000}
    return usual | {"confirmationStatus": "finalized"} | changes


@pytest.mark.parametrize(
    "err", ["AccountInUse", {"InstructionError": [0, {"Custom": 1}]}, {"New": [{"in": 2030}]}, 0, []]
)
def test_any_error_variant_is_a_failure(err: Any) -> None:
    assert records.signatures([entry(err=err)]) == [SignatureInfo(SIGNATURE, 5, True, 1700000000)]


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (None, SignatureInfo("", -1, False, None, "not an object")),
        ([], SignatureInfo("", -1, False, None, "not an object")),
        ({}, SignatureInfo("", -1, False, None, "signature, slot, err")),
        (entry(signature="1111"), SignatureInfo("", 5, False, 1700000000, "signature")),
        (entry(signature=7), SignatureInfo("", 5, False, 1700000000, "signature")),
        (entry(signature="\x00"), SignatureInfo("", 5, False, 1700000000, "signature")),
        (entry(slot="5"), SignatureInfo(SIGNATURE, -1, False, 1700000000, "slot")),
        (entry(slot=True), SignatureInfo(SIGNATURE, -1, False, 1700000000, "slot")),
        (entry(slot=-1), SignatureInfo(SIGNATURE, -1, False, 1700000000, "slot")),
        (entry(slot=2**63), SignatureInfo(SIGNATURE, -1, False, 1700000000, "slot")),
        (entry(blockTime="today"), SignatureInfo(SIGNATURE, 5, False, None)),
    ],
)
def test_one_bad_entry_does_not_lose_the_page(bad: Any, expected: SignatureInfo) -> None:
    page = [entry(slot=n) for n in range(1000)]
    page[500] = bad
    found = records.signatures(page)
    assert found[500] == expected
    assert [each.slot for each in found[:500] + found[501:]] == [n for n in range(1000) if n != 500]
    assert not [each for each in found[:500] + found[501:] if each.malformed]


def account(**changes: Any) -> dict[str, Any]:
    usual = {"owner": "11111111111111111111111111111111", "lamports": 5, "data": ["AAEC", "base64"]}
    return usual | {"executable": False, "rentEpoch": 18446744073709551615, "space": 3} | changes


def test_accounts() -> None:
    found = records.accounts({"context": {"slot": 9}, "value": [account(), None, account(lamports=2**64 - 1)]}, 3)
    owner = "11111111111111111111111111111111"
    assert found == [AccountInfo(owner, 5, b"\x00\x01\x02"), None, AccountInfo(owner, 2**64 - 1, b"\x00\x01\x02")]


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        [account(), account()],
        [account(data="AAEC")],
        [account(data=["AA EC", "base64"])],
        [account(data=["é", "base64"])],
        [account(data=["AAEC", "base58"])],
        [account(owner=None)],
        ["account"],
    ],
)
def test_accounts_that_make_no_sense_are_refused(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        records.accounts({"context": {"slot": 9}, "value": value}, 1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        (
            {"slot": 1, "confirmationStatus": "processed", "confirmations": 0, "err": None},
            Status(1, "processed", False),
        ),
        ({"slot": 1, "confirmationStatus": "confirmed", "err": {"New": "variant"}}, Status(1, "confirmed", True)),
        ({"slot": 1, "confirmationStatus": "finalized", "confirmations": None}, Status(1, "finalized", False)),
        ({"slot": 1, "confirmations": None}, Status(1, "finalized", False)),
        ({"slot": 1, "confirmations": 10, "confirmationStatus": "unheard of"}, Status(1, "processed", False)),
    ],
)
def test_statuses(given: Any, expected: Status | None) -> None:
    assert records.statuses({"value": [given]}, 1) == [expected]


@pytest.mark.parametrize("result", [None, [], {"value": []}, {"value": [{}]}, {"value": [{"slot": "1"}]}])
def test_statuses_that_make_no_sense_are_refused(result: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        records.statuses(result, 1)


def test_small_ones() -> None:
    assert records.latest_blockhash({"value": {"blockhash": "abc", "lastValidBlockHeight": 9}}) == ("abc", 9)
    assert records.token_balance({"value": {"amount": "18446744073709551615", "decimals": 9}}) == 2**64 - 1
    assert records.whole(0) == 0
    assert records.whole_or_none(None) is None
    assert records.signature(SIGNATURE) == SIGNATURE
    assert records.transaction(None) is None
    assert records.transaction({"slot": 1}) == {"slot": 1}


@pytest.mark.parametrize(
    ("read", "result"),
    [
        (records.signatures, {}),
        (records.latest_blockhash, {"value": None}),
        (records.token_balance, {"value": {"amount": "-1"}}),
        (records.token_balance, {"value": {"amount": "٣"}}),
        (records.token_balance, {"value": {"amount": 5}}),
        (records.whole, True),
        (records.whole, 1.5),
        (records.whole_or_none, "now"),
        (records.signature, None),
        (records.signature, "1111"),
        (records.transaction, []),
        (records.text, None),
    ],
)
def test_nonsense_is_refused(read: Any, result: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read(result)
