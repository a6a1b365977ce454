"""Nodes' answers: each is told what became of its own, whoever else is in the batch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.core.errors import Conflict, Gone, HaeError, NotFound
from app.services import handout, offers
from app.store.db import Database
from app.store.offers import OpenOffer
from tests import factories
from tests.factories import sql


@pytest.fixture
async def offer(db: Database) -> OpenOffer:
    """A job offered to a node."""
    await factories.node(db)
    await factories.submit(db)
    await factories.run_waves(factories.runner(db))
    (found,) = await factories.all_offers(db)
    return found


async def accept(db: Database, *pairs: tuple[str, str]) -> list[str | None]:
    return [error.code if error else None for error in await offers.accept(db, pairs)]


async def test_a_wrong_node_in_the_batch_of_the_right_one_wins_nothing(db: Database, offer: OpenOffer) -> None:
    assert await accept(db, (offer.id, "node_x"), (offer.id, offer.node_id), ("offer_x", offer.node_id)) == [
        "offer_not_found",
        None,
        "offer_not_found",
    ]
    theirs = offers.new_report(offer.id, "node_x", ok=True, body="theirs")
    mine = offers.new_report(offer.id, offer.node_id, ok=True, body="mine")
    answers = await offers.report(db, [theirs, mine])
    assert isinstance(answers[0], NotFound) and answers[1] is None
    assert await sql(db, "SELECT node_id, body FROM results") == [(offer.node_id, "mine")]


async def test_of_two_different_reports_in_one_batch_one_is_told_that_the_other_stands(
    db: Database, offer: OpenOffer
) -> None:
    assert await accept(db, (offer.id, offer.node_id)) == [None]
    pair = [offers.new_report(offer.id, offer.node_id, ok=True, body=body) for body in ("one", "other")]
    answers = await offers.report(db, pair)
    assert sorted(answer.code if answer else "" for answer in answers) == ["", "already_reported"]
    stands = pair[answers.index(None)]
    assert await sql(db, "SELECT digest FROM results") == [(stands.digest,)]
    assert await offers.report(db, [stands, stands]) == [None, None]
    assert await sql(db, "SELECT count(*) FROM signals WHERE kind = 'result'") == [(1,)]


async def test_an_offer_cannot_be_accepted_after_its_time(db: Database, offer: OpenOffer) -> None:
    await sql(db, "UPDATE offers SET expires_at = clock_timestamp()")
    assert await accept(db, (offer.id, offer.node_id)) == ["offer_expired"]
    with pytest.raises(Gone):
        await offers.decline(db, offer.node_id, offer.id, "")
    assert await sql(db, "SELECT state FROM offers") == [("open",)]


async def test_an_answer_cannot_be_taken_back(db: Database, offer: OpenOffer) -> None:
    await offers.decline(db, offer.node_id, offer.id, "busy")
    await offers.decline(db, offer.node_id, offer.id, "busy")
    assert await sql(db, "SELECT state, holds_slots, reason FROM offers") == [("declined", True, "busy")]
    assert await accept(db, (offer.id, offer.node_id)) == ["offer_answered"]
    waves = factories.runner(db)
    await factories.run_waves(waves)
    assert await sql(db, "SELECT state, holds_slots FROM offers") == [("declined", False)]
    assert await sql(db, "SELECT active_jobs FROM nodes") == [(0,)]


async def test_only_the_node_that_runs_a_job_reports_on_it(db: Database, offer: OpenOffer) -> None:
    for call in (
        offers.progress(db, offer.node_id, offer.id, 1.0, ""),
        offers.progress(db, "node_x", offer.id, 1.0, ""),
    ):
        with pytest.raises(HaeError):
            await call
    early = await offers.report(db, [offers.new_report(offer.id, offer.node_id, ok=True)])
    assert isinstance(early[0], Conflict) and early[0].code == "offer_not_accepted"
    assert await sql(db, "SELECT count(*) FROM results") == [(0,)]
    assert await sql(db, "SELECT count(*) FROM events WHERE kind = 'job_progress'") == [(0,)]


async def test_a_job_is_handed_out_once_and_the_same_again_until_it_is_reported(db: Database) -> None:
    node_id = await factories.node(db, capacity=2)
    waves = factories.runner(db)
    await factories.submit(db, 2)
    await factories.run_waves(waves)
    first = await handout.take(db, node_id)
    assert first is not None
    await factories.run_waves(waves)
    assert await factories.state_of(db, first.job_id) == "running"
    again = await handout.take(db, node_id)
    assert again is not None and again.id == first.id
    await offers.report(db, [offers.new_report(first.id, node_id, ok=False, error="broke")])
    second = await handout.take(db, node_id)
    assert second is not None and second.id != first.id
    await offers.report(db, [offers.new_report(second.id, node_id, ok=True)])
    assert await handout.take(db, node_id) is None


async def test_a_run_costs_its_time_at_the_offered_price(db: Database) -> None:
    await factories.node(db, price=3_600_000)
    waves = factories.runner(db)
    (running,) = await factories.accepted(db, waves)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    await sql(db, "UPDATE jobs SET assigned_at = $1", start)
    await sql(db, "UPDATE nodes SET price = 1, version = version + 1")
    await offers.report(db, [offers.new_report(running.id, running.node_id, ok=True)])
    await sql(db, "UPDATE results SET created_at = $1", start + timedelta(milliseconds=5420))
    await factories.run_waves(waves)
    assert await sql(db, "SELECT cost, settlement FROM jobs") == [(5420, "awaiting")]
