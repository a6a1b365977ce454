"""app.chain.transactions"""

from __future__ import annotations

import contextlib
import copy
import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import AccountMeta
from solders.instruction import Instruction as SoldersInstruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0, MessageV1
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from app.chain.model import Instruction, TokenBalance
from app.chain.transactions import LEGACY, TransactionError, parse_transaction
from tests.support.invocations import FOREIGN, RECEIPT, SYSTEM, key

PAYER = Keypair.from_seed(bytes(32))
TABLE = AddressLookupTableAccount(
    Pubkey.from_string(key(100)), [Pubkey.from_string(key(n)) for n in (101, 102, 103, 104)]
)
DATA = bytes(range(40))
CALLS = [
    SoldersInstruction(
        Pubkey.from_string(RECEIPT),
        DATA,
        [
            AccountMeta(Pubkey.from_string(key(103)), False, True),
            AccountMeta(PAYER.pubkey(), True, True),
            AccountMeta(Pubkey.from_string(key(101)), False, False),
        ],
    ),
    SoldersInstruction(Pubkey.from_string(SYSTEM), b"", []),
]


def signed(version: int) -> VersionedTransaction:
    payer, blockhash = PAYER.pubkey(), Hash.default()
    message: Message | MessageV0 | MessageV1
    if version == LEGACY:
        message = Message.new_with_blockhash(CALLS, payer, blockhash)
    elif version == 0:
        message = MessageV0.try_compile(payer, CALLS, [TABLE], blockhash)
    else:
        message = MessageV1.try_compile(payer, CALLS, blockhash)
    return VersionedTransaction(message, [PAYER])


def answer(version: int, encoding: str) -> dict[str, Any]:
    """As getTransaction gives it; in ``inner`` ours calls another program."""
    tx = signed(version)
    message = tx.message
    keys = [str(one) for one in message.account_keys]
    loaded = {"writable": [key(103)], "readonly": [key(101)]} if version == 0 else {"writable": [], "readonly": []}
    everyone = [*keys, *loaded["writable"], *loaded["readonly"]]
    compiled: list[dict[str, Any]] = [
        {
            "programIdIndex": one.program_id_index,
            "accounts": list(one.accounts),
            "data": b58(bytes(one.data)),
            "stackHeight": None,
        }
        for one in message.instructions
    ]
    called: dict[str, Any] = {
        "programIdIndex": everyone.index(SYSTEM),
        "accounts": [0],
        "data": b58(b"\1\2"),
        "stackHeight": 2,
    }
    meta: dict[str, Any] = {
        "err": None,
        "status": {"Ok": None},
        "fee": 5000,
        "innerInstructions": [{"index": 0, "instructions": [called]}],
        "logMessages": ["one", "two"],
        "preTokenBalances": [],
        "postTokenBalances": [
            {
                "accountIndex": everyone.index(key(101)),
                "mint": key(50),
                "owner": key(51),
                "programId": "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
                "uiTokenAmount": {"amount": "18446744073709551615", "decimals": 9, "uiAmount": 1.0},
            }
        ],
        "loadedAddresses": loaded,
    }
    if encoding in ("base64", "base58"):
        raw = bytes(tx)
        body: Any = [b64encode(raw).decode() if encoding == "base64" else b58(raw), encoding]
    elif encoding == "bare base58":
        body = b58(bytes(tx))
    else:
        inside = {"accountKeys": keys, "instructions": compiled, "recentBlockhash": key(9), "header": {}}
        if version == 0:
            table = {"accountKey": key(100), "writableIndexes": [2], "readonlyIndexes": [0]}
            inside["addressTableLookups"] = [table]
        body = {"signatures": [str(tx.signatures[0])], "message": inside}
        if encoding == "jsonParsed":
            del meta["loadedAddresses"]
            inside["accountKeys"] = [{"pubkey": one, "signer": False, "writable": True} for one in everyone]
            for one in (*compiled, called):
                accounts = [everyone[index] for index in one.pop("accounts")]
                one["programId"] = everyone[one.pop("programIdIndex")]
                one["accounts"] = accounts
            called.clear()
            called |= {"program": "system", "programId": SYSTEM, "parsed": {"type": "transfer"}, "stackHeight": 2}
    shown = "legacy" if version == LEGACY else version
    return {"slot": 77, "blockTime": 1_700_000_000, "transaction": body, "meta": meta, "version": shown}


ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def b58(raw: bytes) -> str:
    number, text = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = ALPHABET[digit] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text


