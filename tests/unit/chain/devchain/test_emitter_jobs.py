"""job_receipt's instructions, in a real VM with the real token program."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from app.chain.devchain.emitter import JOB_SPACE, Op, record
from tests.unit.chain.devchain.machine import NOW, SYSTEM, TOKEN, Job, Landed, Machine, i64, r, s, text, u64, w

CREATE = bytes([178, 130, 217, 110, 100, 27, 82, 119])
ASSIGN = bytes([37, 235, 105, 13, 196, 58, 248, 10])
SUBMIT = bytes([240, 42, 89, 180, 10, 239, 9, 214])
SETTLE = bytes([246, 155, 221, 34, 168, 70, 173, 72])
CANCEL = bytes([126, 241, 155, 241, 50, 236, 83, 118])
CREATED = bytes([25, 16, 189, 152, 132, 215, 162, 116])
ASSIGNED = bytes([212, 154, 30, 118, 62, 77, 244, 3])
COMPLETED = bytes([120, 0, 106, 73, 221, 122, 51, 43])
CANCELLED = bytes([177, 124, 38, 55, 156, 135, 184, 247])
DISTRIBUTED = bytes([155, 25, 115, 170, 230, 241, 50, 142])
OPERATOR = Keypair()
NODE = OPERATOR.pubkey()


@pytest.fixture
def machine() -> Machine:
    return Machine()


def me(machine: Machine) -> AccountMeta:
    return s(machine.payer.pubkey())


class TestCreate:
    def create(
        self,
        machine: Machine,
        job_id: str = "job_1",
        job_type: int = 4,
        price: int = 5,
        requirements: str = "b" * 64,
        held: bytes = bytes(JOB_SPACE),
    ) -> tuple[Landed, Pubkey, int]:
        client = machine.payer.pubkey()
        key, bump = Pubkey.find_program_address([b"job", bytes(client), job_id.encode()[:32]], machine.id)
        machine.account(held, key=key)
        data = CREATE + text(job_id) + bytes([job_type]) + u64(price) + text(requirements)
        return machine.call(data, w(key), me(machine), r(SYSTEM)), key, bump

    @pytest.mark.parametrize("job_id", ["job_1", "", "x" * 32, "j\0b"])
    def test_the_account_is_written_and_the_event_emitted(self, machine: Machine, job_id: str) -> None:
        landed, key, bump = self.create(machine, job_id, 5, 2**64 - 1)
        client = machine.payer.pubkey()
        job = Job(job_id, client, job_type=5, price=2**64 - 1, requirements_hash="b" * 64, created_at=NOW, bump=bump)
        assert machine.data(key) == job.space()
        event = CREATED + text(job_id) + bytes(client) + b"\5" + u64(2**64 - 1) + i64(NOW)
        assert landed.events == [(machine.id, event)]

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"job_id": "x" * 33}, 6000),
            ({"held": bytes(Job()).ljust(JOB_SPACE)}, 6001),
            ({"job_type": 6}, 6003),
            ({"price": 0}, 6010),
            ({"requirements": "x" * 65}, 6011),
            ({"held": bytes(100)}, 2),
            ({"held": b""}, 2),
        ],
    )
    def test_what_it_refuses(self, machine: Machine, change: dict[str, object], code: int) -> None:
        landed, key, _ = self.create(machine, **change)  # type: ignore[arg-type]
        assert (landed.code, landed.events) == (code, [])
        held = change.get("held", bytes(JOB_SPACE))
        assert not held or machine.data(key) == held

    def test_the_address_must_follow_from_the_seeds(self, machine: Machine) -> None:
        data = CREATE + text("job_1") + b"\0" + u64(5) + text("")
        key = machine.account(bytes(JOB_SPACE))
        assert machine.call(data, w(key), me(machine), r(SYSTEM)).code == 2006

    def test_without_signature_or_account_or_all_of_the_arguments(self, machine: Machine) -> None:
        data = CREATE + text("job_1") + b"\0" + u64(5) + text("abc")
        key = machine.account(bytes(JOB_SPACE))
        assert machine.call(data, w(key), r(NODE), r(SYSTEM)).code == 3010
        assert machine.call(data, w(key), me(machine)).code == 1
        for size in range(8, len(data)):
            assert machine.call(data[:size], w(key), me(machine), r(SYSTEM)).code == 1


class TestAssign:
    def test_the_account_changes_and_the_event_is_emitted(self, machine: Machine) -> None:
        job = Job()
        key = machine.account(job.space())
        landed = machine.call(ASSIGN + text("node_7"), w(key), me(machine), r(NODE))
        assert landed.events == [(machine.id, ASSIGNED + text("job_1") + text("node_7") + bytes(NODE) + i64(NOW))]
        assert machine.data(key) == replace(job, assigned_node=NODE, status=1).space()

    def test_an_account_of_exactly_its_size_and_a_long_node_id(self, machine: Machine) -> None:
        key = machine.account(bytes(Job(job_id="é" * 200, requirements_hash="")))
        landed = machine.call(ASSIGN + text("n" * 500), w(key), me(machine), r(NODE))
        event = ASSIGNED + text("é" * 200) + text("n" * 500) + bytes(NODE) + i64(NOW)
        assert landed.events == [(machine.id, event)]

    @pytest.mark.parametrize("status", [1, 2, 3, 4, 5])
    def test_only_pending_jobs(self, machine: Machine, status: int) -> None:
        data = Job(status=status).space()
        key = machine.account(data)
        landed = machine.call(ASSIGN + text("node_7"), w(key), me(machine), r(NODE))
        assert (landed.code, landed.events) == (6005, [])
        assert machine.data(key) == data

    def test_it_wants_a_signature_but_any(self, machine: Machine) -> None:
        key = machine.account(Job().space())
        assert machine.call(ASSIGN + text("n"), w(key), r(Keypair().pubkey()), r(NODE)).code == 3010
        assert machine.call(ASSIGN + text("n"), w(key), s(NODE), r(NODE), signers=[OPERATOR]).error is None

    def test_malformed(self, machine: Machine) -> None:
        key, authority = machine.account(Job().space()), me(machine)
        data = ASSIGN + text("node_7")
        assert machine.call(data).code == 1
        assert machine.call(data, w(key), authority).code == 1
        for size in range(8, len(data)):
            assert machine.call(data[:size], w(key), authority, r(NODE)).code == 1
        assert machine.call(ASSIGN + b"\xff\xff\xff\xff", w(key), authority, r(NODE)).code == 1
        whole = bytes(Job(result_hash="r", logs_url="l"))
        for size in range(len(whole)):
            assert machine.call(data, w(machine.account(whole[:size])), authority, r(NODE)).code == 1
        assert machine.call(data, w(machine.account(b"\0" + Job().space()[1:])), authority, r(NODE)).code == 1

    def test_accounts_it_must_not_write(self, machine: Machine) -> None:
        data, own, foreign = ASSIGN + text("n"), Job().space(), machine.account(Job().space(), Keypair().pubkey())
        assert machine.call(data, r(machine.account(own)), me(machine), r(NODE)).error is not None
        assert machine.call(data, w(foreign), me(machine), r(NODE)).error is not None


class TestSubmit:
    def submit(self, machine: Machine, key: Pubkey, result: str = "r" * 64, logs: str = "ipfs://x") -> Landed:
        return machine.call(SUBMIT + text(result) + text(logs), w(key), s(machine.payer.pubkey()), r(NODE))

    @pytest.mark.parametrize("status", [1, 2])
    @pytest.mark.parametrize(("result", "logs"), [("r" * 64, "l" * 128), ("", ""), ("r", "ipfs://x")])
    def test_the_tail_of_the_account_moves(self, machine: Machine, status: int, result: str, logs: str) -> None:
        job = Job(assigned_node=NODE, status=status)
        key = machine.account(job.space())
        landed = self.submit(machine, key, result, logs)
        done = replace(job, status=3, completed_at=NOW, result_hash=result, logs_url=logs)
        assert machine.data(key) == done.space()
        # The operator is whoever signs: as in the real program, it is not tied to the assignment.
        operator = bytes(machine.payer.pubkey())
        event = COMPLETED + text("job_1") + operator + text(result) + text(logs) + i64(NOW)
        assert landed.events == [(machine.id, event)]

    def test_strings_that_were_there_are_replaced(self, machine: Machine) -> None:
        job = Job(assigned_node=NODE, status=2, result_hash="old" * 9, logs_url="older" * 9, payment_settled=True)
        key = machine.account(job.space())
        self.submit(machine, key, "new", "newer" * 20)
        done = bytes(replace(job, status=3, completed_at=NOW, result_hash="new", logs_url="newer" * 20))
        assert machine.data(key)[: len(done)] == done

    @pytest.mark.parametrize("status", [0, 3, 4, 5])
    def test_only_assigned_or_running_jobs(self, machine: Machine, status: int) -> None:
        key = machine.account(Job(assigned_node=NODE, status=status).space())
        assert self.submit(machine, key).code == 6006

    def test_what_it_refuses(self, machine: Machine) -> None:
        job = Job(assigned_node=NODE, status=1)
        key, other = machine.account(job.space()), machine.account(replace(job, assigned_node=TOKEN).space())
        assert self.submit(machine, key, "r" * 65).code == 6012
        assert self.submit(machine, key, "r", "l" * 129).code == 6013
        assert self.submit(machine, other).code == 6009
        assert self.submit(machine, machine.account(bytes(job))).code == 2
        assert self.submit(machine, machine.account(job.space(len(bytes(job)) + 71))).code == 2
        assert self.submit(machine, machine.account(job.space(len(bytes(job)) + 72))).code is None
        data = SUBMIT + text("r") + text("l")
        assert machine.call(data, w(key), r(TOKEN), r(NODE)).code == 3010
        assert machine.call(data, w(key), me(machine)).code == 1
        for size in range(8, len(data)):
            assert machine.call(data[:size], w(key), me(machine), r(NODE)).code == 1


class TestCancel:
    def test_the_client_cancels(self, machine: Machine) -> None:
        job = Job(client=machine.payer.pubkey())
        key = machine.account(job.space())
        landed = machine.call(CANCEL, w(key), me(machine))
        assert landed.events == [(machine.id, CANCELLED + text("job_1") + bytes(job.client) + i64(NOW))]
        assert machine.data(key) == replace(job, status=5).space()

    def test_what_it_refuses(self, machine: Machine) -> None:
        job = Job(client=machine.payer.pubkey())
        for status in range(1, 6):
            key = machine.account(replace(job, status=status).space())
            assert machine.call(CANCEL, w(key), me(machine)).code == 6004
        key = machine.account(job.space())
        assert machine.call(CANCEL, w(key), s(NODE), signers=[OPERATOR]).code == 6009
        assert machine.call(CANCEL, w(key), r(NODE)).code == 3010
        assert machine.call(CANCEL, w(key)).code == 1
        assert machine.call(CANCEL, w(machine.account(b"")), me(machine)).code == 1


class TestSettle:
    """``accounts``: client's, operator's, treasury's and incentive pool's tokens."""

    def accounts(self, machine: Machine, funds: int, authority: Pubkey | None = None) -> list[Pubkey]:
        mint = machine.mint()
        client = machine.tokens(mint, authority or machine.payer.pubkey(), funds)
        return [client, *(machine.tokens(mint, Keypair().pubkey(), 0) for _ in range(3))]

    def settle(self, machine: Machine, key: Pubkey, accounts: list[Pubkey], token: Pubkey = TOKEN) -> Landed:
        return machine.call(SETTLE, w(key), *map(w, accounts), me(machine), r(token))

    @pytest.mark.parametrize("price", [0, 1, 19, 20, 99, 100, 2_500_000_001, 10**18 + 7, 2**63, 2**64 - 1])
    def test_tokens_move_and_the_event_tells_it(self, machine: Machine, price: int) -> None:
        job = Job(price=price, status=3, result_hash="r", logs_url="l")
        key, accounts = machine.account(job.space()), self.accounts(machine, price)
        landed = self.settle(machine, key, accounts)
        shares = [price * percent // 100 for percent in (80, 10, 5)]
        assert [machine.balance(account) for account in accounts] == [price - sum(shares), *shares]
        event = DISTRIBUTED + text("job_1") + b"".join(map(u64, shares)) + i64(NOW)
        assert landed.events == [(machine.id, event)]
        assert machine.data(key) == replace(job, payment_settled=True).space()
        assert [inner.instruction().data for inner in landed.inner[0]] == [b"\3" + u64(share) for share in shares]

    def test_it_does_not_look_at_the_mint(self, machine: Machine) -> None:
        key, worthless = machine.account(Job(status=3).space()), self.accounts(machine, 10**9)
        assert len(self.settle(machine, key, worthless).events) == 1

    def test_accounts_may_be_the_same(self, machine: Machine) -> None:
        key, accounts = machine.account(Job(status=3, price=100).space()), self.accounts(machine, 100)
        client, operator = accounts[:2]
        assert self.settle(machine, key, [client, operator, operator, client]).error is None
        assert [machine.balance(account) for account in (client, operator)] == [10, 90]

    @pytest.mark.parametrize("status", [0, 1, 2, 4, 5])
    def test_only_completed_jobs(self, machine: Machine, status: int) -> None:
        key = machine.account(Job(status=status).space())
        assert self.settle(machine, key, self.accounts(machine, 10**9)).code == 6007

    def test_only_once(self, machine: Machine) -> None:
        key, accounts = machine.account(Job(status=3, price=100).space()), self.accounts(machine, 1000)
        assert self.settle(machine, key, accounts).error is None
        assert self.settle(machine, key, accounts).code == 6008
        assert machine.balance(accounts[0]) == 905

    def test_a_failing_transfer_undoes_everything(self, machine: Machine) -> None:
        data = Job(status=3, price=100).space()
        key, poor, foreign = machine.account(data), self.accounts(machine, 94), self.accounts(machine, 100, NODE)
        landed = self.settle(machine, key, poor)
        assert (landed.code, landed.events) == (1, [])
        assert [machine.balance(account) for account in poor] == [94, 0, 0, 0]
        assert self.settle(machine, key, foreign).code == 4
        other_mint = [self.accounts(machine, 100)[0], *self.accounts(machine, 0)[1:]]
        assert self.settle(machine, key, other_mint).code == 3
        assert machine.data(key) == data

    def test_what_it_refuses(self, machine: Machine) -> None:
        key, accounts = machine.account(Job(status=3).space()), self.accounts(machine, 10**9)
        assert self.settle(machine, key, accounts, token=machine.id).code == 3008
        assert self.settle(machine, machine.account(bytes(JOB_SPACE)), accounts).code == 1
        assert machine.call(SETTLE, w(key), *map(w, accounts), me(machine)).code == 1
        assert machine.call(SETTLE, w(key), *map(w, accounts), r(NODE), r(TOKEN)).code == 3010


def test_a_whole_life_in_one_transaction(machine: Machine) -> None:
    """Records and instructions side by side: nothing stays behind in the program between two instructions."""
    client = machine.payer.pubkey()
    key, _ = Pubkey.find_program_address([b"job", bytes(client), b"job_9"], machine.id)
    machine.account(bytes(JOB_SPACE), key=key)
    tokens = TestSettle().accounts(machine, 1000)
    landed = machine.send(
        Instruction(
            machine.id, CREATE + text("job_9") + b"\0" + u64(1000) + text("h"), [w(key), me(machine), r(SYSTEM)]
        ),
        Instruction(machine.id, ASSIGN + text("node_1"), [w(key), me(machine), r(NODE)]),
        Instruction(machine.id, record(b"between"), []),
        Instruction(machine.id, SUBMIT + text("r") + text("l"), [w(key), s(NODE), r(NODE)]),
        Instruction(machine.id, SETTLE, [w(key), *map(w, tokens), me(machine), r(TOKEN)]),
        signers=[OPERATOR],
    )
    heads = [CREATED, ASSIGNED, b"between", COMPLETED, DISTRIBUTED]
    assert [event[:8] for _, event in landed.events] == heads
    assert [machine.balance(account) for account in tokens] == [50, 800, 100, 50]


def test_each_instruction_is_far_below_the_budget(machine: Machine) -> None:
    """200,000 units an instruction is what a client gets that does not ask for more."""
    key, tokens = machine.account(Job(status=3).space()), TestSettle().accounts(machine, 10**9)
    assert TestSettle().settle(machine, key, tokens).units < 30_000
    key = machine.account(Job().space())
    assert machine.call(ASSIGN + text("n" * 64), w(key), me(machine), r(NODE)).units < 1_000


def test_an_id_that_no_buffer_holds_stops_the_program_alone(machine: Machine) -> None:
    key = machine.account(bytes(Job(job_id="x" * 40_000)))
    landed = machine.call(ASSIGN + text("n"), w(key), me(machine), r(NODE))
    assert landed.error == {"InstructionError": [0, "ProgramFailedToComplete"]}
    written = record(struct.pack("<I", 0) + b"ok", Op.WRITE)
    assert machine.call(written, w(key)).error is None
