"""What is durable: one `Store` for every SQL database: SQLite and PostgreSQL."""

from poller.store.sql import SqlStore, open_store

__all__ = ["SqlStore", "open_store"]
