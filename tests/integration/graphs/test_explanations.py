"""What is stored with a match is what the oracle says about the same rows."""

from __future__ import annotations

import random
from dataclasses import asdict

from app.core.money import UNIT, format_hyper
from app.core.requirements import Requirements
from app.matchmaker.policy import DEFAULT_WEIGHTS
from app.services import jobs, nodes
from app.services.nodes import Standing
from app.store.db import Database
from app.store.rows import NODE_COLUMNS, node_from
from tests import factories
from tests.factories import sql
from tests.support.oracle import brute_force


async def a_network(db: Database, draw: random.Random) -> None:
    ids = [
        await factories.node(
            db,
            gpu_model=draw.choice(["a100", "h100"]),
            gpus=draw.choice([1, 2, 4]),
            vram_gb=draw.choice([16, 40, 80]),
            capabilities=draw.choice([1, 3, 255]),
            region=draw.choice(["EU", "NA", ""]),
            price=draw.randint(1, 4) * UNIT,
            capacity=draw.choice([1, 2, 4]),
        )
        for _ in range(25)
    ]
    given = [
        Standing(i, draw.randint(0, 1000), draw.randint(0, 9) * UNIT, draw.randint(0, 50), draw.randint(0, 5))
        for i in ids
    ]
    assert await nodes.set_standing(db, given) == 25
    await sql(db, "UPDATE nodes SET state = 'offline', version = version + 1 WHERE id = ANY($1::text[])", ids[:4])


async def test_the_stored_explanation_is_the_oracles(db: Database) -> None:
    draw = random.Random(3)
    await a_network(db, draw)
    waves = factories.runner(db)
    placed = 0
    for _ in range(60):
        wanted = Requirements(
            gpu_models=draw.choice([(), (), ("a100",)]),
            gpus=draw.choice([1, 1, 2]),
            min_vram_gb=draw.choice([0, 0, 40]),
            capabilities=draw.choice([0, 1, 2]),
            region=draw.choice(["", "", "EU"]),
            min_reputation=draw.choice([0, 0, 300]),
            max_price=draw.choice([None, None, 2 * UNIT]),
        )
        policy = draw.choice(["reputation_weighted", "cheapest"])
        (job_id,) = await factories.submit(db, requirements=wanted, policy=policy)
        async with db.unit() as uow:
            rows = [node_from(row) for row in await uow.sql.fetch(f"SELECT {NODE_COLUMNS} FROM nodes")]
        said = brute_force(rows, job_id, wanted, policy=policy, weights=asdict(DEFAULT_WEIGHTS))
        # Only this job: the looks of those still waiting would change the rows in between.
        await sql(db, "DELETE FROM signals WHERE job_id <> $1", job_id)
        await waves.views.refresh()
        await waves.run_once()
        stored = await jobs.explain(db, factories.OWNER, job_id)
        node_id = stored["node_id"]
        best = said.ranking[0] if said.ranking else None
        assert node_id == (best.node_id if best else None)
        assert stored.get("verdict") == said.verdict
        assert (stored["feasible"], stored["rejects"]) == (len(said.ranking), said.rejects)
        assert stored["chosen"] == (stored["top"][0] if best else None)
        assert stored["top"] == [
            {
                "node_id": one.node_id,
                "total": one.total,
                "score": one.score,
                "price": format_hyper(one.price),
                "terms": one.terms,
            }
            for one in said.ranking[:5]
        ]
        assert stored["policy"] == policy
        assert stored["counted_at_version"] == stored["view_version"]
        assert stored["view_age_s"] >= 0
        placed += best is not None
    assert 20 < placed < 60, "the cases are all alike"
