"""What to do when the database refuses for the moment.

Deadlocks, serialization failures, lock time-outs and lost connections say nothing about the refresh
token. The operation is retried a few times. After that the answer is 503, so the client keeps its session.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from django.db import Error, InterfaceError, InternalError, OperationalError, connections

from django_ciam_token.database import outages
from django_ciam_token.errors import TemporarilyUnavailable

T = TypeVar("T")

logger = logging.getLogger("django_ciam_token")

# What drivers raise for deadlock, serialization failure, lock time-out, lost connection, read-only
# (psycopg: InternalError) and full disk. Programming and data errors are bugs and are not among them.
UNAVAILABLE: Final = (OperationalError, InterfaceError, InternalError)

ATTEMPTS: Final = 4
# Seconds. The limit doubles each time, and the pause is drawn at random below it, so that the losers of a
# deadlock do not collide again.
_FIRST_PAUSE: Final = 0.02


class LostRace(Exception):
    """Another transaction got there first: read and decide again."""


def mend(using: str) -> None:
    """Close a connection that an error has left unusable, so that the next statement opens a new one.

    A connection that broke at the very end of a transaction would also stay outside autocommit. Within a
    transaction of the caller it does nothing: the caller has to end that transaction.
    """
    connection = connections[using]
    if not connection.in_atomic_block:
        # Closing a broken connection may fail as well. That does not matter: it is gone then.
        with suppress(Error):
            connection.close_if_unusable_or_obsolete()


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
        except UNAVAILABLE as error:
            _report(error, attempt)
            if connections[using].in_atomic_block:
                break
            mend(using)
        else:
            outages.answered(using)
            return result
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
    raise TemporarilyUnavailable("try again with the same parameters", reason="database_unavailable")


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
    cause = error.__cause__ or error
    code = getattr(cause, "sqlstate", None) or next(iter(cause.args), None)
    name = type(cause).__name__
    return f"{name} {code}" if re.fullmatch(r"\w{4,5}", str(code)) else name
