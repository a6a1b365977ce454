"""Instructions as the programs read them, and their errors by name."""

from __future__ import annotations

import struct

import pytest
from solders.pubkey import Pubkey

from app.chain.devchain import JOB_RECEIPT, NODE_REGISTRY
from app.chain.instructions import ProgramCalls, create_token_account, token_account
from app.chain.programs import Programs
from app.chain.schema import IdlError
from app.chain.shapes import Primitive, Vec

JOBS = ProgramCalls("job_receipt", JOB_RECEIPT)
NODES = ProgramCalls("node_registry", NODE_REGISTRY)
SYSTEM = Pubkey.default()
TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
A, B, C, D, E, F = (Pubkey.from_bytes(bytes([number]) * 32) for number in range(1, 7))


def text(value: str) -> bytes:
    return struct.pack("<I", len(value.encode())) + value.encode()


def test_assign_job_byte_for_byte() -> None:
    step = JOBS.build("assign_job", {"node_id": "nœud"}, {"job_account": A, "authority": B, "node_operator": C})
    assert str(step.program_id) == JOB_RECEIPT
    assert step.data == bytes([37, 235, 105, 13, 196, 58, 248, 10]) + text("nœud")
    assert [(one.pubkey, one.is_signer, one.is_writable) for one in step.accounts] == [
        (A, False, True),
        (B, True, False),
        (C, False, False),
    ]


def test_settle_job_knows_the_token_program_by_itself() -> None:
    step = JOBS.build(
        "settle_job",
        {},
        {
            "job_account": A,
            "client_token_account": B,
            "operator_token_account": C,
            "treasury_token_account": D,
            "incentive_pool_account": E,
            "authority": F,
        },
    )
    assert step.data == bytes([246, 155, 221, 34, 168, 70, 173, 72])
    assert [one.pubkey for one in step.accounts] == [A, B, C, D, E, F, TOKEN]
    assert [(one.is_signer, one.is_writable) for one in step.accounts] == [(False, True)] * 5 + [
        (True, False),
        (False, False),
    ]


def test_derived_addresses_and_numbers() -> None:
    most = 2**64 - 1
    args = {"job_id": "job_1", "job_type": 5, "price": most, "requirements_hash": "f" * 64}
    step = JOBS.build("create_job", args, {"client": A})
    assert step.data[8:] == text("job_1") + b"\5" + struct.pack("<Q", most) + text("f" * 64)
    address = Programs(NODE_REGISTRY, JOB_RECEIPT).job_address(str(A), "job_1")
    assert [str(one.pubkey) for one in step.accounts] == [address, str(A), str(SYSTEM)]


@pytest.mark.parametrize("status", ["Suspended", {"Suspended": {}}])
def test_an_enum_is_written_as_it_is_read(status: object) -> None:
    step = NODES.build("update_node_status", {"status": status}, {"node_account": A, "owner": B})
    assert step.data[8:] == b"\2"
    decoder = Programs(NODE_REGISTRY, JOB_RECEIPT).decoder_of(NODE_REGISTRY)
    assert decoder is not None
    assert decoder.instruction(step.data) == ("update_node_status", {"status": {"Suspended": {}}})


@pytest.mark.parametrize(
    ("args", "accounts", "error"),
    [
        ({}, {"client": A}, KeyError),
        ({"job_id": "a", "job_type": 256, "price": 1, "requirements_hash": ""}, {"client": A}, OverflowError),
        ({"job_id": "a", "job_type": 1, "price": -1, "requirements_hash": ""}, {"client": A}, OverflowError),
        ({"job_id": "a" * 33, "job_type": 1, "price": 1, "requirements_hash": ""}, {"client": A}, ValueError),
        ({"job_id": "a", "job_type": 1, "price": 1, "requirements_hash": ""}, {}, KeyError),
    ],
)
def test_what_cannot_be_built(args: dict[str, object], accounts: dict[str, Pubkey], error: type[Exception]) -> None:
    with pytest.raises(error):
        JOBS.build("create_job", args, accounts)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(KeyError, match="assign_job needs the account node_operator"):
        JOBS.build("assign_job", {"node_id": "a"}, {"job_account": A, "authority": B})


def test_a_type_that_cannot_be_written_is_said_to_be_so() -> None:
    with pytest.raises(IdlError, match="cannot write Vec"):
        JOBS._written(Vec(Primitive("u8")), [1])


@pytest.mark.parametrize(
    ("err", "logs", "expected"),
    [
        ({"InstructionError": [1, {"Custom": 6005}]}, [], "JobNotPending: Job is not pending"),
        (
            {"InstructionError": [1, {"Custom": 4}]},
            ["Program log: Instruction: Transfer", "Program log: Error: owner does not match", "Program X failed"],
            '{"InstructionError":[1,{"Custom":4}]}: Error: owner does not match',
        ),
        (
            {"InstructionError": [0, "ProgramFailedToComplete"]},
            [],
            '{"InstructionError":[0,"ProgramFailedToComplete"]}',
        ),
        ("AccountNotFound", [], "AccountNotFound"),
        ({"NobodyKnows": {"a": 1}}, ["Program log: fine"], '{"NobodyKnows":{"a":1}}'),
        ({"InstructionError": []}, [], '{"InstructionError":[]}'),
        (7, [], "7"),
    ],
)
def test_a_failure_in_a_line(err: object, logs: list[str], expected: str) -> None:
    assert JOBS.failure(err, logs) == expected


def test_a_failure_stays_a_line() -> None:
    assert len(JOBS.failure("x" * 9000, ["Program log: error " + "y" * 9000])) < 500


def test_token_accounts_are_the_associated_ones() -> None:
    program = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
    derived, _ = Pubkey.find_program_address([bytes(A), bytes(TOKEN), bytes(B)], program)
    assert token_account(A, B) == derived
    opened = create_token_account(C, A, B)
    assert (opened.program_id, opened.data, opened.accounts[1].pubkey) == (program, b"\1", derived)