ENCODINGS = ["json", "jsonParsed", "base64", "base58", "bare base58"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("version", [LEGACY, 0, 1])
def test_every_version_in_every_encoding(version: int, encoding: str) -> None:
    tx = parse_transaction(answer(version, encoding))
    assert tx.signature == str(signed(version).signatures[0])
    assert (tx.slot, tx.block_time, tx.version, tx.error) == (77, 1_700_000_000, version, None)
    assert tx.instructions == (
        Instruction(RECEIPT, (key(103), str(PAYER.pubkey()), key(101)), DATA, 1),
        Instruction(SYSTEM, (), b"", 1),
    )
    called = Instruction(SYSTEM, (str(PAYER.pubkey()),), b"\1\2", 2)
    if encoding == "jsonParsed":
        called = Instruction(SYSTEM, (), b"", 2)
    assert tx.inner == {0: (called,)}
    assert tx.logs == ("one", "two")
    assert tx.post_balances == (TokenBalance(key(101), key(50), key(51), 2**64 - 1),)
    assert tx.pre_balances == ()
    if version == 0:
        # The message's own, then loaded ones: writable, read-only.
        assert tx.accounts[-2:] == (key(103), key(101))
    assert set(tx.accounts) == {str(PAYER.pubkey()), RECEIPT, SYSTEM, key(103), key(101)}


def test_entries_of_blocks_have_no_slot_of_their_own() -> None:
    item = answer(0, "json")
    del item["slot"], item["blockTime"]
    tx = parse_transaction(item, slot=5, block_time=6)
    assert (tx.slot, tx.block_time) == (5, 6)
    assert parse_transaction(item, slot=5).block_time is None
    with pytest.raises(TransactionError, match="None is no slot"):
        parse_transaction(item)
    assert parse_transaction(answer(0, "json"), slot=5, block_time=6).slot == 77


@pytest.mark.parametrize(("version", "encoding"), [(LEGACY, "json"), (0, "json"), (1, "base64"), (0, "base64")])
def test_the_version_need_not_be_told(version: int, encoding: str) -> None:
    given = answer(version, encoding)
    del given["version"]
    assert parse_transaction(given).version == version


def test_what_a_node_may_leave_out() -> None:
    given = answer(LEGACY, "json")
    for name in ("innerInstructions", "logMessages", "preTokenBalances", "postTokenBalances"):
        given["meta"][name] = None
    del given["meta"]["loadedAddresses"], given["blockTime"]
    tx = parse_transaction(given)
    assert (tx.inner, tx.logs, tx.pre_balances, tx.block_time) == ({}, None, (), None)
    given["meta"]["err"] = {"InstructionError": [0, {"NewKindOfError": []}]}
    assert parse_transaction(given).error == {"InstructionError": [0, {"NewKindOfError": []}]}
    without_height = answer(LEGACY, "json")
    del without_height["meta"]["innerInstructions"][0]["instructions"][0]["stackHeight"]
    assert parse_transaction(without_height).inner[0][0].height is None


def changed(path: str, value: Any) -> dict[str, Any]:
    """A good answer with one thing changed; ``...`` takes it away."""
    given = answer(0, "json")
    place: Any = given
    *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    for step in steps:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return given


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("meta", None),
        ("meta", ...),
        ("meta", []),
        ("meta/err", ...),
        ("slot", -1),
        ("slot", True),
        ("slot", "77"),
        ("slot", 2**63),
        ("blockTime", "now"),
        ("blockTime", 2**63),
        ("version", "1"),
        ("version", -1),
        ("version", 1.0),
        ("transaction", None),
        ("transaction", ["", "base64"]),
        ("transaction", ["@@", "base64"]),
        ("transaction", ["AQ==", "base64"]),
        ("transaction", ["", "base64+zstd"]),
        ("transaction", ["a", "b", "c"]),
        ("transaction", "0OIl"),
        ("transaction/signatures", []),
        ("transaction/signatures", ["1" * 65]),
        ("transaction/signatures", [7]),
        ("transaction/message", None),
        ("transaction/message/accountKeys", "key"),
        ("transaction/message/accountKeys/0", "short"),
        ("transaction/message/accountKeys/0", None),
        ("transaction/message/accountKeys/0", {"pubkey": 1}),
        ("transaction/message/instructions", {}),
        ("transaction/message/instructions/0", None),
        ("transaction/message/instructions/0/programIdIndex", 99),
        ("transaction/message/instructions/0/programIdIndex", -1),
        ("transaction/message/instructions/0/programIdIndex", True),
        ("transaction/message/instructions/0/accounts", None),
        ("transaction/message/instructions/0/accounts/0", 99),
        ("transaction/message/instructions/0/accounts/0", -1),
        ("transaction/message/instructions/0/data", "not base58!"),
        ("transaction/message/instructions/0/data", "z" * 20_000),
        ("transaction/message/instructions/0/data", [1, 2]),
        ("meta/loadedAddresses/writable", None),
        ("meta/loadedAddresses/readonly/0", "short"),
        ("meta/loadedAddresses/readonly", []),
        ("meta/innerInstructions", {"a": 1}),
        ("meta/innerInstructions/0/index", 2),
        ("meta/innerInstructions/0/index", -1),
        ("meta/innerInstructions/0/index", None),
        ("meta/innerInstructions/0/instructions", None),
        ("meta/innerInstructions/0/instructions/0/stackHeight", "2"),
        ("meta/innerInstructions/0/instructions/0/programIdIndex", ...),
        ("meta/logMessages", "text"),
        ("meta/logMessages/0", None),
        ("meta/postTokenBalances/0/accountIndex", 99),
        ("meta/postTokenBalances/0/mint", ""),
        ("meta/postTokenBalances/0/owner", "x"),
        ("meta/postTokenBalances/0/uiTokenAmount/amount", 5),
        ("meta/postTokenBalances/0/uiTokenAmount/amount", "-5"),
        ("meta/postTokenBalances/0/uiTokenAmount/amount", "1.5"),
        ("meta/postTokenBalances/0/uiTokenAmount/amount", "٥"),
        ("meta/postTokenBalances/0/uiTokenAmount/amount", "18446744073709551616"),
        ("meta/postTokenBalances/0/uiTokenAmount", None),
    ],
)
def test_what_is_malformed(path: str, value: Any) -> None:
    with pytest.raises(TransactionError, match=r"\A[^\n]+\Z"):
        parse_transaction(changed(path, value))


