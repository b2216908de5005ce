"""Since when a run is awaited that was asked to start."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the column in its place: SQLite would only add it behind the table's constraints."""
    with op.batch_alter_table("tasks", recreate="always") as tasks:
        tasks.add_column(sa.Column("awaited_since", sa.Double()), insert_after="unreachable")
