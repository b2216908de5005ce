"""What is durable: one `Store` for every SQL database, SQLite for now."""

from poller.store.sql import SqlStore, open_store

__all__ = ["SqlStore", "open_store"]
