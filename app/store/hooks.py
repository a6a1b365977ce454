"""Agents' own webhooks: which there are, and what became of what was sent to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from app.core.deliveries import HOOK_PREFIX, DeliveryOutcome, DeliveryState, Hook, WaitingHook
from app.store import contexts
from app.store.db import UnitOfWork
from app.store.rows import to_json

FAILING_S: Final = 24 * 3600.0
FAILED_TRIES: Final = 10
"""A hook that nothing could be delivered to for FAILING_S, in so many tries at least, is ended."""

_COLUMNS = (
    "h.id, h.account, h.key_id, h.form, h.subject, h.kinds, h.url, h.secret, h.token, h.options, h.created_at, "
    "h.ended_at, h.error"
)


@dataclass(frozen=True, slots=True)
class Counts:
    """Live hooks: of a key for all its account's events, of an account for single jobs and plans, and of one subject
    among these."""

    of_key: int
    of_subjects: int
    of_subject: int


async def take_turn(uow: UnitOfWork, account: str) -> None:
    """Wait for whoever else changes hooks of this account: what is counted stays true until the commit."""
    await uow.sql.execute("SELECT pg_advisory_xact_lock(hashtextextended('hae_hooks ' || $1, 0))", account)


async def hold_fan_out(uow: UnitOfWork) -> None:
    """Let no event be fanned out until the commit, and wait for what is being fanned out.

    Whoever adds a hook for a job that may end at this moment sees its end, or else the end is fanned out after the
    hook is there.
    """
    await uow.sql.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended('hae_fan_out', 0))")


async def add(uow: UnitOfWork, hook: Hook) -> None:
    await uow.sql.execute(
        """INSERT INTO agent_hooks (id, account, key_id, form, subject, kinds, url, secret, token, options)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)""",
        hook.id,
        hook.account,
        hook.key_id,
        hook.form,
        hook.subject,
        hook.kinds,
        hook.url,
        hook.secret,
        hook.token,
        to_json(hook.options),
    )


async def counts(uow: UnitOfWork, account: str, key_id: str, subject: str) -> Counts:
    """How many live hooks there are, by what their number is limited by."""
    row = await uow.sql.fetchrow(
        """SELECT count(*) FILTER (WHERE key_id = $2 AND subject = ''), count(*) FILTER (WHERE subject <> ''),
            count(*) FILTER (WHERE subject = $3 AND subject <> '')
        FROM agent_hooks WHERE account = $1 AND ended_at IS NULL""",
        account,
        key_id,
        subject,
    )
    assert row is not None
    return Counts(*row)


async def any_live(uow: UnitOfWork) -> bool:
    """Whether any agent has a hook."""
    found: bool = await uow.sql.fetchval("SELECT EXISTS (SELECT FROM agent_hooks WHERE ended_at IS NULL)")
    return found


async def get(uow: UnitOfWork, account: str, hook_id: str) -> Hook | None:
    """The account's hook with this id, ended ones too."""
    row = await uow.sql.fetchrow(
        f"SELECT {_COLUMNS} FROM agent_hooks h WHERE id = $1 AND account = $2 AND form <> $3",
        hook_id,
        account,
        contexts.FORM,
    )
    return None if row is None else Hook(*row)


async def page(uow: UnitOfWork, account: str, before: str, limit: int) -> list[Hook]:
    """The account's hooks with ids below ``before`` (empty = all), newest first, ended ones too."""
    rows = await uow.sql.fetch(
        f"""SELECT {_COLUMNS} FROM agent_hooks h
        WHERE account = $1 AND ($2 = '' OR id < $2) AND form <> $4 ORDER BY id DESC LIMIT $3""",
        account,
        before,
        limit,
        contexts.FORM,
    )
    return [Hook(*row) for row in rows]


async def of_subject(uow: UnitOfWork, account: str, subject: str, form: str) -> list[Hook]:
    """The account's hooks of this form for the job or plan, oldest first, ended ones too."""
    rows = await uow.sql.fetch(
        f"SELECT {_COLUMNS} FROM agent_hooks h WHERE account = $1 AND subject = $2 AND form = $3 ORDER BY id",
        account,
        subject,
        form,
    )
    return [Hook(*row) for row in rows]


async def delete(uow: UnitOfWork, account: str, hook_id: str) -> bool:
    """Delete the account's hook and what was still to be sent to it; whether it was there."""
    found = await uow.sql.fetchval(
        "DELETE FROM agent_hooks WHERE id = $1 AND account = $2 AND form <> $3 RETURNING id",
        hook_id,
        account,
        contexts.FORM,
    )
    if found is None:
        return False
    await uow.sql.execute("DELETE FROM deliveries WHERE endpoint = $1 AND state = 'pending'", HOOK_PREFIX + hook_id)
    return True


async def forget(uow: UnitOfWork, older_than_s: float, limit: int = 10_000) -> int:
    """Drop what ended so long ago; how many went."""
    done: str = await uow.sql.execute(
        """DELETE FROM agent_hooks WHERE id = ANY(ARRAY(SELECT id FROM agent_hooks
            WHERE ended_at < now() - make_interval(secs => $1) LIMIT $2 FOR UPDATE SKIP LOCKED))""",
        float(older_than_s),
        limit,
    )
    return int(done.split()[-1])


