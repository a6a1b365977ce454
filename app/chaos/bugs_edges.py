"""Planted bugs at the engine's edges: submissions, answers of nodes, deliveries, the database."""

from __future__ import annotations

from typing import Final

from app.chaos.bugs_planting import Bug, Change

_KEYS = Bug(
    "no_unique_key",
    "Idempotency keys are not unique: a submit that is sent again makes a second job.",
    schema=("ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey",),
    shows=("doubled_submit",),
    faults=("valkey_flush",),
)

_ASYNC = Bug(
    "async_commit",
    "Commits are acknowledged before they are on disk, and go there once a second, as it makes benchmarks look better: "
    "a crash of PostgreSQL takes back what clients were promised.",
    (
        Change(
            "app.store.db",
            '"server_settings": {"application_name": application}',
            '"server_settings": {"application_name": application, "synchronous_commit": "off"}',
        ),
    ),
    schema=("ALTER SYSTEM SET wal_writer_delay = '1s'", "SELECT pg_reload_conf()"),
    shows=("lost_submit", "lost_report", "empty_accept", "forgotten_cancel", "strange_webhook", "feed_changed"),
    faults=("postgres_restart", "postgres_kill"),
)

_CLOCK = Bug(
    "local_clock",
    "Time is the process's own, not the database's: with its clock wrong, offers and timers end hours from now.",
    (
        Change("app.store.db", "from datetime import datetime\n", "from datetime import UTC, datetime\n"),
        Change(
            "app.store.db",
            'UnitOfWork(connection, await connection.fetchval("SELECT now()"))',
            "UnitOfWork(connection, datetime.now(UTC))",
        ),
    ),
    shows=("wrong_clock",),
    faults=("clock_jump",),
)

_LATE_ACCEPT = Bug(
    "accept_after_expiry",
    "An offer may be accepted after it has expired: the node works for nothing while another one has the job.",
    (
        Change(
            "app.store.offers",
            "WHERE state = 'open' AND expires_at > clock_timestamp() AND known",
            "WHERE state IN ('open', 'expired') AND known",
        ),
        Change(
            "app.store.offers",
            "FROM held WHERE offers.id = held.id AND offers.state = 'open' AND offers.expires_at > clock_timestamp()",
            "FROM held WHERE offers.id = held.id",
        ),
    ),
    shows=("empty_accept",),
    faults=("valkey_flush",),
)

_FENCING = Bug(
    "no_fencing",
    "Reports of runs whose lease is over count like any other: a node that was given up on is told that its work, done "
    "twice by now, was taken.",
    (Change("app.store.results", "NOT o.holds_slots AS late FROM", "false AS late FROM"),),
    shows=("late_report", "refused_report"),
    faults=("nodes_silent",),
)

_NEW_ID = Bug(
    "webhook_id_per_try",
    "Each try of a delivery has a webhook-id of its own: receivers cannot tell a repeat from news.",
    (
        Change(
            "app.webhooks.sender",
            "from app.core.deliveries import Event\n",
            "from app.core.deliveries import Event\nfrom app.core.ids import new_id\n",
        ),
        Change(
            "app.webhooks.sender",
            "signing.headers(endpoint.secrets, event.id, ",
            'signing.headers(endpoint.secrets, new_id("msg"), ',
        ),
    ),
    shows=("doubled_webhook", "strange_webhook"),
    faults=("receivers_500",),
)

EDGES: Final = (_KEYS, _ASYNC, _CLOCK, _LATE_ACCEPT, _FENCING, _NEW_ID)
