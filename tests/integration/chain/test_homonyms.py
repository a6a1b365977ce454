"""Jobs of several clients that have the same id: an event is of the one whose account its instruction was given."""

from __future__ import annotations

import pytest

from app.chain.devchain.network import Style
from app.chain.reader import Reader
from tests.integration.chain.world import PROGRAMS, World, world


@pytest.mark.parametrize("style", [Style.NATIVE, Style.RECORDS, Style.EMIT_CPI])
async def test_an_event_read_before_its_jobs_creation_is_not_taken_for_the_other_ones(
    database_url: str, style: Style
) -> None:
    """Nodes list a slot's transactions in any order."""
    async with world(database_url) as one:
        first, second = (one.network.wallet(name) for name in ("first", "second"))
        operator = one.network.wallet("operator").pubkey()
        one.network.create_job(first, "twin", price=100)
        one.land()
        await one.scan()
        one.network.create_job(second, "twin", price=200)
        assigned = one.network.assign_job(second.pubkey(), "twin", node_id="n", operator=operator, style=style)
        one.land()
        reader = Reader(one.rpc, PROGRAMS, one.index, one.db)
        result = await reader.read([(str(assigned.signature), assigned.slot)], PROGRAMS.job_receipt, 0)
        assert [event.address for event in result.batch.events] == [_address(one, second.pubkey())]
        await one.scan()
        rows = await one.rows("SELECT address, name FROM chain_events ORDER BY name, slot, signature")
        assert sorted(rows) == sorted(
            [
                (_address(one, first.pubkey()), "JobCreatedEvent"),
                (_address(one, second.pubkey()), "JobCreatedEvent"),
                (_address(one, second.pubkey()), "JobAssignedEvent"),
            ]
        )


@pytest.mark.parametrize("style", [Style.NATIVE, Style.EMIT_CPI])
async def test_both_of_two_jobs_of_the_same_id_are_told_apart(database_url: str, style: Style) -> None:
    """``emit_cpi!`` passes no account of a job: the instruction around it has it."""
    async with world(database_url) as one:
        clients = [one.network.wallet(name) for name in ("first", "second")]
        for client in clients:
            one.network.create_job(client, "twin", price=100)
        one.land()
        await one.scan()
        for client in clients:
            one.network.assign_job(
                client.pubkey(), "twin", node_id="n", operator=one.network.wallet("operator").pubkey(), style=style
            )
        one.land()
        await one.scan()
        rows = await one.rows("SELECT address FROM chain_events WHERE name = 'JobAssignedEvent'")
        assert sorted(row[0] for row in rows) == sorted(_address(one, client.pubkey()) for client in clients)


def _address(one: World, client: object) -> str:
    return PROGRAMS.job_address(str(client), "twin") or ""
