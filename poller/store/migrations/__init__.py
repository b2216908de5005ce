"""From whatever schema a store has to the one that this program works with, one file in ``versions`` a step.

Alembic does it. It is slow to import, so that waits until there is something to do.
"""

from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, func, inspect, select, table

from poller.store.failures import RefusedError
from poller.store.schema import metadata

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "poller_schema"
"""Where a store keeps the revision it is at. Of our own name, so that another program's is never taken for it."""

_LOCK = 0x706F6C6C6572
"""The key, "poller" in ASCII, of the advisory lock under which PostgreSQL is migrated."""

HEAD = "0005"
"""The revision that `poller.store.schema` describes."""


def is_current(connection: Connection) -> bool:
    """Whether the store needs no migration. RefusedError if it is not ours or of a newer program. Writes nothing."""
    return revision_of(connection) == HEAD


def revision_of(connection: Connection) -> str | None:
    """The revision that the store is at; None for an empty place. RefusedError as with `is_current`. Writes nothing."""
    if connection.dialect.has_table(connection, VERSION_TABLE):
        revision = connection.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))
        if revision is not None and revision != HEAD:
            _refuse_unknown(revision)
        return None if revision is None else str(revision)
    tables = inspect(connection).get_table_names()
    # A file is one program's; a database may well hold what others keep, under names of their own.
    if strangers := tables if connection.dialect.name == "sqlite" else sorted({*tables} & {*metadata.tables}):
        raise RefusedError(
            f"holds another program's tables ({', '.join(strangers[:3])}): name another place for the store"
        )
    return None


def migrate_once(connection: Connection) -> str | None:
    """Brings the store to `HEAD`, unless someone else has done so meanwhile; ``connection`` is in a transaction.

    Gives back the revision that it was at.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    before = revision_of(connection)
    if before != HEAD:
        migrate(connection)
    return before


def migrate(connection: Connection) -> None:
    """Brings the store to `HEAD`, within the transaction that ``connection`` is in."""
    from alembic import command  # noqa: PLC0415 - slow to import

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)


def _config() -> "Config":
    from alembic.config import Config  # noqa: PLC0415 - slow to import

    config = Config()
    config.set_main_option("script_location", "poller.store:migrations")
    return config


def _refuse_unknown(revision: str) -> None:
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - slow to import

    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if revision not in known:
        raise RefusedError(
            f"was written by a newer version of poller (schema {revision}, this one knows up to {HEAD}): "
            "run that version again, or name another place for the store"
        )
