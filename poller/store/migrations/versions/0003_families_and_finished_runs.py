"""Families of tasks, their finished runs, and whether a task is late for its family."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds two columns, each in its place, and a table."""
    with op.batch_alter_table("tasks", recreate="always") as tasks:
        tasks.add_column(sa.Column("family", sa.Text()), insert_after="source")
        tasks.add_column(
            sa.Column("late", sa.Boolean(), nullable=False, server_default=sa.false()), insert_after="unreachable"
        )
    op.create_table(
        "runs",
        sa.Column("transition_id", sa.Text(), nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=False),
        sa.Column("duration", sa.Double(), nullable=False),
        sa.Column("marks", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("transition_id", name="pk_runs"),
    )
    newest_first: list[str | sa.TextClause] = ["family", sa.text("ended_at DESC"), sa.text("transition_id DESC")]
    op.create_index("ix_runs_family_ended_at", "runs", newest_first)
    op.create_index("ix_runs_ended_at", "runs", ["ended_at"])
