"""nothing is lost: leases, schedules, partitions, the feed

Revision: 0004
After: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

PARTITIONED = ("job_history", "events", "feed", "deliveries")

# By month, from the first row until two months from now, with a partition for what lies beside them.
_MONTHS = """
DO $$
DECLARE
    month timestamp;
BEGIN
    FOR month IN SELECT generate_series(
        date_trunc('month', coalesce((SELECT min({time}) FROM {source}), now()) AT TIME ZONE 'UTC'),
        date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months', interval '1 month')
    LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF {table} FOR VALUES FROM (%L) TO (%L)',
            '{table}_' || to_char(month, 'YYYY_MM'), month AT TIME ZONE 'UTC',
            (month + interval '1 month') AT TIME ZONE 'UTC');
    END LOOP;
    CREATE TABLE {table}_default PARTITION OF {table} DEFAULT;
END $$
"""


def upgrade() -> None:
    _columns()
    _put_aside("job_history")
    _put_aside("events")
    _put_aside("deliveries")
    _history()
    _events()
    _deliveries()
    op.create_table(
        "job_counts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("key_id", sa.String(length=40), server_default=sa.text("''"), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.Column("slots", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("run_ms", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("paid", sa.Numeric(precision=38, scale=0), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("job_counts_key", "job_counts", ["key_id"], postgresql_where=sa.text("key_id <> ''"))
    op.execute(
        """INSERT INTO job_counts (state, key_id, change, slots, run_ms, paid)
        SELECT state, CASE WHEN finished_at IS NULL THEN key_id ELSE '' END, count(*),
            coalesce(sum(gpus) FILTER (WHERE state IN ('offered', 'assigned', 'running', 'cancelling')), 0),
            coalesce(sum(extract(epoch FROM finished_at - assigned_at) * 1000) FILTER (WHERE state = 'completed'), 0),
            coalesce(sum(cost) FILTER (WHERE state = 'completed'), 0)
        FROM jobs GROUP BY 1, 2"""
    )
    op.create_table(
        "schedules",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=80), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=80), server_default=sa.text("''"), nullable=False),
        sa.Column("cron", sa.String(length=120), nullable=False),
        sa.Column("timezone", sa.String(length=64), server_default=sa.text("'UTC'"), nullable=False),
        sa.Column("overlap", sa.String(length=12), server_default=sa.text("'allow'"), nullable=False),
        sa.Column(
            "request", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("paused", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("runs", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("skipped", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_job_id", sa.String(length=40), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("overlap IN ('allow', 'skip')", name="schedules_overlap"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("schedules_account", "schedules", ["account", "id"])
    op.create_index("schedules_due", "schedules", ["next_at"], postgresql_where=sa.text("next_at IS NOT NULL"))


def _columns() -> None:
    for name in ("max_attempts", "retry_backoff_s", "retry_backoff_max_s"):
        op.add_column("jobs", sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column(
        "jobs", sa.Column("exclude_nodes", sa.String(length=12), server_default=sa.text("'failed'"), nullable=False)
    )
    for name in ("start_at", "not_before", "cancel_by"):
        op.add_column("jobs", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    for name in ("rerun_of", "schedule_id"):
        op.add_column("jobs", sa.Column(name, sa.String(length=40), nullable=True))
    op.add_column("jobs", sa.Column("history_head", sa.LargeBinary(length=32), nullable=True))
    op.create_check_constraint(
        "jobs_retry",
        "jobs",
        "max_attempts >= 0 AND retry_backoff_s >= 0 AND retry_backoff_max_s >= retry_backoff_s",
    )
    op.create_check_constraint("jobs_exclude_nodes", "jobs", "exclude_nodes IN ('failed', 'last', 'none')")
    op.create_check_constraint("jobs_cancelling", "jobs", "state <> 'cancelling' OR cancel_by IS NOT NULL")
    op.create_check_constraint("jobs_scheduled", "jobs", "state <> 'scheduled' OR start_at IS NOT NULL")
    op.add_column("offers", sa.Column("renewed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("offers", sa.Column("token", sa.BigInteger(), sa.Identity(always=True), nullable=False))
    _signal_kinds(*_KINDS, "start_due", "cancel_due")
    _decisions("json")
    op.add_column("nodes", sa.Column("capacity_max", sa.SmallInteger(), server_default=sa.text("0"), nullable=False))
    op.create_index("signals_parked", "signals", ["parked_at"], postgresql_where=sa.text("parked_at IS NOT NULL"))
    op.add_column("results", sa.Column("late", sa.Boolean(), server_default=sa.text("false"), nullable=False))


_KINDS = (
    "submitted", "match_due", "offer_accepted", "offer_declined", "offer_expired", "progress", "result", "failure",
    "lease_lost", "cancel_requested", "deadline", "chain_created", "chain_cancelled", "chain_payment",
)  # fmt: skip


def _signal_kinds(*kinds: str) -> None:
    op.drop_constraint("signals_kind", "signals")
    op.create_check_constraint("signals_kind", "signals", f"kind IN ({', '.join(repr(kind) for kind in kinds)})")


def _decisions(kind: str) -> None:
    """Keep what is read whole or not at all as it was written: parsed and compressed it cost more than all else."""
    op.execute("ALTER TABLE match_decisions ALTER COLUMN explanation DROP DEFAULT")
    for column in ("explanation", "inputs"):
        op.execute(f"ALTER TABLE match_decisions ALTER COLUMN {column} TYPE {kind} USING {column}::{kind}")
    op.execute(f"ALTER TABLE match_decisions ALTER COLUMN explanation SET DEFAULT '{{}}'::{kind}")


def _put_aside(table: str) -> None:
    """Rename a table and what would be in the way of the new one's names."""
    op.rename_table(table, f"{table}_before")
    op.execute(f"ALTER INDEX {table}_pkey RENAME TO {table}_before_pkey")


