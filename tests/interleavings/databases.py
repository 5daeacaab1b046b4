"""What each database has of its own: who waits for a lock, how a connection is cut, levels of isolation."""

from __future__ import annotations

import select
import time
from contextlib import suppress
from typing import Any

from django.db import OperationalError, connection

LEVELS = {
    "postgresql": ("read committed", "repeatable read", "serializable"),
    "mysql": ("read committed", "repeatable read"),
    "sqlite": ("immediate",),
}
LOOKS_AFTER = {"postgresql": 0.002, "mysql": 0.004, "sqlite": 0.05}
"""Seconds without a sign of a statement, until the database is asked whether it waits for a lock."""


def prepare(worker: Any, isolation: str) -> None:
    """Set up the connection of a worker that was opened a moment ago."""
    statements = {
        "postgresql": [
            f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {isolation}",
            "SET deadlock_timeout = '20ms'",
            "SET synchronous_commit = off",
        ],
        "mysql": [f"SET SESSION TRANSACTION ISOLATION LEVEL {isolation}"],
        "sqlite": ["PRAGMA synchronous = OFF"],
    }
    with worker.cursor() as cursor:
        for statement in statements[worker.vendor]:
            cursor.execute(statement)


def session_number(worker: Any) -> int | None:
    """Return by which number the server knows the connection of a worker."""
    driver = worker.connection
    if driver is None or worker.vendor == "sqlite":
        return None
    return driver.info.backend_pid if worker.vendor == "postgresql" else driver.thread_id()


def is_in_transaction(worker: Any) -> bool:
    """Tell whether a transaction of SQLite is open; servers end theirs, whatever comes of a COMMIT."""
    return worker.vendor == "sqlite" and worker.connection is not None and worker.connection.in_transaction


def is_waiting_for_lock(number: int | None) -> bool:
    """Ask the server whether a connection waits for a lock; called in the main thread."""
    if number is None:
        return False
    if connection.vendor == "postgresql":
        return bool(
            _ask("SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'", number)
        )
    # What `information_schema.innodb_trx` says may be a tenth of a second old; this is not. It quotes
    # statements, and so the bytes in them, which are no UTF-8.
    with connection.cursor() as cursor:
        cursor.execute("SET character_set_results = binary")
        try:
            cursor.execute("SHOW ENGINE INNODB STATUS")
            [(_, _, status)] = cursor.fetchall()
        finally:
            cursor.execute("SET character_set_results = utf8mb4")
    transactions = bytes(status).decode(errors="replace").split("---TRANSACTION")
    return any("LOCK WAIT" in one and f"thread id {number}," in one for one in transactions)


class Cutter:
    """Ends connections from outside, by one of its own."""

    def __init__(self) -> None:
        self._own: Any = connection.copy()
        # Whichever worker comes to its crash uses it, one of them in a run.
        self._own.inc_thread_sharing()

    def close(self) -> None:
        self._own.close()

    def cut(self, worker: Any) -> None:
        """End a connection, and wait until the server has rolled back what it was doing.

        SQLite has no connection to cut. There it is an error of input or output, by which it rolls back.
        """
        if worker.vendor == "sqlite":
            worker.connection.rollback()
            return
        number = session_number(worker)
        if number is None:
            return
        with self._own.cursor() as cursor:
            if worker.vendor == "postgresql":
                cursor.execute("SELECT pg_terminate_backend(%s)", [number])
                _wait_until_closed(worker.connection.fileno())
                return
            cursor.execute(f"KILL CONNECTION {number:d}")
            for _ in range(5_000):
                cursor.execute("SELECT 1 FROM information_schema.processlist WHERE id = %s", [number])
                if not cursor.fetchall():
                    return
                time.sleep(0.001)
            raise TimeoutError("MariaDB does not end the connection.")


def _wait_until_closed(file: int) -> None:
    # A process of PostgreSQL leaves this to the kernel, so that it is its very end. To wait for it by
    # `pg_terminate_backend` takes a tenth of a second.
    poll = select.poll()
    poll.register(file, select.POLLRDHUP)
    if not poll.poll(5_000):
        raise TimeoutError("PostgreSQL does not end the connection.")


def notice(worker: Any) -> None:
    """Let the driver find out that the connection has ended, as one does that waits for an answer."""
    if worker.vendor == "postgresql":
        with suppress(worker.Database.Error):
            worker.connection.pgconn.exec_(b"SELECT 1")


def lost() -> OperationalError:
    """Return what a driver raises when the answer to a statement does not arrive."""
    return OperationalError("the connection was lost")


def _ask(sql: str, *parameters: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()
