"""What must not be used in a child process after a fork, such as ``gunicorn --preload`` makes.

A child has copies of its parent's connections, which are the *same* connections for the database. If both,
or two children, used one, each could read the answers that are meant for the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from django.db import connections

# Kept until the process ends: to finalize one would say goodbye to the database, in the parent's name.
_inherited: Final[list[Any]] = []


def after_fork(function: Callable[[], None]) -> None:
    """Have a function called in each child, before anything else happens there.

    A server that forks without telling Python does not call it; uWSGI does with ``py-call-osafterfork``.
    """
    if hasattr(os, "register_at_fork"):  # Not on Windows, which has no fork.
        os.register_at_fork(after_in_child=function)


def abandon_connections() -> None:
    """Let Django open new connections in this process, and leave those of the parent untouched."""
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None and not _is_in_memory(connection):
            _abandon(connection)
        # The threads that look after a pool of psycopg do not exist here.
        pools = getattr(connection, "_connection_pools", {})
        if connection.alias in pools:
            _inherited.append(pools.pop(connection.alias))


def _is_in_memory(connection: Any) -> bool:
    # Such a database was copied with the process.
    return connection.vendor == "sqlite" and bool(connection.is_in_memory_db())


def _abandon(connection: Any) -> None:
    """Do what Django's `close` does, except that nothing is closed."""
    _inherited.append(connection.connection)
    connection.connection = None
    connection.run_on_commit = []
    if connection.in_atomic_block:
        # The transaction is the parent's. To Django it is one whose connection was lost.
        connection.closed_in_transaction = True
        connection.needs_rollback = True
