"""The benchmarks on small networks: that they measure what they say, not how fast it is."""

from __future__ import annotations

import itertools

from app.bench import claims, heartbeats, match, place
from app.bench.match import bases
from app.bench.networks import jobs, network
from app.matchmaker.filters import first_failure
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.types import Query
from app.matchmaker.weights import DEFAULT_WEIGHTS
from app.store import peers
from app.store.db import Database


async def test_claims_are_granted_and_add_up(database_url: str) -> None:
    found = await claims.measure(database_url, nodes=300, seconds=0.01, batch=64)
    assert found.oversubscribed == 0
    # One in fifty is careless, and the others can only lose to those.
    assert 0.9 * found.wanted < found.granted <= found.wanted
    wants = claims.planned(network(300))
    by_id = {node.id: node for node in network(300)}
    assert all(first_failure(by_id[want.node_id], want.requirements, 0) is None for want in wants)


async def test_jobs_are_placed_with_their_offers(database_url: str) -> None:
    found = await place.measure(database_url, nodes=300, seconds=0.01, batch=64)
    assert found.oversubscribed == 0
    assert 0 < found.placed <= found.asked
    # Whatever the view can place alone, PostgreSQL grants.
    matchmaker = Matchmaker()
    matchmaker.view.upsert(network(300))
    feasible = 0
    for number, asked in enumerate(itertools.islice(jobs(), found.asked)):
        best = matchmaker.match(Query(f"job_{number}", asked)).best
        if best is not None:
            matchmaker.view.adjust(best.node_id, asked.gpus)
            feasible += 1
    assert abs(found.placed - feasible) <= 0.05 * feasible


async def test_heartbeats_are_written_once_each(database_url: str) -> None:
    assert await heartbeats.measure(database_url, nodes=300, seconds=0.01) > 0


async def test_the_sql_peers_answer_as_they_should(empty_database_url: str) -> None:
    records = network(300)
    weights = DEFAULT_WEIGHTS
    matchmaker = Matchmaker()
    matchmaker.view.upsert(records)
    asked = list(itertools.islice(jobs(), 60))
    db = Database(empty_database_url)
    async with db.unit() as uow:
        await peers.prepare(uow, bases(records, weights), load_weight=weights.load, weights=sum(weights.quality))
        for number, wanted in enumerate(asked):
            best = matchmaker.match(Query(f"job_{number}", wanted)).candidates
            for exact in (peers.exact_match, peers.pruned_match):
                found = await exact(uow, wanted, weights.price)
                assert [total for _, total in found] == [one.total for one in best], wanted
            online = [node for node in records if node.state == "online" and node.vram_gb >= wanted.min_vram_gb]
            reputed = sorted((node.reputation for node in online), reverse=True)[:50]
            legacy = await peers.legacy_match(uow, wanted)
            (picked,) = [node for node in online if node.id == legacy]
            assert picked.reputation >= reputed[-1]
    await db.close()


async def test_the_former_query_is_timed(empty_database_url: str) -> None:
    rates = await place.measure_legacy(empty_database_url, nodes=100, seconds=0.01)
    assert len(rates) == len(place.LEGACY_CONNECTIONS)
    assert min(rates) > 0


async def test_matches_are_held_against_exact_sql(empty_database_url: str) -> None:
    lines: list[str] = []
    found = await match.measure(empty_database_url, nodes=300, runs=1, told=lines.append)
    assert found.mismatches == 0
    assert found.compared == 2 * 2 * match.TURNS * match.SQL_TURN
    assert found.told()["ratio_exact_sql"] > 0
    assert len(lines) == 1
