"""From whatever schema a store has to the one that this program works with, one file in ``versions`` a step.

Alembic does it. It is slow to import, so that waits until there is something to do.
"""

from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, inspect, select, table

from poller.store.failures import RefusedError

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "poller_schema"
"""Where a store keeps the revision it is at. Of our own name, so that another program's is never taken for it."""

HEAD = "0003"
"""The revision that `poller.store.schema` describes."""


def is_current(connection: Connection) -> bool:
    """Whether the store needs no migration. RefusedError if it is not ours or of a newer program. Writes nothing."""
    if connection.dialect.has_table(connection, VERSION_TABLE):
        revision = connection.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))
        if revision is not None and revision != HEAD:
            _refuse_unknown(revision)
        return bool(revision == HEAD)
    if strangers := inspect(connection).get_table_names():
        raise RefusedError(
            f"holds another program's tables ({', '.join(strangers[:3])}): name another place for the store"
        )
    return False


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
