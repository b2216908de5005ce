"""What Alembic runs for every command, on the connection that `poller.store.migrations.migrate` hands over."""

from alembic import context

from poller.store.migrations import VERSION_TABLE
from poller.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
