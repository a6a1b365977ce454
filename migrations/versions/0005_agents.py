"""agents: plans, rights and caps of keys, hooks, threads

Revision: 0005
After: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agent_hooks",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=80), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("form", sa.String(length=20), server_default=sa.text("'custom'"), nullable=False),
        sa.Column("subject", sa.String(length=40), server_default=sa.text("''"), nullable=False),
        sa.Column("kinds", sa.ARRAY(sa.String(length=80)), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column(
            "options", postgresql.JSON(astext_type=sa.Text()), server_default=sa.text("'{}'::json"), nullable=False
        ),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("url <> ''", name="agent_hooks_url"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("agent_hooks_subject", "agent_hooks", ["account", "subject"], unique=False)
    op.create_index("agent_hooks_account", "agent_hooks", ["account", "id"], unique=False)
    op.create_index(
        "agent_hooks_live",
        "agent_hooks",
        ["account", "subject"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "agent_runs",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("thread_id", sa.String(length=40), nullable=True),
        sa.Column("account", sa.String(length=80), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column(
            "request", postgresql.JSON(astext_type=sa.Text()), server_default=sa.text("'{}'::json"), nullable=False
        ),
        sa.Column("output", postgresql.JSON(astext_type=sa.Text()), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'success', 'error', 'interrupted')", name="agent_runs_status"
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("agent_runs_thread", "agent_runs", ["thread_id", "created_at"], unique=False)
    op.create_table(
        "agent_threads",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=80), nullable=False),
        sa.Column(
            "about", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column(
            "state", postgresql.JSON(astext_type=sa.Text()), server_default=sa.text("'{}'::json"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("agent_threads_account", "agent_threads", ["account", "created_at"], unique=False)
    op.create_table(
        "key_spending",
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("spent", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("reserved >= 0 AND spent >= 0", name="key_spending_amounts"),
        sa.PrimaryKeyConstraint("key_id", "day"),
    )
    op.create_table(
        "plan_history",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("plan_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("from_state", sa.String(length=12), nullable=True),
        sa.Column("to_state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("bid", sa.BigInteger(), nullable=True),
        sa.Column("job_id", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("plan_history_plan", "plan_history", ["plan_id", "seq"], unique=False)
    op.create_table(
        "plan_signals",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("plan_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("parked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "plan_signals_due",
        "plan_signals",
        ["due_at", "id"],
        unique=False,
        postgresql_where=sa.text("parked_at IS NULL"),
    )
    op.create_index("plan_signals_plan", "plan_signals", ["plan_id"], unique=False)
    op.create_table(
        "plan_units",
        sa.Column("plan_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("task_id", sa.String(length=40), nullable=False),
        sa.Column("item", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("job_ids", sa.ARRAY(sa.String(length=40)), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("bid", sa.BigInteger(), nullable=True),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("winner", sa.String(length=40), nullable=True),
        sa.Column("excluded", sa.ARRAY(sa.String(length=80)), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'done', 'skipped', 'failed', 'cancelled')", name="plan_units_state"
        ),
        sa.CheckConstraint(
            "state NOT IN ('cancelled', 'done', 'failed', 'skipped') OR job_ids = '{}'", name="plan_units_over"
        ),
        sa.PrimaryKeyConstraint("plan_id", "number"),
    )
    op.create_table(
        "plans",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=80), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=80), server_default=sa.text("''"), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "request", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("budget", sa.BigInteger(), nullable=False),
        sa.Column("spent", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("reserved", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("held", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state IN ('cancelled', 'completed', 'failed')) = (finished_at IS NOT NULL)", name="plans_finished_at"
        ),
        sa.CheckConstraint(
            "state IN ('running', 'cancelling', 'completed', 'failed', 'cancelled')", name="plans_state"
        ),
        sa.CheckConstraint(
            "budget >= 0 AND spent >= 0 AND reserved >= 0 AND spent + reserved <= budget", name="plans_budget"
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("plans_account", "plans", ["account", "id"], unique=False)
    op.add_column(
        "api_keys", sa.Column("tools", sa.ARRAY(sa.String(length=80)), server_default=sa.text("'{}'"), nullable=False)
    )
    op.add_column(
        "api_keys",
        sa.Column("job_types", sa.ARRAY(sa.String(length=80)), server_default=sa.text("'{}'"), nullable=False),
    )
    op.add_column("api_keys", sa.Column("cap_day", sa.BigInteger(), nullable=True))
    op.add_column("api_keys", sa.Column("cap_job", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("plan_id", sa.String(length=40), nullable=True))
    op.add_column("jobs", sa.Column("plan_unit", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("max_cost", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("spend_day", sa.Date(), nullable=True))
    op.create_check_constraint("api_keys_caps", "api_keys", "cap_day >= 0 AND cap_job >= 0")
    op.create_check_constraint(
        "jobs_max_cost", "jobs", "max_cost >= 0 AND (cost IS NULL OR max_cost IS NULL OR cost <= max_cost)"
    )
    op.create_index("jobs_plan", "jobs", ["plan_id"], unique=False, postgresql_where=sa.text("plan_id IS NOT NULL"))


def downgrade() -> None:
    op.drop_index("jobs_plan", table_name="jobs", postgresql_where=sa.text("plan_id IS NOT NULL"))
    op.drop_constraint("jobs_max_cost", "jobs")
    op.drop_constraint("api_keys_caps", "api_keys")
    op.drop_column("jobs", "spend_day")
    op.drop_column("jobs", "max_cost")
    op.drop_column("jobs", "plan_unit")
    op.drop_column("jobs", "plan_id")
    op.drop_column("api_keys", "cap_job")
    op.drop_column("api_keys", "cap_day")
    op.drop_column("api_keys", "job_types")
    op.drop_column("api_keys", "tools")
    op.drop_index("plans_account", table_name="plans")
    op.drop_table("plans")
    op.drop_table("plan_units")
    op.drop_index("plan_signals_plan", table_name="plan_signals")
    op.drop_index("plan_signals_due", table_name="plan_signals", postgresql_where=sa.text("parked_at IS NULL"))
    op.drop_table("plan_signals")
    op.drop_index("plan_history_plan", table_name="plan_history")
    op.drop_table("plan_history")
    op.drop_table("key_spending")
    op.drop_index("agent_threads_account", table_name="agent_threads")
    op.drop_table("agent_threads")
    op.drop_index("agent_runs_thread", table_name="agent_runs")
    op.drop_table("agent_runs")
    op.drop_index("agent_hooks_live", table_name="agent_hooks", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_index("agent_hooks_subject", table_name="agent_hooks")
    op.drop_index("agent_hooks_account", table_name="agent_hooks")
    op.drop_table("agent_hooks")