def test_inner_instructions_twice() -> None:
    given = answer(0, "json")
    given["meta"]["innerInstructions"] *= 2
    with pytest.raises(TransactionError, match="inner instructions of 0 twice"):
        parse_transaction(given)


@pytest.mark.parametrize("given", [None, [], "", 7, {}, {"meta": {}, "transaction": {}}])
def test_what_is_no_transaction_at_all(given: Any) -> None:
    with pytest.raises(TransactionError):
        parse_transaction(given, slot=1)


def test_a_balance_without_an_owner() -> None:
    tx = parse_transaction(changed("meta/postTokenBalances/0/owner", ...))
    assert tx.post_balances[0].owner == ""


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        found += paths(inner, (*path, name))
    return found


ANSWERS = [answer(version, encoding) for version in (LEGACY, 0, 1) for encoding in ENCODINGS]
JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 0, 300, 2**70, 1.5, "", "1", FOREIGN, "\ud800", "a" * 99, [], [[]], {}, {"a": 1}]
)


@given(st.data())
def test_nothing_but_a_transaction_error_comes_of_junk(data: st.DataObject) -> None:
    given_ = copy.deepcopy(data.draw(st.sampled_from(ANSWERS)))
    for _ in range(data.draw(st.integers(1, 3))):
        choices = paths(given_)
        *steps, last = data.draw(st.sampled_from(choices)) if choices else [None]
        place: Any = given_
        for step in steps:
            place = place[step]
        if last is not None:
            place[last] = copy.deepcopy(data.draw(JUNK))
    with contextlib.suppress(TransactionError):
        parse_transaction(given_)


@given(st.binary(max_size=300), st.integers(0, 2))
def test_nothing_but_a_transaction_error_comes_of_junk_bytes(junk: bytes, start: int) -> None:
    whole = bytes(signed((LEGACY, 0, 1)[start]))
    given_ = json.loads(json.dumps(ANSWERS[2]))
    for raw in (junk, whole[: len(junk)], whole[: len(junk)] + junk):
        given_["transaction"] = [b64encode(raw).decode(), "base64"]
        with contextlib.suppress(TransactionError):
            parse_transaction(given_)
