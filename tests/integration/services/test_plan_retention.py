"""Old histories of plans and old days of keys are forgotten, and nothing that still counts."""

from __future__ import annotations

from app.services import maintenance
from app.services.verify import verify
from app.settings import RetentionSettings
from app.store import plan_retention
from app.store.db import Database
from tests import factories
from tests.factories import sql
from tests.integration.graphs.plan_drive import Drive, request, submit, task

MONTH = RetentionSettings(history_days=30, events_days=0, deliveries_days=0)
FOR_EVER = RetentionSettings(history_days=0, events_days=0, deliveries_days=0)


async def test_only_what_is_over_and_old_is_forgotten(db: Database) -> None:
    await factories.node(db, capacity=4, gpus=4)
    drive = Drive(db)
    over = await submit(db, request(task("one")))
    young = await submit(db, request(task("one")))
    await drive.run()
    under_way = await submit(db, request(task("one")))
    await sql(db, "UPDATE plan_history SET at = now() - interval '60 days'")
    await sql(db, "UPDATE plans SET finished_at = now() - interval '40 days' WHERE id = $1", over)
    # A past day of a key: its job is over; another whose job may cost something yet; and today.
    await sql(
        db,
        """INSERT INTO key_spending (key_id, day, reserved, spent) VALUES ('key_a', current_date - 40, 0, 7),
        ('key_b', current_date - 40, 5, 7), ('key_c', current_date, 0, 7), ('key_d', current_date - 29, 0, 0)""",
    )
    assert (await maintenance.run(db, FOR_EVER)).forgotten == 0
    planned = (await maintenance.plan(db, MONTH)).forgotten
    done = (await maintenance.run(db, MONTH)).forgotten
    assert planned == done > 1
    left = await sql(db, "SELECT DISTINCT plan_id FROM plan_history ORDER BY 1")
    assert [row[0] for row in left] == sorted([young, under_way])
    days = await sql(db, "SELECT key_id FROM key_spending ORDER BY 1")
    assert [row[0] for row in days] == ["key_b", "key_c", "key_d"]
    assert (await maintenance.run(db, MONTH)).forgotten == 0


async def test_the_check_of_the_database_misses_no_day_that_was_forgotten(db: Database) -> None:
    await factories.node(db)
    drive = Drive(db)
    await submit(db, request(task("one")))
    await drive.run()
    await sql(db, "UPDATE jobs SET spend_day = current_date - 40")
    ((key_id, cost),) = await sql(db, "SELECT key_id, cost FROM jobs")
    await sql(db, "INSERT INTO key_spending (key_id, day, spent) VALUES ($1, current_date - 40, $2)", key_id, cost)
    assert (await verify(db)).violations == []
    async with db.unit() as uow:
        assert await plan_retention.forget_days(uow, 30, 10) == 1
    assert (await verify(db)).violations == []
    await sql(db, "UPDATE jobs SET spend_day = current_date")
    if cost:
        assert [one.check for one in (await verify(db)).violations] == ["key_spending"]
