"""matching at scale

Revision: 0003
After: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("weight", sa.SmallInteger(), server_default=sa.text("1"), nullable=False))
    op.add_column("api_keys", sa.Column("max_active", sa.Integer(), nullable=True))
    op.add_column("api_keys", sa.Column("max_queued", sa.Integer(), nullable=True))
    op.create_check_constraint(
        "api_keys_share",
        "api_keys",
        "weight BETWEEN 1 AND 1000 AND (max_active IS NULL OR max_active >= 0) "
        "AND (max_queued IS NULL OR max_queued >= 0)",
    )
    op.add_column("jobs", sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("match_decisions", sa.Column("inputs", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("nodes", sa.Column("penalty", sa.SmallInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("nodes", sa.Column("penalised_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("nodes", sa.Column("failures_in_row", sa.SmallInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("nodes", sa.Column("trial", sa.SmallInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("nodes", sa.Column("suspensions", sa.SmallInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("nodes", sa.Column("suspended_until", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(
        "nodes_health",
        "nodes",
        "penalty BETWEEN 0 AND 1000 AND failures_in_row >= 0 AND trial >= 0 AND suspensions >= 0",
    )
    op.create_index("nodes_penalised", "nodes", ["penalised_at"], unique=False, postgresql_where=sa.text("penalty > 0"))
    op.create_index(
        "nodes_suspended_until",
        "nodes",
        ["suspended_until"],
        unique=False,
        postgresql_where=sa.text("suspended_until IS NOT NULL"),
    )
    # Block ranges and room on the pages, so that claims and heartbeats rewrite no index (HOT).
    op.drop_index("nodes_changed_in", table_name="nodes")
    op.create_index(
        "nodes_changed_in",
        "nodes",
        ["changed_in"],
        postgresql_using="brin",
        postgresql_with={"pages_per_range": 32, "autosummarize": True},
    )
    op.drop_index("node_heartbeats_seen", table_name="node_heartbeats")
    op.create_index(
        "node_heartbeats_seen",
        "node_heartbeats",
        ["last_seen_at"],
        postgresql_using="brin",
        postgresql_with={"pages_per_range": 32, "autosummarize": True},
    )
    op.execute("ALTER TABLE nodes SET (fillfactor = 60)")
    op.execute("ALTER TABLE node_heartbeats SET (fillfactor = 50)")
    op.add_column("signals", sa.Column("rank_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "signals_backlog",
        "signals",
        ["rank_at"],
        unique=False,
        postgresql_where=sa.text("rank_at IS NOT NULL AND parked_at IS NULL"),
    )


def downgrade() -> None:
    op.execute("ALTER TABLE node_heartbeats RESET (fillfactor)")
    op.execute("ALTER TABLE nodes RESET (fillfactor)")
    op.drop_index("node_heartbeats_seen", table_name="node_heartbeats")
    op.create_index("node_heartbeats_seen", "node_heartbeats", ["last_seen_at"])
    op.drop_index("nodes_changed_in", table_name="nodes")
    op.create_index("nodes_changed_in", "nodes", ["changed_in"])
    op.drop_index(
        "signals_backlog", table_name="signals", postgresql_where=sa.text("rank_at IS NOT NULL AND parked_at IS NULL")
    )
    op.drop_column("signals", "rank_at")
    op.drop_index("nodes_suspended_until", table_name="nodes", postgresql_where=sa.text("suspended_until IS NOT NULL"))
    op.drop_index("nodes_penalised", table_name="nodes", postgresql_where=sa.text("penalty > 0"))
    op.drop_constraint("nodes_health", "nodes")
    op.drop_column("nodes", "suspended_until")
    op.drop_column("nodes", "suspensions")
    op.drop_column("nodes", "trial")
    op.drop_column("nodes", "failures_in_row")
    op.drop_column("nodes", "penalised_at")
    op.drop_column("nodes", "penalty")
    op.drop_column("match_decisions", "inputs")
    op.drop_column("jobs", "deadline_at")
    op.drop_constraint("api_keys_share", "api_keys")
    op.drop_column("api_keys", "max_queued")
    op.drop_column("api_keys", "max_active")
    op.drop_column("api_keys", "weight")
