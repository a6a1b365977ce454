"""the chain

Revision: 0002
After: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chain_cursors",
        sa.Column("program", sa.String(length=44), nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("slot", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("signature", sa.String(length=88), nullable=True),
        sa.Column("scan_before", sa.String(length=88), nullable=True),
        sa.Column("scan_listed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("scan_slot", sa.BigInteger(), nullable=True),
        sa.Column("scan_signature", sa.String(length=88), nullable=True),
        sa.Column("seen_slot", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("stalled", sa.Text(), nullable=True),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("program"),
    )
    op.create_table(
        "chain_events",
        sa.Column("signature", sa.String(length=88), nullable=False),
        sa.Column("program", sa.String(length=44), nullable=False),
        sa.Column("outer_ix", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("inner_ix", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("slot", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("block_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("address", sa.String(length=44), nullable=True),
        sa.Column("subject", sa.String(length=64), nullable=True),
        sa.Column("commitment", sa.String(length=10), nullable=False),
        sa.Column("recovered", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("flag", sa.String(length=40), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("commitment IN ('confirmed', 'finalized', 'orphaned')", name="chain_events_commitment"),
        sa.PrimaryKeyConstraint("signature", "program", "outer_ix", "inner_ix", "ordinal"),
    )
    op.create_index(
        "chain_events_address",
        "chain_events",
        ["address"],
        unique=False,
        postgresql_where=sa.text("address IS NOT NULL"),
    )
    op.create_index(
        "chain_events_confirmed",
        "chain_events",
        ["slot"],
        unique=False,
        postgresql_where=sa.text("commitment = 'confirmed'"),
    )
    op.create_index("chain_events_id", "chain_events", ["id"], unique=True)
    op.create_index(
        "chain_events_unresolved",
        "chain_events",
        ["subject"],
        unique=False,
        postgresql_where=sa.text("address IS NULL AND subject IS NOT NULL"),
    )
    op.create_table(
        "chain_jobs",
        sa.Column("address", sa.String(length=44), nullable=False),
        sa.Column("chain_job_id", sa.String(length=32), nullable=False),
        sa.Column("client", sa.String(length=44), nullable=True),
        sa.Column("type", sa.String(length=20), nullable=True),
        sa.Column("price", sa.Numeric(precision=20, scale=0), nullable=True),
        sa.Column("requirements_hash", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("finalized", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("over", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("chain_node_id", sa.String(length=64), nullable=True),
        sa.Column("assigned_operator", sa.String(length=44), nullable=True),
        sa.Column("completed_operator", sa.String(length=44), nullable=True),
        sa.Column("result_hash", sa.String(length=64), nullable=True),
        sa.Column("logs_url", sa.String(length=128), nullable=True),
        sa.Column("payment", sa.String(length=12), server_default=sa.text("'none'"), nullable=False),
        sa.Column("payment_reason", sa.String(length=40), nullable=True),
        sa.Column("mismatch", sa.String(length=40), nullable=True),
        sa.Column("job_id", sa.String(length=40), nullable=True),
        sa.Column("linked_by", sa.String(length=12), nullable=True),
        sa.Column("spec_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("slot", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'assigned', 'cancelled', 'completed', 'orphaned')", name="chain_jobs_status"
        ),
        sa.CheckConstraint("payment IN ('none', 'observed', 'valid', 'invalid')", name="chain_jobs_payment"),
        sa.CheckConstraint("linked_by IN ('id', 'hash', 'spec', 'defaults')", name="chain_jobs_linked_by"),
        sa.PrimaryKeyConstraint("address"),
        sa.UniqueConstraint("job_id"),
    )
    op.create_index("chain_jobs_name", "chain_jobs", ["chain_job_id"], unique=False)
    op.create_index(
        "chain_jobs_unpaid",
        "chain_jobs",
        ["status"],
        unique=False,
        postgresql_where=sa.text("payment = 'none' AND job_id IS NOT NULL"),
    )
    op.create_index(
        "chain_jobs_waiting",
        "chain_jobs",
        ["spec_due_at"],
        unique=False,
        postgresql_where=sa.text("spec_due_at IS NOT NULL"),
    )
    op.create_table(
        "chain_leader",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("holder", sa.String(length=80), server_default=sa.text("''"), nullable=False),
        sa.Column("finalized_slot", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("tip_slot", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("id = 1", name="chain_leader_one"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "chain_nodes",
        sa.Column("address", sa.String(length=44), nullable=False),
        sa.Column("owner", sa.String(length=44), nullable=False),
        sa.Column("chain_node_id", sa.String(length=64), nullable=False),
        sa.Column("node_id", sa.String(length=40), nullable=True),
        sa.Column("gpu_specs_hash", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("location", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("stake", sa.Numeric(precision=20, scale=0), server_default=sa.text("0"), nullable=False),
        sa.Column("reputation", sa.Integer(), server_default=sa.text("100"), nullable=False),
        sa.Column("jobs_completed", sa.Numeric(precision=20, scale=0), server_default=sa.text("0"), nullable=False),
        sa.Column("total_earned", sa.Numeric(precision=20, scale=0), server_default=sa.text("0"), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=True),
        sa.Column("registered", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("slot", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("address"),
        sa.UniqueConstraint("node_id"),
    )
    op.create_index("chain_nodes_name", "chain_nodes", ["chain_node_id"], unique=False)
    op.create_index("chain_nodes_owner", "chain_nodes", ["owner"], unique=False)
    op.create_table(
        "chain_outgoing",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("address", sa.String(length=44), nullable=False),
        sa.Column("state", sa.String(length=12), server_default=sa.text("'ready'"), nullable=False),
        sa.Column("signature", sa.String(length=88), nullable=True),
        sa.Column("wire", sa.LargeBinary(), nullable=True),
        sa.Column("last_valid_block_height", sa.BigInteger(), nullable=True),
        sa.Column("builds", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('assign_job', 'settle_job')", name="chain_outgoing_kind"),
        sa.CheckConstraint("state IN ('ready', 'sent', 'done', 'failed')", name="chain_outgoing_state"),
        sa.CheckConstraint(
            "(state = 'sent') = (wire IS NOT NULL) AND (state <> 'sent' OR signature IS NOT NULL "
            "AND last_valid_block_height IS NOT NULL)",
            name="chain_outgoing_wire",
        ),
        sa.PrimaryKeyConstraint("job_id", "kind"),
    )
    op.create_index(
        "chain_outgoing_due",
        "chain_outgoing",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('ready', 'sent')"),
    )
    op.create_table(
        "chain_pages",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("program", sa.String(length=44), nullable=False),
        sa.Column(
            "entries", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
        sa.Column("high_slot", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("done", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("chain_pages_program", "chain_pages", ["program", "id"], unique=False)
    op.create_table(
        "chain_payments",
        sa.Column("signature", sa.String(length=88), nullable=False),
        sa.Column("program", sa.String(length=44), nullable=False),
        sa.Column("outer_ix", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("inner_ix", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("address", sa.String(length=44), nullable=True),
        sa.Column("mint", sa.String(length=44), nullable=True),
        sa.Column("total", sa.Numeric(precision=20, scale=0), nullable=True),
        sa.Column("operator_amount", sa.Numeric(precision=20, scale=0), nullable=False),
        sa.Column("treasury_amount", sa.Numeric(precision=20, scale=0), nullable=False),
        sa.Column("incentive_amount", sa.Numeric(precision=20, scale=0), nullable=False),
        sa.Column("orchestrator_amount", sa.Numeric(precision=20, scale=0), nullable=True),
        sa.Column("verdict", sa.String(length=24), nullable=False),
        sa.Column(
            "transfers", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
        sa.Column("commitment", sa.String(length=10), nullable=False),
        sa.Column("slot", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("block_time", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("commitment IN ('confirmed', 'finalized', 'orphaned')", name="chain_payments_commitment"),
        sa.CheckConstraint(
            "verdict IN ('valid', 'unverified', 'no_transfer', 'fake_mint', 'wrong_amounts', 'wrong_operator', "
            "'wrong_treasury', 'wrong_incentive_pool', 'wrong_split')",
            name="chain_payments_verdict",
        ),
        sa.PrimaryKeyConstraint("signature", "program", "outer_ix", "inner_ix", "ordinal"),
    )
    op.create_index(
        "chain_payments_address",
        "chain_payments",
        ["address"],
        unique=False,
        postgresql_where=sa.text("address IS NOT NULL"),
    )
    op.create_table(
        "chain_quarantine",
        sa.Column("signature", sa.String(length=88), nullable=False),
        sa.Column("program", sa.String(length=44), nullable=False),
        sa.Column("outer_ix", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("inner_ix", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("slot", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("raw", sa.LargeBinary(), server_default=sa.text("''"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("signature", "program", "outer_ix", "inner_ix", "ordinal"),
    )
    op.create_table(
        "settlement_history",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("from_state", sa.String(length=12), nullable=False),
        sa.Column("to_state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "from_state IN ('none', 'awaiting', 'observed', 'settled', 'disputed')", name="settlement_history_from"
        ),
        sa.CheckConstraint(
            "to_state IN ('none', 'awaiting', 'observed', 'settled', 'disputed')", name="settlement_history_to"
        ),
        sa.PrimaryKeyConstraint("job_id", "seq"),
    )
    op.create_table(
        "specs",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=80), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column(
            "body", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.add_column(
        "jobs", sa.Column("requirements_hash", sa.String(length=64), server_default=sa.text("''"), nullable=False)
    )
    op.add_column("jobs", sa.Column("chain_job", sa.String(length=44), nullable=True))
    op.create_index(
        "jobs_requirements_hash",
        "jobs",
        ["requirements_hash", "id"],
        unique=False,
        postgresql_where=sa.text("requirements_hash <> '' AND chain_job IS NULL"),
    )
    _signal_kinds(*_KINDS, "chain_created", "chain_cancelled", "chain_payment")
    op.execute("INSERT INTO chain_leader (id) VALUES (1)")


_KINDS = (
    "submitted",
    "match_due",
    "offer_accepted",
    "offer_declined",
    "offer_expired",
    "progress",
    "result",
    "failure",
    "lease_lost",
    "cancel_requested",
    "deadline",
)


def _signal_kinds(*kinds: str) -> None:
    """Autogenerate does not see CHECKs."""
    op.drop_constraint("signals_kind", "signals")
    op.create_check_constraint("signals_kind", "signals", f"kind IN ({', '.join(repr(kind) for kind in kinds)})")


def downgrade() -> None:
    op.execute("DELETE FROM signals WHERE kind LIKE 'chain_%'")
    _signal_kinds(*_KINDS)
    op.drop_index(
        "jobs_requirements_hash",
        table_name="jobs",
        postgresql_where=sa.text("requirements_hash <> '' AND chain_job IS NULL"),
    )
    op.drop_column("jobs", "chain_job")
    op.drop_column("jobs", "requirements_hash")
    op.drop_table("specs")
    op.drop_table("settlement_history")
    op.drop_table("chain_quarantine")
    op.drop_index(
        "chain_payments_address", table_name="chain_payments", postgresql_where=sa.text("address IS NOT NULL")
    )
    op.drop_table("chain_payments")
    op.drop_index("chain_pages_program", table_name="chain_pages")
    op.drop_table("chain_pages")
    op.drop_index(
        "chain_outgoing_due", table_name="chain_outgoing", postgresql_where=sa.text("state IN ('ready', 'sent')")
    )
    op.drop_table("chain_outgoing")
    op.drop_index("chain_nodes_owner", table_name="chain_nodes")
    op.drop_index("chain_nodes_name", table_name="chain_nodes")
    op.drop_table("chain_nodes")
    op.drop_table("chain_leader")
    op.drop_index(
        "chain_jobs_unpaid",
        table_name="chain_jobs",
        postgresql_where=sa.text("payment = 'none' AND job_id IS NOT NULL"),
    )
    op.drop_index("chain_jobs_waiting", table_name="chain_jobs", postgresql_where=sa.text("spec_due_at IS NOT NULL"))
    op.drop_index("chain_jobs_name", table_name="chain_jobs")
    op.drop_table("chain_jobs")
    op.drop_index(
        "chain_events_unresolved",
        table_name="chain_events",
        postgresql_where=sa.text("address IS NULL AND subject IS NOT NULL"),
    )
    op.drop_index("chain_events_id", table_name="chain_events")
    op.drop_index(
        "chain_events_confirmed", table_name="chain_events", postgresql_where=sa.text("commitment = 'confirmed'")
    )
    op.drop_index("chain_events_address", table_name="chain_events", postgresql_where=sa.text("address IS NOT NULL"))
    op.drop_table("chain_events")
    op.drop_table("chain_cursors")
