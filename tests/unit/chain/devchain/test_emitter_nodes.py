"""node_registry's instructions, in a real VM."""

from __future__ import annotations

import struct

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from app.chain.devchain.emitter import NODE_SPACE
from tests.unit.chain.devchain.machine import NOW, SYSTEM, Landed, Machine, i64, r, s, text, w

REGISTER = bytes([102, 85, 117, 114, 194, 188, 211, 168])
UPDATE = bytes([89, 45, 26, 252, 193, 158, 117, 24])
DEREGISTER = bytes([92, 177, 93, 30, 69, 177, 46, 177])
NODE_ACCOUNT = bytes.fromhex("7da61292c37f56dc")
REGISTERED = bytes.fromhex("0f39b73b5d379dc3")
UPDATED = bytes.fromhex("1e2f8ed280907173")
DEREGISTERED = bytes.fromhex("0d0a002f23983408")


@pytest.fixture
def machine() -> Machine:
    return Machine()


def node(owner: Pubkey, bump: int, *, heartbeat: int = NOW, status: int = 0, strings: bytes = b"") -> bytes:
    """A NodeAccount that has done nothing yet."""
    strings = strings or text("node_1") + text("g" * 64) + text("EU")
    numbers = struct.pack("<qqBQHQQB", NOW, heartbeat, status, 0, 100, 0, 0, bump)
    return (NODE_ACCOUNT + bytes(owner) + strings + numbers).ljust(NODE_SPACE, b"\0")


def register(
    machine: Machine,
    node_id: str = "node_1",
    gpu: str = "g" * 64,
    location: str = "EU",
    held: bytes = bytes(NODE_SPACE),
) -> tuple[Landed, Pubkey, int]:
    owner = machine.payer.pubkey()
    key, bump = Pubkey.find_program_address([b"node", bytes(owner), node_id.encode()[:32]], machine.id)
    machine.account(held, key=key)
    data = REGISTER + text(node_id) + text(gpu) + text(location)
    return machine.call(data, w(key), s(owner), r(SYSTEM)), key, bump


@pytest.mark.parametrize("node_id", ["node_1", "n" * 32])
def test_registering_writes_the_account_and_emits(machine: Machine, node_id: str) -> None:
    landed, key, bump = register(machine, node_id)
    owner = machine.payer.pubkey()
    assert machine.data(key) == node(owner, bump, strings=text(node_id) + text("g" * 64) + text("EU"))
    assert landed.events == [(machine.id, REGISTERED + text(node_id) + bytes(owner) + i64(NOW))]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"node_id": "n" * 65}, 6000),
        ({"gpu": "g" * 65}, 6001),
        ({"location": "l" * 65}, 6002),
        ({"held": NODE_ACCOUNT.ljust(NODE_SPACE)}, 6004),
        ({"node_id": "n" * 33}, 2006),
        ({"held": bytes(120)}, 2),
    ],
)
def test_what_registering_refuses(machine: Machine, change: dict[str, object], code: int) -> None:
    landed, key, _ = register(machine, **change)  # type: ignore[arg-type]
    assert (landed.code, landed.events) == (code, [])
    assert machine.data(key) == change.get("held", bytes(NODE_SPACE))


def test_registering_needs_signature_accounts_and_arguments(machine: Machine) -> None:
    data, key, owner = (
        REGISTER + text("n") + text("g") + text("l"),
        machine.account(bytes(NODE_SPACE)),
        machine.payer.pubkey(),
    )
    assert machine.call(data, w(key), s(owner), r(SYSTEM)).code == 2006
    assert machine.call(data, w(key), r(Keypair().pubkey()), r(SYSTEM)).code == 3010
    assert machine.call(data, w(key), s(owner)).code == 1
    for size in range(8, len(data)):
        assert machine.call(data[:size], w(key), s(owner), r(SYSTEM)).code == 1


@pytest.mark.parametrize("status", [0, 1, 2])
def test_updating_the_status(machine: Machine, status: int) -> None:
    owner = machine.payer.pubkey()
    key = machine.account(node(owner, 9, heartbeat=5, status=2 - status))
    landed = machine.call(UPDATE + bytes([status]), w(key), s(owner))
    assert landed.events == [(machine.id, UPDATED + text("node_1") + bytes([status]) + i64(NOW))]
    assert machine.data(key) == node(owner, 9, status=status)


def test_deregistering_closes_the_account(machine: Machine) -> None:
    owner = machine.payer.pubkey()
    key = machine.account(node(owner, 9))
    before = machine.svm.get_balance(owner) or 0
    landed = machine.call(DEREGISTER, w(key), w(owner))
    assert landed.events == [(machine.id, DEREGISTERED + text("node_1") + bytes(owner) + i64(NOW))]
    assert machine.svm.get_account(key) is None
    fee, rent = 5000, machine.svm.minimum_balance_for_rent_exemption(NODE_SPACE)
    assert machine.svm.get_balance(owner) == before + rent - fee


@pytest.mark.parametrize("data", [UPDATE + b"\1", DEREGISTER])
def test_only_the_owner(machine: Machine, data: bytes) -> None:
    owner, thief = machine.payer.pubkey(), Keypair()
    whole = node(owner, 9)
    key = machine.account(whole)
    assert machine.call(data, w(key), w(thief.pubkey())).code == 3010
    assert machine.call(data, w(key), s(thief.pubkey()), signers=[thief]).code == 6006
    assert machine.call(data, w(key)).code == 1
    exact = whole.rstrip(b"\0")
    for wrong in (b"\0" + whole[1:], *(exact[:size] for size in range(len(exact)))):
        assert machine.call(data, w(machine.account(wrong)), s(owner)).code == 1
    assert machine.call(data, w(machine.account(exact)), s(owner)).error is None
    assert machine.data(key) == whole


def test_a_status_that_is_none(machine: Machine) -> None:
    key = machine.account(node(machine.payer.pubkey(), 9))
    for data in (UPDATE, UPDATE + b"\3"):
        assert machine.call(data, w(key), s(machine.payer.pubkey())).code == 1
