from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from solders.instruction import Instruction

from app.chain.devchain.emitter import program, record
from app.chain.devchain.errors import RpcError
from app.chain.devchain.money import keypair
from app.chain.devchain.node import Node
from tests.unit.chain.devchain.chains import ALICE, RECEIPT, SOL, ask, asking, manual, paying, wire


@pytest.fixture
def node() -> Node:
    return asking(manual())


def wrong(node: Node, method: str, *params: Any) -> str:
    with pytest.raises(RpcError) as caught:
        ask(node, method, *params)
    assert caught.value.code == -32602
    return caught.value.message


def test_slots_are_advanced_and_skipped(node: Node) -> None:
    slot = node.chain.slot
    assert ask(node, "devchain_advance") == {"slot": slot + 1}
    assert ask(node, "devchain_advance", 3) == {"slot": slot + 4}
    assert ask(node, "devchain_skipSlots", 2) == {"slot": slot + 7}
    assert node.chain.blocks.between(slot + 4, slot + 7) == [slot + 4]
    wrong(node, "devchain_advance", -1)
    wrong(node, "devchain_advance", 10**9)


def test_forks_are_made(node: Node) -> None:
    kept, lost = (node.chain.send(paying(node.chain, SOL + number)) for number in range(2))
    slot = node.chain.slot
    node.chain.advance()
    answer = ask(node, "devchain_fork", {"depth": 1, "drop": [str(lost.signature)]})
    assert answer == {
        **{"forkSlot": slot - 1, "slot": slot + 2},
        **{"dropped": [str(lost.signature)], "reland": [str(kept.signature)]},
    }
    assert ask(node, "devchain_fork", {"depth": 0, "reland": 2})["reland"] == [str(kept.signature)]
    assert "finalized" in wrong(node, "devchain_fork", {"depth": 50})
    wrong(node, "devchain_fork", {"drop": "all"})
    wrong(node, "devchain_fork", {"reland": -1})


def test_accounts_and_programs_are_put_there(node: Node) -> None:
    key = keypair("put").pubkey()
    ask(node, "devchain_setAccount", str(key), {"data": b64encode(b"state").decode(), "owner": str(RECEIPT)})
    account = node.chain.account(key)
    assert account is not None and (account.data, account.owner) == (b"state", RECEIPT)
    assert account.lamports == node.chain.bank.svm.minimum_balance_for_rent_exemption(5)
    ask(node, "devchain_setAccount", str(key), {"data": ["AA==", "base64"], "lamports": 7})
    account = node.chain.account(key)
    assert account is not None and (account.lamports, account.data) == (7, b"\0")
    wrong(node, "devchain_setAccount", str(key), {"data": "!"})
    wrong(node, "devchain_setAccount", str(key), {"lamports": -5})
    late = keypair("late program").pubkey()
    ask(node, "devchain_deployProgram", str(late), b64encode(program()).decode())
    assert node.chain.send(node.chain.sign([Instruction(late, record(b"x"), [])], [ALICE])).err is None
    assert "not a program" in wrong(node, "devchain_deployProgram", str(keypair("bad").pubkey()), "AAAA")


def test_many_transactions_are_loaded(node: Node) -> None:
    many = [wire(paying(node.chain, SOL + number)) for number in range(5)]
    slot = node.chain.slot
    assert ask(node, "devchain_load", many, {"perBlock": 2}) == {"count": 5, "slot": slot + 3}
    with pytest.raises(RpcError) as caught:
        ask(node, "devchain_load", many[:1])
    assert caught.value.data == "AlreadyProcessed"
    wrong(node, "devchain_load", ["AAAA"])
    wrong(node, "devchain_load", "AAAA")
    wrong(node, "devchain_load", [], {"perBlock": 0})


def test_faults_are_set_listed_and_lifted(node: Node) -> None:
    listed = ask(node, "devchain_setFaults", [{"kind": "drop", "count": 2}, {"kind": "lag", "value": 9}])
    assert [(fault["kind"], fault["left"], fault["value"]) for fault in listed] == [("drop", 2, None), ("lag", None, 9)]
    assert len(ask(node, "devchain_setFaults", {"kind": "slow"})) == 3
    status = ask(node, "devchain_status")
    assert (len(status["faults"]), status["slot"]) == (3, node.chain.slot)
    assert [fault["kind"] for fault in ask(node, "devchain_clearFaults", ["drop", "slow"])] == ["lag"]
    assert ask(node, "devchain_clearFaults") == []
    for bad in ({"kind": "nonsense"}, {}, 7, {"kind": "drop", "probability": 3}, {"kind": "drop", "odds": 1}):
        wrong(node, "devchain_setFaults", [bad])
    wrong(node, "devchain_clearFaults", ["nonsense"])
