"""The outbox: events that are to go to sinks."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_WAITS = "delivered_at IS NULL AND dead_at IS NULL"


def upgrade() -> None:
    """Makes a table."""
    op.create_table(
        "deliveries",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("transition_id", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("held_since", sa.Double()),
        sa.Column("tried_at", sa.Double()),
        sa.Column("error", sa.Text()),
        sa.Column("delivered_at", sa.Double()),
        sa.Column("dead_at", sa.Double()),
        sa.PrimaryKeyConstraint("seq", name="pk_deliveries"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deliveries_sink_transition_id", "deliveries", ["sink", "transition_id"], unique=True)
    op.create_index("ix_deliveries_at", "deliveries", ["at"])
    for name, columns, condition in (
        ("ix_deliveries_due", ["sink", "due_at"], _WAITS),
        ("ix_deliveries_order", ["sink", "task", "seq"], _WAITS),
        ("ix_deliveries_dead", ["sink", "seq"], "dead_at IS NOT NULL"),
        ("ix_deliveries_error", ["sink", "tried_at"], "error IS NOT NULL"),
    ):
        some = sa.text(condition)
        op.create_index(name, "deliveries", columns, sqlite_where=some, postgresql_where=some)
