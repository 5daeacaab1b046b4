"""Writes that no answer should wait for: what is only noted gives way to other people's locks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final

from django.db import Error, connections, transaction

from django_ciam_token.database.age import Instant

LONGEST_WAIT: Final = 0.05
"""Seconds. MariaDB counts whole seconds and does not wait at all; MySQL waits for one."""


class Pause:
    """A time in which something is not tried again.

    Args:
        seconds: how long it lasts.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begun_at: Instant | None = None

    def begin(self) -> None:
        """Let it begin now."""
        self._begun_at = Instant.now()

    def end(self) -> None:
        """Let it be over."""
        self._begun_at = None

    def is_over(self) -> bool:
        """Tell whether it is over, or never began."""
        return self._begun_at is None or self._begun_at.age() >= self._seconds


@contextmanager
def impatient(using: str) -> Iterator[None]:
    """Open a transaction in which no statement waits for other people's locks longer than `LONGEST_WAIT`.

    Within a transaction of the caller the locks are waited for as the caller has it: a shorter limit would
    hold for the caller's statements as well. Where a limit ends a wait, that is an OperationalError.
    """
    connection = connections[using]
    limit = _LIMITS.get(connection.vendor)
    if limit is None or connection.in_atomic_block:
        with transaction.atomic(using=using):
            yield
    elif connection.vendor == "postgresql":
        with transaction.atomic(using=using), limit(connection):
            yield
    else:
        with limit(connection), transaction.atomic(using=using):
            yield


@contextmanager
def impatient_end(using: str) -> Iterator[None]:
    """Limit the waits for locks of the last statements of a transaction that is open, and not the caller's.

    On SQLite there are none: a transaction that has written has the one lock that there is.
    """
    connection = connections[using]
    limit = None if connection.vendor == "sqlite" else _LIMITS.get(connection.vendor)
    with nullcontext() if limit is None else limit(connection):
        yield


@contextmanager
def _on_postgresql(connection: Any) -> Iterator[None]:
    # Until the end of the transaction.
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = {round(LONGEST_WAIT * 1_000)}")
    yield


@contextmanager
def _on_mysql(connection: Any) -> Iterator[None]:
    # For rows, and for tables that are being altered. Zero is an error for some versions of MySQL.
    seconds = 0 if connection.mysql_is_mariadb else 1
    limit = (
        "SET @ciam_rows = @@innodb_lock_wait_timeout, @ciam_tables = @@lock_wait_timeout, "
        f"SESSION innodb_lock_wait_timeout = {seconds}, SESSION lock_wait_timeout = {seconds}"
    )
    lift = "SET SESSION innodb_lock_wait_timeout = @ciam_rows, SESSION lock_wait_timeout = @ciam_tables"
    with _between(connection, limit, lift):
        yield


@contextmanager
def _on_sqlite(connection: Any) -> Iterator[None]:
    with connection.cursor() as cursor:
        [milliseconds] = cursor.execute("PRAGMA busy_timeout").fetchone()
    limit = f"PRAGMA busy_timeout = {round(LONGEST_WAIT * 1_000)}"
    with _between(connection, limit, f"PRAGMA busy_timeout = {int(milliseconds)}"):
        yield


@contextmanager
def _between(connection: Any, limit: str, lift: str) -> Iterator[None]:
    """Run a statement that limits waits on this connection, and afterwards one that lifts the limit."""
    with connection.cursor() as cursor:
        cursor.execute(limit)
    limited = connection.connection
    try:
        yield
    finally:
        # If the connection was lost, so was the limit.
        if connection.connection is limited:
            _lift(connection, lift)


def _lift(connection: Any, lift: str) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(lift)
    except Error:
        # A refresh must not inherit the limit.
        connection.close()
        if connection.in_atomic_block:
            # The transaction is lost with the connection, and Django would leave its block without an error.
            raise


_LIMITS: Final = {"postgresql": _on_postgresql, "mysql": _on_mysql, "sqlite": _on_sqlite}
