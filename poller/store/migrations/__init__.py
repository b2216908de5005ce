"""From whatever schema a store has to the one that this program works with; Alembic does it, one file in ``versions`` a step.

Alembic is slow to import, so it is only when there is something to do.
"""

from sqlalchemy import Connection, column, inspect, select, table

from poller.store.failures import Refusal

VERSION_TABLE = "poller_schema"
"""Where a store keeps the revision it is at. Of our own name, so that another program's is never taken for it."""

HEAD = "0001"
"""The revision that `poller.store.schema` describes."""


def is_current(connection: Connection) -> bool:
    """Whether the store needs no migration. Refusal if it is none of ours, or of a newer program; nothing is written."""
    if connection.dialect.has_table(connection, VERSION_TABLE):
        revision = connection.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))
        if revision is not None and revision != HEAD:
            _refuse_unknown(revision)
        return bool(revision == HEAD)
    if strangers := inspect(connection).get_table_names():
        raise Refusal(f"holds another program's tables ({', '.join(strangers[:3])}): name another place for the store")
    return False


def migrate(connection: Connection) -> None:
    """Brings the store to `HEAD`, within the transaction that ``connection`` is in."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "poller.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)


def _refuse_unknown(revision: str) -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "poller.store:migrations")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision not in known:
        raise Refusal(
            f"was written by a newer version of poller (schema {revision}, this one knows up to {HEAD}): "
            "run that version again, or name another place for the store"
        )