async def waiting(uow: UnitOfWork, after: str, busy: Sequence[str], limit: int) -> list[WaitingHook]:
    """Hooks with deliveries that are due, in the order of their endpoints, from behind ``after``; not the ``busy``.

    Goes from endpoint to endpoint by the index of what is pending: a long backlog of one costs no more than one row.
    """
    rows = await uow.sql.fetch(
        f"""WITH RECURSIVE pending(endpoint) AS (
            (SELECT endpoint FROM deliveries WHERE state = 'pending' AND endpoint > $1 ORDER BY endpoint LIMIT 1)
            UNION ALL
            SELECT (SELECT d.endpoint FROM deliveries d WHERE d.state = 'pending' AND d.endpoint > p.endpoint
                ORDER BY d.endpoint LIMIT 1)
            FROM pending p WHERE p.endpoint IS NOT NULL)
        SELECT p.endpoint, k.revoked_at IS NOT NULL, {_COLUMNS}
        FROM pending p LEFT JOIN agent_hooks h ON h.id = substr(p.endpoint, $5) LEFT JOIN api_keys k ON k.id = h.key_id
        WHERE starts_with(p.endpoint, $4) AND p.endpoint <> ALL($2::text[])
            AND EXISTS (SELECT FROM deliveries d WHERE d.state = 'pending' AND d.endpoint = p.endpoint
                AND d.due_at <= now())
        LIMIT $3""",
        after,
        list(busy),
        limit,
        HOOK_PREFIX,
        len(HOOK_PREFIX) + 1,
    )
    return [WaitingHook(row[0], None if row[2] is None else Hook(*row[2:]), revoked=row[1]) for row in rows]


async def give_up(uow: UnitOfWork, endpoints: Sequence[str], reason: str, limit: int = 1_000) -> None:
    """End the hooks behind these endpoints, where they have not ended, and mark what is due for them as dead, ``limit``
    at most."""
    await uow.sql.execute(
        """UPDATE agent_hooks h SET ended_at = now(), error = $2
        FROM (SELECT id FROM agent_hooks WHERE id = ANY($1::text[]) AND ended_at IS NULL ORDER BY id FOR UPDATE) AS live
        WHERE h.id = live.id""",
        [endpoint.removeprefix(HOOK_PREFIX) for endpoint in endpoints],
        reason,
    )
    await uow.sql.execute(
        """UPDATE deliveries d SET state = 'dead', error = $2
        FROM (SELECT event_id, endpoint, at FROM deliveries WHERE state = 'pending' AND endpoint = ANY($1::text[])
            AND due_at <= now() LIMIT $3 FOR UPDATE SKIP LOCKED) AS due
        WHERE d.event_id = due.event_id AND d.endpoint = due.endpoint AND d.at = due.at""",
        list(endpoints),
        reason,
        limit,
    )


async def note(uow: UnitOfWork, outcomes: Sequence[tuple[str, DeliveryOutcome]]) -> None:
    """Note what became of deliveries to hooks, given as ``(hook id, outcome)``: end those whose receivers are gone, or
    that were told the last, or that have failed for too long."""
    news = {hook_id for hook_id, one in outcomes if one.failed or one.gone or one.last}
    rows = await uow.sql.fetch(
        # In the order of ids, as whoever else locks several: two workers must not wait for each other.
        """SELECT id, options FROM agent_hooks WHERE id = ANY($1::text[]) AND ended_at IS NULL
            AND (id = ANY($2::text[]) OR options -> 'failing' IS NOT NULL) ORDER BY id FOR UPDATE""",
        sorted({hook_id for hook_id, _ in outcomes}),
        sorted(news),
    )
    changed = [
        (row[0], *_noted(row[1], [one for hook_id, one in outcomes if hook_id == row[0]], uow.now)) for row in rows
    ]
    if changed:
        await uow.sql.execute(
            """UPDATE agent_hooks h SET options = u.options::json, error = u.error,
                ended_at = CASE WHEN u.ended THEN now() END
            FROM unnest($1::text[], $2::text[], $3::bool[], $4::text[]) AS u(id, options, ended, error)
            WHERE h.id = u.id AND h.ended_at IS NULL""",
            [one[0] for one in changed],
            [to_json(one[1]) for one in changed],
            [one[2] for one in changed],
            [one[3] for one in changed],
        )


def _noted(
    options: dict[str, Any], outcomes: Sequence[DeliveryOutcome], now: datetime
) -> tuple[dict[str, Any], bool, str | None]:
    """``(options, ended, error)`` after these outcomes. ``options.failing``: ``{"since", "tries"}`` while nothing is
    delivered."""
    options = dict(options)
    ended, error = False, None
    for one in outcomes:
        if one.state is DeliveryState.DELIVERED:
            options.pop("failing", None)
        elif one.failed:
            failing = options.get("failing") or {"since": now.timestamp(), "tries": 0}
            options["failing"] = {**failing, "tries": failing["tries"] + 1}
            since = now - timedelta(seconds=FAILING_S)
            if failing["tries"] + 1 >= FAILED_TRIES and failing["since"] <= since.timestamp():
                ended, error = True, f"nothing could be delivered for a day; at last: {one.error}"
        if one.gone:
            ended, error = True, one.error
        elif one.last and one.state is not DeliveryState.PENDING:
            ended, error = True, error or (one.error if one.state is DeliveryState.DEAD else None)
    return options, ended, error
