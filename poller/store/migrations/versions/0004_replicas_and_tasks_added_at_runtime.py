"""What several replicas share, and what is known of tasks that were added at runtime."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_PARTITIONS = 1024


def upgrade() -> None:
    """Adds columns, each in its place, and the tables of replicas."""
    _extend_tasks()
    _make_watchlist()
    _make_replicas()


def _extend_tasks() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    with op.batch_alter_table("tasks", recreate="always") as tasks:
        for column, before in (
            (sa.Column("owner", sa.Text()), "family"),
            (sa.Column("ttl", sa.Double()), "owner"),
            (sa.Column("expires_at", sa.Double()), "ttl"),
            (sa.Column("revision", sa.BigInteger(), nullable=False, server_default="0"), "unwatched_at"),
            (sa.Column("expected_basis", sa.Text()), "next_poll_at"),
            (sa.Column("expected_at", sa.Double()), "expected_basis"),
            (sa.Column("expected_low_at", sa.Double()), "expected_at"),
            (sa.Column("expected_high_at", sa.Double()), "expected_low_at"),
        ):
            tasks.add_column(column, insert_after=before)
        if not is_sqlite:
            # Sorted as Python sorts: lists go on from a name, whatever the database's language.
            tasks.alter_column("name", type_=sa.Text(collation="C"))
    op.create_index("ix_tasks_revision", "tasks", ["revision"])
    for name in ("expires_at", "unwatched_at"):
        some = sa.text(f"{name} IS NOT NULL")
        op.create_index(f"ix_tasks_{name}", "tasks", [name], sqlite_where=some, postgresql_where=some)


def _make_watchlist() -> None:
    table = op.create_table(
        "watchlist",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_watchlist"),
    )
    op.bulk_insert(table, [{"id": 1, "revision": 0}])


def _make_replicas() -> None:
    op.create_table(
        "replicas",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("joined_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_replicas"),
    )
    leases = op.create_table(
        "leases",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", name="pk_leases"),
    )
    op.bulk_insert(leases, [{"partition": number, "owner": None, "epoch": 0} for number in range(_PARTITIONS)])
    op.create_table(
        "connections",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("paused_until", sa.Double()),
        sa.Column("paused_by", sa.Text()),
        sa.Column("prober", sa.Text()),
        sa.Column("probing_until", sa.Double()),
        sa.PrimaryKeyConstraint("provider", name="pk_connections"),
    )
