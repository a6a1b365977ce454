"""the walking engine

Revision: 0001
After: nothing
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=80), nullable=False),
        sa.Column("label", sa.String(length=80), server_default=sa.text("''"), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.String(length=80)), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_index("api_keys_account", "api_keys", ["account"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("event_id", sa.String(length=40), nullable=False),
        sa.Column("endpoint", sa.String(length=80), nullable=False),
        sa.Column("state", sa.String(length=12), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'delivered', 'dead')", name="deliveries_state"),
        sa.PrimaryKeyConstraint("event_id", "endpoint"),
    )
    op.create_index(
        "deliveries_due", "deliveries", ["due_at"], unique=False, postgresql_where=sa.text("state = 'pending'")
    )
    op.create_table(
        "events",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=80), nullable=True),
        sa.Column("job_id", sa.String(length=40), nullable=True),
        sa.Column("node_id", sa.String(length=40), nullable=True),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "events_job", "events", ["job_id", "seq"], unique=False, postgresql_where=sa.text("job_id IS NOT NULL")
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("account", sa.String(length=80), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("account", "key"),
    )
    op.create_index("idempotency_keys_created", "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "job_history",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("from_state", sa.String(length=12), nullable=True),
        sa.Column("to_state", sa.String(length=12), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("node_id", sa.String(length=40), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "seq"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=80), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("source", sa.String(length=20), server_default=sa.text("'api'"), nullable=False),
        sa.Column("type", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("settlement", sa.String(length=12), server_default=sa.text("'none'"), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "payload", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("gpu_models", sa.ARRAY(sa.String(length=80)), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("gpus", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("min_vram_gb", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("capabilities", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("region", sa.String(length=2), server_default=sa.text("''"), nullable=False),
        sa.Column("min_reputation", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("max_price", sa.BigInteger(), nullable=True),
        sa.Column("policy", sa.String(length=40), nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("timeout_s", sa.Integer(), nullable=False),
        sa.Column("max_retries", sa.SmallInteger(), server_default=sa.text("3"), nullable=False),
        sa.Column("queue_ttl_s", sa.Integer(), nullable=False),
        sa.Column("excluded", sa.ARRAY(sa.String(length=80)), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("match_tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("node_id", sa.String(length=40), nullable=True),
        sa.Column("offer_id", sa.String(length=40), nullable=True),
        sa.Column("price", sa.BigInteger(), nullable=True),
        sa.Column("cost", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("assigned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state IN ('cancelled', 'completed', 'expired', 'failed')) = (finished_at IS NOT NULL)",
            name="jobs_finished_at",
        ),
        sa.CheckConstraint(
            "settlement IN ('none', 'awaiting', 'observed', 'settled', 'disputed')", name="jobs_settlement"
        ),
        sa.CheckConstraint("state <> 'completed' OR cost IS NOT NULL", name="jobs_completed_cost"),
        sa.CheckConstraint(
            "state IN ('blocked', 'scheduled', 'pending', 'offered', 'assigned', 'running', 'cancelling', 'completed', 'failed', 'cancelled', 'expired')",
            name="jobs_state",
        ),
        sa.CheckConstraint(
            "state NOT IN ('assigned', 'cancelling', 'offered', 'running') OR offer_id IS NOT NULL", name="jobs_on_node"
        ),
        sa.CheckConstraint(
            "state NOT IN ('blocked', 'scheduled', 'pending') OR offer_id IS NULL", name="jobs_off_node"
        ),
        sa.CheckConstraint(
            "type IN ('llm_inference', 'llm_fine_tuning', 'rag_indexing', 'vision_pipeline', 'render', 'generic_compute')",
            name="jobs_type",
        ),
        sa.CheckConstraint("attempt >= 1 AND failures >= 0 AND failures < attempt + 1", name="jobs_attempt"),
        sa.CheckConstraint("cost >= 0", name="jobs_cost"),
        sa.CheckConstraint("gpus BETWEEN 1 AND 64", name="jobs_gpus"),
        sa.CheckConstraint("max_price > 0", name="jobs_max_price"),
        sa.PrimaryKeyConstraint("id"),
        postgresql_with={"fillfactor": 60},
    )
    op.create_index("jobs_account_id", "jobs", ["account", "id"], unique=False)
    op.create_table(
        "match_decisions",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("attempt", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("node_id", sa.String(length=40), nullable=True),
        sa.Column(
            "explanation",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "attempt"),
    )
    op.create_table(
        "node_heartbeats",
        sa.Column("node_id", sa.String(length=40), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("gpu_utilization", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("node_id"),
    )
    op.create_index("node_heartbeats_seen", "node_heartbeats", ["last_seen_at"], unique=False)
    op.create_table(
        "node_history",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("node_id", sa.String(length=40), nullable=False),
        sa.Column("from_state", sa.String(length=12), nullable=True),
        sa.Column("to_state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("node_history_node", "node_history", ["node_id", "at"], unique=False)
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=80), nullable=False),
        sa.Column("wallet", sa.String(length=80), nullable=False),
        sa.Column("state", sa.String(length=12), server_default=sa.text("'registered'"), nullable=False),
        sa.Column("gpu_model", sa.String(length=80), nullable=False),
        sa.Column("gpus", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("vram_gb", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("capabilities", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("region", sa.String(length=2), server_default=sa.text("''"), nullable=False),
        sa.Column("reputation", sa.SmallInteger(), server_default=sa.text("100"), nullable=False),
        sa.Column("stake", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("jobs_completed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("jobs_failed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("response_ms", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("capacity", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("active_jobs", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "changed_in", sa.BigInteger(), server_default=sa.text("pg_current_xact_id()::text::bigint"), nullable=False
        ),
        sa.Column(
            "details", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('registered', 'online', 'offline', 'draining', 'suspended', 'deregistered')", name="nodes_state"
        ),
        sa.CheckConstraint("active_jobs BETWEEN 0 AND capacity", name="nodes_active_jobs"),
        sa.CheckConstraint("capacity BETWEEN 1 AND 64 AND gpus BETWEEN 0 AND 64", name="nodes_capacity"),
        sa.CheckConstraint("jobs_completed >= 0 AND jobs_failed >= 0", name="nodes_counts"),
        sa.CheckConstraint("price > 0 AND stake >= 0", name="nodes_amounts"),
        sa.CheckConstraint("reputation BETWEEN 0 AND 1000", name="nodes_reputation"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("wallet"),
    )
    op.create_index("nodes_account", "nodes", ["account"], unique=False)
    op.create_index("nodes_changed_in", "nodes", ["changed_in"], unique=False)
    op.create_table(
        "offers",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("node_id", sa.String(length=40), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=12), server_default=sa.text("'open'"), nullable=False),
        sa.Column("holds_slots", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("slots", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("NOT holds_slots OR state IN ('open', 'accepted', 'declined')", name="offers_closed_free"),
        sa.CheckConstraint("holds_slots OR state <> 'open'", name="offers_open_holds"),
        sa.CheckConstraint("state IN ('open', 'accepted', 'declined', 'expired', 'withdrawn')", name="offers_state"),
        sa.CheckConstraint("slots >= 1 AND price > 0", name="offers_positive"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("job_id", "attempt", name="offers_job_attempt"),
        postgresql_with={"fillfactor": 60},
    )
    op.create_index("offers_held", "offers", ["job_id"], unique=True, postgresql_where=sa.text("holds_slots"))
    op.create_index("offers_node_held", "offers", ["node_id"], unique=False, postgresql_where=sa.text("holds_slots"))
    op.create_table(
        "outbox", sa.Column("event_id", sa.String(length=40), nullable=False), sa.PrimaryKeyConstraint("event_id")
    )
    op.create_table(
        "results",
        sa.Column("offer_id", sa.String(length=40), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("node_id", sa.String(length=40), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("ok", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "logs", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
        sa.Column(
            "metrics", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("ok OR error IS NOT NULL", name="results_error"),
        sa.PrimaryKeyConstraint("offer_id"),
    )
    op.create_table(
        "signals",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("parked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('submitted', 'match_due', 'offer_accepted', 'offer_declined', 'offer_expired', 'progress', 'result', 'failure', 'lease_lost', 'cancel_requested', 'deadline')",
            name="signals_kind",
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "signals_due", "signals", ["due_at", "id"], unique=False, postgresql_where=sa.text("parked_at IS NULL")
    )
    op.create_index("signals_job", "signals", ["job_id"], unique=False)


def downgrade() -> None:
    op.drop_index("signals_job", table_name="signals")
    op.drop_index("signals_due", table_name="signals", postgresql_where=sa.text("parked_at IS NULL"))
    op.drop_table("signals")
    op.drop_table("results")
    op.drop_table("outbox")
    op.drop_index("offers_node_held", table_name="offers", postgresql_where=sa.text("holds_slots"))
    op.drop_index("offers_held", table_name="offers", postgresql_where=sa.text("holds_slots"))
    op.drop_table("offers")
    op.drop_index("nodes_changed_in", table_name="nodes")
    op.drop_index("nodes_account", table_name="nodes")
    op.drop_table("nodes")
    op.drop_index("node_history_node", table_name="node_history")
    op.drop_table("node_history")
    op.drop_index("node_heartbeats_seen", table_name="node_heartbeats")
    op.drop_table("node_heartbeats")
    op.drop_table("match_decisions")
    op.drop_index("jobs_account_id", table_name="jobs")
    op.drop_table("jobs")
    op.drop_table("job_history")
    op.drop_index("idempotency_keys_created", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_index("events_job", table_name="events", postgresql_where=sa.text("job_id IS NOT NULL"))
    op.drop_table("events")
    op.drop_index("deliveries_due", table_name="deliveries", postgresql_where=sa.text("state = 'pending'"))
    op.drop_table("deliveries")
    op.drop_index("api_keys_account", table_name="api_keys")
    op.drop_table("api_keys")
