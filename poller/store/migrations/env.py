"""What Alembic runs for every command: the connection to work on is handed over by `poller.store.migrations.migrate`."""

from alembic import context

from poller.store.migrations import VERSION_TABLE
from poller.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite alters a table by making it anew
)
with context.begin_transaction():
    context.run_migrations()
