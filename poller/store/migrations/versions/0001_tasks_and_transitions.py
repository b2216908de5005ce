"""The watched tasks and their transitions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes both tables."""
    _create_tasks()
    _create_transitions()
    op.create_index("ix_transitions_task_seq", "transitions", ["task", "seq"])
    op.create_index("ix_transitions_at", "transitions", ["at"])
    untold = sa.text("told_at IS NULL")
    op.create_index("ix_transitions_untold", "transitions", ["seq"], sqlite_where=untold, postgresql_where=untold)


def _create_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("follow", sa.Boolean(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("unwatched_at", sa.Double()),
        *_status_columns(),
        *_contact_columns(),
        sa.Column("next_poll_at", sa.Double()),
        sa.Column("saved_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_tasks"),
    )


def _status_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("first_seen_at", sa.Double(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("run_since", sa.Double(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Text()),
        sa.Column("transitions", sa.BigInteger(), nullable=False),
        sa.Column("raw_status", sa.Text()),
        sa.Column("progress", sa.Double()),
        sa.Column("progress_moved_at", sa.Double()),
        sa.Column("message", sa.Text()),
        sa.Column("started_at", sa.Double()),
        sa.Column("ended_at", sa.Double()),
        sa.Column("duration", sa.Double()),
        sa.Column("subtasks", sa.Text()),
        sa.Column("overdue", sa.Boolean(), nullable=False),
        sa.Column("stalled", sa.Boolean(), nullable=False),
        sa.Column("unreachable", sa.Boolean(), nullable=False),
    ]


def _contact_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("polls", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("last_polled_at", sa.Double()),
        sa.Column("silent_since", sa.Double()),
        sa.Column("unanswered_since", sa.Double()),
        sa.Column("consecutive_failures", sa.BigInteger(), nullable=False),
        sa.Column("failure_outcome", sa.Text()),
        sa.Column("failure_at", sa.Double()),
        sa.Column("failure_message", sa.Text()),
        sa.Column("missing_polls", sa.BigInteger(), nullable=False),
        sa.Column("missing_since", sa.Double()),
    ]


def _create_transitions() -> None:
    op.create_table(
        "transitions",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("transition_id", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("raw_status", sa.Text()),
        sa.Column("progress", sa.Double()),
        sa.Column("message", sa.Text()),
        sa.Column("started_at", sa.Double()),
        sa.Column("ended_at", sa.Double()),
        sa.Column("duration", sa.Double()),
        sa.Column("request_id", sa.Text()),
        sa.Column("initial", sa.Boolean(), nullable=False),
        sa.Column("labels", sa.Text()),
        sa.Column("told_at", sa.Double()),
        sa.PrimaryKeyConstraint("seq", name="pk_transitions"),
        sa.UniqueConstraint("transition_id", name="uq_transitions_transition_id"),
        sqlite_autoincrement=True,
    )
