"""What to do when the database refuses for the moment.

Deadlocks, serialization failures, lock time-outs and lost connections say nothing about the refresh
token. The operation is retried a few times. After that the answer is 503, so the client keeps its session.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from typing import Any, Final, TypeVar

from django.db import (
    Error,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    connections,
    transaction,
)
from django.db.models import QuerySet

from django_ciam_token.database import outages
from django_ciam_token.errors import TemporarilyUnavailable

T = TypeVar("T")

logger = logging.getLogger("django_ciam_token")

# What drivers raise for deadlock, serialization failure, lock time-out, lost connection, read-only
# (psycopg: InternalError) and full disk. Programming and data errors are bugs and are not among them.
UNAVAILABLE: Final = (OperationalError, InterfaceError, InternalError)

# PostgreSQL's "cached plan must not change result type". The statement was prepared before a column of its
# table was altered, and fails on this connection for as long as that is open. The words are translated.
_STALE_PLAN: Final = "0A000"

ATTEMPTS: Final = 4
# Seconds. The limit doubles each time, and the pause is drawn at random below it, so that the losers of a
# deadlock do not collide again.
_FIRST_PAUSE: Final = 0.02


class LostRace(Exception):
    """Another transaction got there first: read and decide again."""


def is_refusal(error: BaseException) -> bool:
    """Tell whether the database may do what it refused now if it is asked again."""
    return isinstance(error, UNAVAILABLE) or _is_stale_plan(error)


def mend(using: str, error: BaseException | None = None) -> None:
    """Close a connection that an error has left unusable, so that the next statement opens another.

    A connection that broke at the very end of a transaction would also stay outside autocommit. Within a
    transaction of the caller nothing is done: the caller has to end it, and a ROLLBACK discards stale plans.

    Args:
        using: the alias of the database.
        error: what was raised, if known.
    """
    connection = connections[using]
    if connection.in_atomic_block:
        return
    # Closing what is broken may itself fail, and has then done its work.
    with suppress(Error):
        if error is not None and _is_stale_plan(error):
            if connection.connection is not None:
                # Of a pool Django's `close` is none: the next thread would meet the same plans.
                connection.connection.close()
            connection.close()
        else:
            connection.close_if_unusable_or_obsolete()


def _is_stale_plan(error: BaseException) -> bool:
    return isinstance(error, NotSupportedError) and _code(error) == _STALE_PLAN


def _code(error: BaseException) -> Any:
    cause = error.__cause__ or error
    # The names of psycopg 3 and psycopg 2; other drivers begin their arguments with it.
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return code or next(iter(cause.args), None)


def retry(operation: Callable[[int], T], *, using: str) -> T:
    """Run an operation, which must be safe to repeat, until the database accepts it.

    A database error inside a transaction of the caller is final: that transaction is already lost.

    Args:
        operation: called with the number of the attempt, beginning at 1. From the second attempt on, an
            earlier COMMIT may have succeeded although the database did not confirm it.
        using: the alias of the database.

    Raises:
        TemporarilyUnavailable: every attempt was refused; the operation did not happen, or, if a COMMIT
            broke, it is unknown whether it did.
    """
    asked_at = time.monotonic()
    for attempt in range(1, ATTEMPTS + 1):
        if attempt > 1:
            time.sleep(random.uniform(0, _FIRST_PAUSE * 2 ** (attempt - 1)))  # noqa: S311 - a pause is no secret
        try:
            result = operation(attempt)
        except LostRace:
            continue
        except Error as error:
            if not is_refusal(error):
                raise
            _report(error, attempt)
            if connections[using].in_atomic_block:
                break
            mend(using, error)
        else:
            outages.answered(using)
            return result
    raise _gave_up(using, asked_at=asked_at)


def read_rows(rows: QuerySet[Any, T]) -> list[T]:
    """Return the rows of a query.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    return retry(lambda _: list(rows), using=rows.db)


def in_key_order(rows: QuerySet[Any, T], size: int, *, key: Callable[[T], Any]) -> Iterator[list[T]]:
    """Yield all rows of a query in batches, in the order of their primary keys.

    Each batch is read by a statement of its own that begins behind the last key: nothing is kept open, and
    rows may come and go meanwhile.

    Args:
        rows: the query, without an order.
        size: how many rows a batch has at most.
        key: returns the primary key of a row as it was read.

    Raises:
        TemporarilyUnavailable: the database refused; earlier batches were read.
    """
    rest = rows = rows.order_by("pk")
    while read := read_rows(rest[:size]):
        yield read
        rest = rows.filter(pk__gt=key(read[-1]))


def best_effort(
    write: Callable[[], object],
    message: str,
    *arguments: Any,
    using: str,
    within: Callable[[str], AbstractContextManager[Any]] = transaction.atomic,
    **fields: str,
) -> None:
    """Make a write that a request can do without: in a transaction, and only logged if the database refuses.

    Args:
        write: makes it.
        message: for the log; its last placeholder is for the class of the error.
        arguments: for its other placeholders.
        using: the alias of the database.
        within: opens the transaction; that may be refused as well.
        fields: what else the log record has.
    """
    try:
        with within(using):
            write()
    except UNAVAILABLE as error:
        mend(using)
        logger.warning(message, *arguments, type(error).__name__, extra=fields)


def _gave_up(using: str, *, asked_at: float) -> TemporarilyUnavailable:
    connection = connections[using]
    if not connection.in_atomic_block:
        outages.refused(using, asked_at=asked_at)
        # After a failover a connection may be usable, but lead to a server that is now read-only.
        with suppress(Error):
            connection.close()
    logger.error(
        "The database refused every attempt; the client is asked to try again",
        extra={"event": "temporarily_unavailable"},
    )
    return TemporarilyUnavailable("try again with the same parameters", reason="database_unavailable")


def _report(error: Exception, attempt: int) -> None:
    reason = _describe(error)
    logger.warning(
        "The database refused attempt %d of %d: %s",
        attempt,
        ATTEMPTS,
        reason,
        extra={"event": "database_unavailable", "reason": reason},
    )


def _describe(error: Exception) -> str:
    """Name an error by its class and code: the message of a driver may quote values."""
    code, name = _code(error), type(error.__cause__ or error).__name__
    return f"{name} {code}" if re.fullmatch(r"\w{4,5}", str(code)) else name
