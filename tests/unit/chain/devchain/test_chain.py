from __future__ import annotations

import msgspec
import pytest
from solders.account import Account
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import (
    AdvanceNonceAccountParams,
    TransferParams,
    advance_nonce_account,
    create_nonce_account,
    transfer,
)
from solders.transaction import Transaction, VersionedTransaction

from app.chain.devchain import ChainConfig, DevChain, MalformedTransaction, Rejected, TooLarge
from app.chain.devchain.config import PACKET_BYTES
from app.chain.devchain.emitter import Op, record
from app.chain.devchain.money import keypair
from tests.unit.chain.devchain.chains import ALICE, BOB, RECEIPT, SOL, emit, emitting, lamports, manual, paying


def test_a_transfer_is_there_at_once_and_final_after_the_depths() -> None:
    chain = manual()
    landed = chain.send(paying(chain))
    assert (landed.err, landed.slot) == (None, chain.slot)
    assert [lamports(chain, BOB.pubkey(), level) for level in ("processed", "confirmed", "finalized")] == [SOL, 0, 0]
    chain.advance()
    assert [lamports(chain, BOB.pubkey(), level) for level in ("confirmed", "finalized")] == [SOL, 0]
    chain.advance(3)
    assert lamports(chain, BOB.pubkey(), "finalized") == SOL


def test_a_failing_program_lands_with_its_error_logs_and_fee() -> None:
    chain = manual()
    before = lamports(chain, ALICE.pubkey())
    landed = chain.send(emitting(chain, record(b"seen") + record(bytes((7, 0, 0, 0)), Op.FAIL)))
    assert landed.err == {"InstructionError": [0, {"Custom": 7}]}
    assert next(line.split(": ")[0] for line in landed.logs if ": " in line) == "Program data"
    assert lamports(chain, ALICE.pubkey()) == before - 5000


@pytest.mark.parametrize(
    ("make", "err"),
    [
        (lambda chain: paying(chain, blockhash=Hash.default()), "BlockhashNotFound"),
        (lambda chain: chain.sign([Instruction(RECEIPT, b"", [])], [keypair("nobody")]), "AccountNotFound"),
        (
            lambda chain: VersionedTransaction.populate(paying(chain).message, [Signature.new_unique()]),
            "SignatureFailure",
        ),
        (
            lambda chain: VersionedTransaction.populate(paying(chain).message, [Signature.default()]),
            "SignatureFailure",
        ),
    ],
)
def test_what_no_block_takes_is_rejected(make: object, err: str) -> None:
    chain = manual()
    assert callable(make)
    with pytest.raises(Rejected) as caught:
        chain.send(make(chain))
    assert caught.value.err == err
    assert not chain.blocks.open.landed


def test_the_same_transaction_lands_once() -> None:
    chain = manual()
    transaction = paying(chain)
    chain.send(transaction)
    chain.advance(20)
    with pytest.raises(Rejected, match="AlreadyProcessed"):
        chain.send(transaction)


def test_a_blockhash_is_good_for_150_blocks() -> None:
    chain = manual()
    blockhash, last = chain.latest_blockhash("confirmed")
    chain.advance(last - chain.blocks.open.height)
    chain.send(paying(chain, blockhash=blockhash))
    chain.advance()
    with pytest.raises(Rejected, match="BlockhashNotFound"):
        chain.send(paying(chain, 2 * SOL, blockhash=blockhash))


def test_skipped_slots_do_not_use_up_blockhashes() -> None:
    chain = manual()
    blockhash, last = chain.latest_blockhash("confirmed")
    chain.skip(200)
    assert chain.blocks.open.height < last
    chain.send(paying(chain, blockhash=blockhash))


def test_a_packet_has_1232_bytes() -> None:
    chain = manual()
    full = PACKET_BYTES - len(bytes(emitting(chain, b""))) - 1
    assert len(bytes(emitting(chain, record(bytes(full - 4))))) == PACKET_BYTES
    chain.send(emitting(chain, record(bytes(full - 4))))
    with pytest.raises(TooLarge):
        chain.send(emitting(chain, record(bytes(full - 3))))