def _partition(table: str, source: str, time: str) -> None:
    op.execute(_MONTHS.format(table=table, source=source, time=time))


def _follow(table: str) -> None:
    """Let the sequence of a table go on after the rows that were moved into it."""
    op.execute(
        f"SELECT setval(pg_get_serial_sequence('{table}', 'seq'), coalesce(max(seq), 0) + 1, false) FROM {table}"
    )


def _history() -> None:
    op.create_table(
        "job_history",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("from_state", sa.String(length=12), nullable=True),
        sa.Column("to_state", sa.String(length=12), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("node_id", sa.String(length=40), nullable=True),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=True),
        sa.PrimaryKeyConstraint("job_id", "seq", "at"),
        postgresql_partition_by="RANGE (at)",
    )
    _partition("job_history", "job_history_before", "at")
    op.execute(
        """INSERT INTO job_history (job_id, seq, at, from_state, to_state, attempt, reason, actor, node_id)
        OVERRIDING SYSTEM VALUE
        SELECT job_id, seq, at, from_state, to_state, attempt, reason, actor, node_id FROM job_history_before"""
    )
    _follow("job_history")
    op.drop_table("job_history_before")


def _events() -> None:
    op.drop_index("events_job", table_name="events_before")
    op.create_table(
        "events",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "written_in",
            sa.BigInteger(),
            server_default=sa.text("pg_current_xact_id()::text::bigint"),
            nullable=False,
        ),
        # After written_in, for defaults are worked out in the order of the columns: whoever has a number has an id.
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=80), nullable=True),
        sa.Column("job_id", sa.String(length=40), nullable=True),
        sa.Column("node_id", sa.String(length=40), nullable=True),
        sa.Column("data", postgresql.JSON(astext_type=sa.Text()), server_default=sa.text("'{}'::json"), nullable=False),
        sa.PrimaryKeyConstraint("id", "at"),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index("events_job", "events", ["job_id", "seq"], postgresql_where=sa.text("job_id IS NOT NULL"))
    op.create_index("events_seq", "events", ["seq"])
    _partition("events", "events_before", "at")
    # Written in transaction 0, before all that the sequencer looks for: their positions are given here.
    op.execute(
        """INSERT INTO events (id, at, seq, written_in, kind, account, job_id, node_id, data) OVERRIDING SYSTEM VALUE
        SELECT id, at, seq, 0, kind, account, job_id, node_id, data FROM events_before"""
    )
    _follow("events")
    op.create_table(
        "feed",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_id", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=80), nullable=True),
        sa.PrimaryKeyConstraint("position", "at"),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index("feed_account", "feed", ["account", "position"])
    _partition("feed", "events_before", "at")
    op.execute(
        """INSERT INTO feed (position, at, event_id, account)
        SELECT row_number() OVER (ORDER BY seq), at, id, account FROM events_before"""
    )
    op.create_table(
        "consumers",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("position", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("horizon", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.execute(
        """INSERT INTO consumers (name, position, horizon)
        SELECT 'sequencer', coalesce(max(position), 0), pg_current_xact_id()::text::bigint FROM feed"""
    )
    # Webhooks go on with the first event that had not been fanned out; those behind it that were are known by their ids.
    op.execute(
        """INSERT INTO consumers (name, position) SELECT 'webhooks', coalesce(
            (SELECT min(feed.position) - 1 FROM feed JOIN outbox USING (event_id)),
            (SELECT max(position) FROM feed), 0)"""
    )
    op.drop_table("outbox")
    op.drop_table("events_before")


def _deliveries() -> None:
    op.drop_index("deliveries_due", table_name="deliveries_before")
    op.create_table(
        "deliveries",
        sa.Column("event_id", sa.String(length=40), nullable=False),
        sa.Column("endpoint", sa.String(length=80), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=12), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'delivered', 'dead')", name="deliveries_state"),
        sa.PrimaryKeyConstraint("event_id", "endpoint", "at"),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index(
        "deliveries_due", "deliveries", ["endpoint", "due_at"], postgresql_where=sa.text("state = 'pending'")
    )
    op.create_index(
        "deliveries_dead",
        "deliveries",
        ["at", "event_id", "endpoint"],
        postgresql_where=sa.text("state = 'dead'"),
    )
    _partition("deliveries", "events", "at")
    op.execute(
        """INSERT INTO deliveries (event_id, endpoint, at, state, tries, due_at, status_code, error, created_at,
            delivered_at)
        SELECT d.event_id, d.endpoint, e.at, d.state, d.tries, d.due_at, d.status_code, d.error, d.created_at,
            d.delivered_at
        FROM deliveries_before d JOIN events e ON e.id = d.event_id"""
    )
    op.drop_table("deliveries_before")


def downgrade() -> None:
    # What came before knows nothing of these states: it would never move such jobs again.
    op.execute(
        """DO $$ BEGIN
        IF EXISTS (SELECT FROM jobs WHERE state IN ('scheduled', 'cancelling')) THEN
            RAISE EXCEPTION 'there are scheduled or cancelling jobs: wait for them, or cancel them, first';
        END IF; END $$"""
    )
    op.drop_index("schedules_due", table_name="schedules", postgresql_where=sa.text("next_at IS NOT NULL"))
    op.drop_index("schedules_account", table_name="schedules")
    op.drop_table("schedules")
    op.drop_table("job_counts")
    for table in ("deliveries", "events", "job_history"):
        _put_aside(table)
    op.drop_index("deliveries_dead", table_name="deliveries_before")
    op.drop_index("deliveries_due", table_name="deliveries_before")
    op.execute(
        """CREATE TABLE deliveries (event_id varchar(40), endpoint varchar(80), state varchar(12) NOT NULL DEFAULT
            'pending', tries smallint NOT NULL DEFAULT 0, due_at timestamptz NOT NULL DEFAULT now(), status_code int,
            error text, created_at timestamptz NOT NULL DEFAULT now(), delivered_at timestamptz,
            CONSTRAINT deliveries_state CHECK (state IN ('pending', 'delivered', 'dead')),
            PRIMARY KEY (event_id, endpoint))"""
    )
    op.create_index("deliveries_due", "deliveries", ["due_at"], postgresql_where=sa.text("state = 'pending'"))
    op.execute(
        """INSERT INTO deliveries SELECT event_id, endpoint, state, tries, due_at, status_code, error, created_at,
            delivered_at FROM deliveries_before"""
    )
    op.drop_table("deliveries_before")
    op.execute("CREATE TABLE outbox (event_id varchar(40) PRIMARY KEY)")
    op.execute(
        """INSERT INTO outbox SELECT event_id FROM feed
        WHERE position > (SELECT position FROM consumers WHERE name = 'webhooks')
        UNION SELECT id FROM events_before e
        WHERE NOT EXISTS (SELECT FROM feed f WHERE f.event_id = e.id AND f.at = e.at)"""
    )
    op.drop_table("consumers")
    op.drop_index("feed_account", table_name="feed")
    op.drop_table("feed")
    op.drop_index("events_seq", table_name="events_before")
    op.drop_index("events_job", table_name="events_before", postgresql_where=sa.text("job_id IS NOT NULL"))
    op.execute(
        """CREATE TABLE events (id varchar(40) PRIMARY KEY, seq bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
            kind varchar(40) NOT NULL, account varchar(80), job_id varchar(40), node_id varchar(40),
            data jsonb NOT NULL DEFAULT '{}'::jsonb, at timestamptz NOT NULL DEFAULT now())"""
    )
    op.create_index("events_job", "events", ["job_id", "seq"], postgresql_where=sa.text("job_id IS NOT NULL"))
    op.execute(
        """INSERT INTO events OVERRIDING SYSTEM VALUE
        SELECT id, seq, kind, account, job_id, node_id, data, at FROM events_before"""
    )
    _follow("events")
    op.drop_table("events_before")
    op.execute(
        """CREATE TABLE job_history (job_id varchar(40), seq bigint GENERATED ALWAYS AS IDENTITY,
            from_state varchar(12), to_state varchar(12) NOT NULL, attempt int NOT NULL, reason varchar(40) NOT NULL,
            actor varchar(80) NOT NULL, node_id varchar(40), at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (job_id, seq))"""
    )
    op.execute(
        """INSERT INTO job_history OVERRIDING SYSTEM VALUE
        SELECT job_id, seq, from_state, to_state, attempt, reason, actor, node_id, at FROM job_history_before"""
    )
    _follow("job_history")
    op.drop_table("job_history_before")
    op.drop_index("signals_parked", table_name="signals")
    op.drop_column("nodes", "capacity_max")
    _decisions("jsonb")
    op.execute("DELETE FROM signals WHERE kind IN ('start_due', 'cancel_due')")
    _signal_kinds(*_KINDS)
    op.drop_column("results", "late")
    op.drop_column("offers", "token")
    op.drop_column("offers", "renewed_at")
    for name in ("jobs_scheduled", "jobs_cancelling", "jobs_exclude_nodes", "jobs_retry"):
        op.drop_constraint(name, "jobs")
    for name in (
        "history_head", "schedule_id", "rerun_of", "cancel_by", "not_before", "start_at", "exclude_nodes",
        "retry_backoff_max_s", "retry_backoff_s", "max_attempts",
    ):  # fmt: skip
        op.drop_column("jobs", name)
