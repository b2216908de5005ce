"""Keeps the polls going: when each is sent, over which connection, and what becomes of its answer."""