@pytest.mark.parametrize("raw", [b"", b"\x01", bytes(200), b"\xff" * 300, b"\x01" + bytes(64) + b"\x81" + bytes(80)])
def test_what_is_no_transaction_is_said_to_be_none(raw: bytes) -> None:
    with pytest.raises(MalformedTransaction):
        manual().send(raw)


def test_legacy_transactions_and_bytes_are_taken_as_they_are() -> None:
    chain = manual()
    blockhash, _ = chain.latest_blockhash()
    step = transfer(TransferParams(from_pubkey=ALICE.pubkey(), to_pubkey=BOB.pubkey(), lamports=SOL))
    old = Transaction([ALICE], Message.new_with_blockhash([step], ALICE.pubkey(), blockhash), blockhash)
    landed = chain.send(old)
    assert (landed.signature, landed.raw, landed.version) == (old.signatures[0], bytes(old), -1)


def test_forty_small_memos_hide_an_event_behind_the_limit_of_logs() -> None:
    chain = manual()
    memo = Instruction(Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"), b"x", [])
    landed = chain.send(chain.sign([memo] * 40 + [Instruction(RECEIPT, record(bytes(200)), [])], [ALICE]))
    assert landed.err is None
    assert "Log truncated" in landed.logs
    assert not any(line.startswith("Program data") for line in landed.logs)
    assert sum(map(len, landed.logs)) <= 10_000 + len("Log truncated")
    assert landed.memo is not None and landed.memo.startswith("[1] x; [1] x")


def test_a_durable_nonce_stands_in_for_a_blockhash() -> None:
    chain = manual()
    nonce, authority = keypair("nonce"), ALICE.pubkey()
    chain.send(chain.sign(list(create_nonce_account(authority, nonce.pubkey(), authority, SOL)), [ALICE, nonce]))
    chain.advance(200)
    account = chain.account(nonce.pubkey())
    assert account is not None
    stored = Hash.from_bytes(account.data[40:72])
    steps = [
        advance_nonce_account(AdvanceNonceAccountParams(nonce_pubkey=nonce.pubkey(), authorized_pubkey=authority)),
        transfer(TransferParams(from_pubkey=authority, to_pubkey=BOB.pubkey(), lamports=SOL)),
    ]
    transaction = VersionedTransaction(Message.new_with_blockhash(steps, authority, stored), [ALICE])
    assert chain.send(transaction).err is None
    chain.advance()
    with pytest.raises(Rejected):
        chain.send(VersionedTransaction(Message.new_with_blockhash(steps[:1], authority, stored), [ALICE]))


def test_airdrops_are_real_and_all_different() -> None:
    chain = manual()
    first, second = chain.airdrop(BOB.pubkey(), SOL), chain.airdrop(BOB.pubkey(), SOL)
    assert first.signature != second.signature
    assert lamports(chain, BOB.pubkey()) == 2 * SOL


def test_what_is_sent_later_lands_later_if_it_still_can() -> None:
    chain = manual()
    transaction = paying(chain)
    chain.send_later(transaction, 2)
    chain.send_later(paying(chain, blockhash=Hash.default()), 1)
    chain.advance()
    assert chain.transaction(transaction.signatures[0]) is None
    chain.advance()
    landed = chain.transaction(transaction.signatures[0])
    assert landed is not None and landed.slot == chain.slot


def test_simulation_changes_nothing() -> None:
    chain = manual()
    tried = chain.simulate(paying(chain))
    assert tried.err is None and tried.accounts[BOB.pubkey()].lamports == SOL
    assert lamports(chain, BOB.pubkey()) == 0
    assert chain.simulate(paying(chain, 10**15)).err == {"InstructionError": [0, {"Custom": 1}]}


def test_set_accounts_are_written_by_the_program_that_owns_them() -> None:
    chain = manual()
    state = Keypair().pubkey()
    chain.set_account(state, Account(SOL, bytes(8), RECEIPT))
    landed = chain.send(emitting(chain, record(bytes(4) + b"state", Op.WRITE), [AccountMeta(state, False, True)]))
    account = chain.account(state)
    assert landed.err is None
    assert account is not None and account.data == b"state\0\0\0"


def test_programs_can_be_added_at_any_time() -> None:
    chain = manual()
    late = keypair("late").pubkey()
    chain.deploy(late)
    assert chain.send(chain.sign([Instruction(late, record(b"here"), [])], [ALICE])).err is None
    with pytest.raises(ValueError, match="not a program"):
        chain.deploy(keypair("later").pubkey(), b"no ELF")


def test_inner_instructions_and_their_heights_are_kept() -> None:
    chain = manual()
    call = record(bytes(RECEIPT) + record(b"inside"), Op.INVOKE)
    landed = chain.send(emitting(chain, call, [AccountMeta(RECEIPT, False, False)]))
    inner = msgspec.json.decode(landed.meta)["innerInstructions"]
    assert [(group["index"], [one["stackHeight"] for one in group["instructions"]]) for group in inner] == [(0, [2])]


def test_loading_fills_blocks_in_order() -> None:
    chain = manual()
    start, many = chain.slot, [bytes(paying(chain, SOL // 10 + number)) for number in range(25)]
    assert chain.load(many, per_block=10) == 25
    assert chain.slot == start + 3
    blocks = [chain.blocks.get(start + number) for number in range(3)]
    assert [len(block.landed) for block in blocks if block] == [10, 10, 5]
    assert [bytes(landed.raw) for block in blocks if block for landed in block.landed] == many
    with pytest.raises(Rejected, match="AlreadyProcessed"):
        chain.load(many[:1])


def test_loading_may_leave_signatures_alone() -> None:
    chain = manual()
    forged = VersionedTransaction.populate(paying(chain, blockhash=Hash.default()).message, [Signature.new_unique()])
    assert chain.load([forged]) == 1
    with pytest.raises(Rejected):
        chain.load([VersionedTransaction.populate(paying(chain).message, [Signature.new_unique()])], verify=True)


def test_the_same_calls_make_the_same_chain() -> None:
    def life() -> tuple[str, bytes]:
        chain = manual(seed=5)
        chain.send(paying(chain))
        chain.advance(3)
        return str(chain.blocks.last.blockhash), chain.blocks.last.landed[0].meta if chain.blocks.last.landed else b""

    assert life() == life()
    assert manual(seed=6).blocks.last.blockhash != manual(seed=5).blocks.last.blockhash


def test_events_of_one_block_keep_their_order() -> None:
    chain = manual()
    sent = [emit(chain, bytes((number,))) for number in range(5)]
    assert [landed.index for landed in sent] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "settings",
    [{"confirm_depth": 0}, {"confirm_depth": 5, "finalize_depth": 4}, {"slot_ms": -1}, {"programs": {"no key": None}}],
)
def test_chains_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be|not a program id"):
        DevChain(ChainConfig(**settings))  # type: ignore[arg-type]


def test_lookup_tables_give_their_keys_to_the_transaction() -> None:
    from solders.address_lookup_table_account import AddressLookupTableAccount
    from solders.message import MessageV0

    chain = manual()
    table, hidden = keypair("table").pubkey(), keypair("hidden").pubkey()
    # u32 kind, u64 deactivation slot, u64 last extended slot, u8 start, option of an authority, u16; then the keys.
    head = (1).to_bytes(4, "little") + (2**64 - 1).to_bytes(8, "little") + bytes(44)
    owner = Pubkey.from_string("AddressLookupTab1e1111111111111111111111111")
    chain.set_account(table, Account(SOL, head + bytes(hidden), owner))
    chain.advance()
    step = transfer(TransferParams(from_pubkey=ALICE.pubkey(), to_pubkey=hidden, lamports=SOL))
    message = MessageV0.try_compile(
        ALICE.pubkey(), [step], [AddressLookupTableAccount(table, [hidden])], chain.latest_blockhash()[0]
    )
    landed = chain.send(VersionedTransaction(message, [ALICE]))
    meta = msgspec.json.decode(landed.meta)
    assert (landed.err, landed.version) == (None, 0)
    assert meta["loadedAddresses"] == {"writable": [str(hidden)], "readonly": []}
    assert meta["postBalances"][-1] == SOL
    assert chain.history.page(hidden, chain.slot, None, None, 10) == [landed]
    chain.fork(0, reland=False)
    assert chain.history.page(hidden, chain.slot, None, None, 10) == []
    assert lamports(chain, hidden) == 0
