"""What to do when the database says "not now".

Deadlocks, serialization failures, lock time-outs and lost connections say nothing about the refresh
token. They are retried a few times and then answered 503, so that the client keeps its session.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from django.db import Error, InterfaceError, InternalError, OperationalError, connections
from django.db.models import DateTimeField, Func
from django.db.models.sql.compiler import SQLCompiler

from django_ciam_token.errors import TemporarilyUnavailable

T = TypeVar("T")

logger = logging.getLogger("django_ciam_token")

# What drivers raise for deadlock, serialization failure, lock time-out, lost connection, read-only
# (psycopg: InternalError) and full disk. Programming and data errors are bugs and are not among them.
UNAVAILABLE: Final = (OperationalError, InterfaceError, InternalError)

ATTEMPTS: Final = 4
# Seconds; doubled each time and drawn at random below that, so that losers of a deadlock part ways.
_FIRST_PAUSE: Final = 0.02


class LostRace(Exception):
    """Another transaction got there first: read again and decide anew."""


class DatabaseNow(Func):
    """The database's clock in UTC: one clock for every process and host that writes there.

    Django's own ``Now`` has the *server's local* time on MariaDB and MySQL, which a time stored in UTC
    can't be compared with.
    """

    template = "CURRENT_TIMESTAMP"
    output_field = DateTimeField()

    def as_postgresql(self, compiler: SQLCompiler, connection: Any, **extra: Any) -> Any:
        """Use the start of the statement: PostgreSQL's plain form is the start of the transaction."""
        return self.as_sql(compiler, connection, template="STATEMENT_TIMESTAMP()", **extra)

    def as_mysql(self, compiler: SQLCompiler, connection: Any, **extra: Any) -> Any:
        """Use UTC, with microseconds."""
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **extra)

    def as_sqlite(self, compiler: SQLCompiler, connection: Any, **extra: Any) -> Any:
        """Use UTC, with milliseconds: all that SQLite's clock has."""
        template = "STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', 'NOW')"
        return self.as_sql(compiler, connection, template=template, **extra)


def mend(using: str) -> None:
    """Close a connection that an error has left unusable, so that the next statement opens another.

    One that broke at the very end of a transaction would also be left outside of autocommit. Within a
    transaction of the caller nothing is done: its end is the caller's.
    """
    connection = connections[using]
    if not connection.in_atomic_block:
        # Closing what is broken may itself fail, and has then done its work.
        with suppress(Error):
            connection.close_if_unusable_or_obsolete()


def retry(operation: Callable[[], T], *, using: str) -> T:
    """Run an operation that is safe to repeat until the database lets it through.

    A database error inside a transaction of the caller is final: that transaction is already lost.

    Raises:
        TemporarilyUnavailable: every attempt was refused; the operation did not happen, or, if a COMMIT
            broke, it is unknown whether it did.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0, _FIRST_PAUSE * 2**attempt))  # noqa: S311 - a pause is no secret
        try:
            return operation()
        except LostRace:
            continue
        except UNAVAILABLE as error:
            reason = _describe(error)
            logger.warning(
                "The database refused attempt %d of %d: %s",
                attempt + 1,
                ATTEMPTS,
                reason,
                extra={"event": "database_unavailable", "reason": reason},
            )
            if connections[using].in_atomic_block:
                break
            mend(using)
    connection = connections[using]
    if not connection.in_atomic_block:
        # After a failover a connection may be usable and yet lead to a server that only reads.
        with suppress(Error):
            connection.close()
    logger.error(
        "The database refused every attempt; the client is asked to try again",
        extra={"event": "temporarily_unavailable"},
    )
    raise TemporarilyUnavailable("try again with the same parameters", reason="database_unavailable")


def _describe(error: Exception) -> str:
    """Name an error by its class and code: the message of a driver may quote values."""
    cause = error.__cause__ or error
    code = getattr(cause, "sqlstate", None) or next(iter(cause.args), None)
    name = type(cause).__name__
    return f"{name} {code}" if re.fullmatch(r"\w{4,5}", str(code)) else name
