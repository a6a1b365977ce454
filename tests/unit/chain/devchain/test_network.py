from __future__ import annotations

from base64 import b64decode
from typing import Any

import msgspec
import pytest

from app.chain.base58 import decode as from_base58
from app.chain.devchain.backlog import JOB_EVENTS, job_events
from app.chain.devchain.borsh import program
from app.chain.devchain.emitter import EVENT_CPI_TAG
from app.chain.devchain.money import HYPER
from app.chain.devchain.network import Network, Payment, Style
from app.chain.devchain.records import Landed
from tests.unit.chain.devchain.chains import manual


def events(landed: Landed) -> list[tuple[str, dict[str, Any]]]:
    """Events in the logs, and in the data of inner instructions."""
    assert landed.err is None
    found = [b64decode(line.split()[2]) for line in landed.logs if line.startswith("Program data: ")]
    for group in msgspec.json.decode(landed.meta)["innerInstructions"]:
        for one in group["instructions"]:
            data = from_base58(one["data"])
            if data.startswith(EVENT_CPI_TAG):
                found.append(data.removeprefix(EVENT_CPI_TAG))
    return [_decoded(data) for data in found]


def _decoded(data: bytes) -> tuple[str, dict[str, Any]]:
    for name in ("node_registry", "job_receipt", "payment_splitter"):
        for event, layout in program(name).events.items():
            if data.startswith(layout.discriminator):
                return event, layout.decode(data)
    raise AssertionError("an event of nobody's")


def state(network: Network, job_id: str, client: Any) -> dict[str, Any]:
    account = network.chain.account(network.job_address(client.pubkey(), job_id))
    assert account is not None
    return program("job_receipt").accounts["JobAccount"].decode(account.data)


@pytest.mark.parametrize("style", list(Style))
def test_a_job_lives_from_creation_to_payment(style: Style) -> None:
    network = Network(manual(), style=style)
    client, operator = network.wallet("client", 100 * HYPER), network.wallet("operator")
    key, who = client.pubkey(), operator.pubkey()
    told = [
        *events(network.register_node(operator, "node-1", gpu_specs_hash="ab" * 32, location="EU")),
        *events(network.create_job(client, "job-1", job_type=3, price=10 * HYPER, requirements_hash="cd" * 32)),
        *events(network.assign_job(key, "job-1", node_id="node-1", operator=who)),
        *events(network.submit_result(key, "job-1", operator=operator, result_hash="ef" * 32, logs_url="https://l")),
        *events(network.settle_job(client, "job-1", operator=who, processed=True)),
        *events(network.update_node_status(operator, "node-1", 2)),
        *events(network.deregister_node(operator, "node-1")),
    ]
    assert [name for name, _ in sorted(told, key=lambda each: each[0] == "PaymentProcessedEvent")] == [
        "NodeRegistered",
        "JobCreatedEvent",
        "JobAssignedEvent",
        "JobCompletedEvent",
        "PaymentDistributedEvent",
        "NodeStatusUpdated",
        "NodeDeregistered",
        "PaymentProcessedEvent",
    ]
    by_name = dict(told)
    assert by_name["JobCreatedEvent"]["price"] == 10 * HYPER
    assert by_name["JobCompletedEvent"]["operator"] == who
    assert by_name["NodeStatusUpdated"]["status"] == 2
    assert by_name["PaymentDistributedEvent"]["operator_amount"] == 8 * HYPER
    owners = (who, network.treasury, network.incentive, network.orchestrator, key)
    assert [network.money.held(owner) for owner in owners] == [8 * HYPER, HYPER, HYPER // 2, HYPER // 2, 90 * HYPER]
    left = state(network, "job-1", client)
    assert (left["status"], left["assigned_node"], left["result_hash"]) == (3, who, "ef" * 32)
    assert (left["payment_settled"], left["job_type"], left["requirements_hash"]) == (True, 3, "cd" * 32)


def test_a_job_is_cancelled_before_it_is_assigned_or_not_at_all() -> None:
    network = Network(manual())
    client = network.wallet("client")
    network.create_job(client, "job-1", price=HYPER)
    assert [name for name, _ in events(network.cancel_job(client, "job-1"))] == ["JobCancelledEvent"]
    assert state(network, "job-1", client)["status"] == 5
    assert network.cancel_job(client, "job-1").err is not None
    assert network.cancel_job(client, "job-1").err is not None
    # What is dictated is not checked.
    assert network.cancel_job(client, "job-1", style=Style.RECORDS).err is None


@pytest.mark.parametrize(
    ("payment", "moved"),
    [(Payment.REAL, 8 * HYPER), (Payment.FAKE_MINT, 0), (Payment.SHORT, 4 * HYPER), (Payment.NO_TRANSFER, 0)],
)
def test_payments_are_what_they_say_or_not(payment: Payment, moved: int) -> None:
    network = Network(manual())
    client, operator = network.wallet("client", 100 * HYPER), network.wallet("operator")
    network.create_job(client, "job-1", price=10 * HYPER)
    network.assign_job(client.pubkey(), "job-1", node_id="n", operator=operator.pubkey())
    network.submit_result(client.pubkey(), "job-1", operator=operator)
    landed = network.settle_job(client, "job-1", operator=operator.pubkey(), payment=payment)
    assert events(landed)[0][1]["operator_amount"] == 8 * HYPER
    assert network.money.held(operator.pubkey()) == moved
    mints = {each["mint"] for each in msgspec.json.decode(landed.meta)["postTokenBalances"]}
    assert (str(network.money.mint) in mints) == (payment is not Payment.FAKE_MINT)


def test_ids_and_amounts_that_no_program_would_take_can_be_dictated() -> None:
    network = Network(manual(), style=Style.RECORDS)
    client = network.wallet("client")
    for job_id in ("x" * 100, "nul\0in it", b"\xff\xfe no text"):
        assert events(network.create_job(client, job_id, price=2**64 - 1))[0][1] == {
            **{"job_id": job_id, "client": client.pubkey(), "job_type": 0, "price": 2**64 - 1},
            "timestamp": network.chain.blocks.open.time,
        }
    assert network.create_job(client, "y" * 33, price=1, style=Style.NATIVE).err is not None


def test_state_after_a_fork_is_the_chains() -> None:
    network = Network(manual())
    client = network.wallet("client")
    network.chain.advance(6)
    network.create_job(client, "job-1", price=HYPER)
    network.chain.advance()
    network.assign_job(client.pubkey(), "job-1", node_id="n", operator=client.pubkey())
    network.chain.fork(0, reland=False)
    assert state(network, "job-1", client)["status"] == 0
    assert network.assign_job(client.pubkey(), "job-1", node_id="n", operator=client.pubkey()).err is None


def test_a_backlog_is_lives_of_jobs_in_order() -> None:
    network = Network(manual())
    start = network.chain.slot
    count = network.chain.load(job_events(network, 200), per_block=50)
    names = []
    for slot in network.chain.blocks.between(start, network.chain.slot):
        block = network.chain.blocks.get(slot)
        assert block is not None
        names += [events(one)[0][0] for one in block.landed if network.programs.job_receipt in _programs(one)]
    assert count == len(names) == 200
    assert names == list(JOB_EVENTS) * 50


def _programs(landed: Landed) -> list[Any]:
    from app.chain.devchain.history import mentioned

    return mentioned(landed)
