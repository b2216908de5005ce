"""Watches long-running remote tasks until they end, and tells."""
