"""Whether this process can do its work: the database answers, and a usable key signs.

Nothing is written and no key is made or parsed, so it may be asked of a database that only reads, and a key
that `migrate` made stays as provisional as it was.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Hashable
from typing import Final

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connections
from django.utils import timezone

from django_ciam_token.database.forks import after_fork
from django_ciam_token.database.retry import is_refusal, mend
from django_ciam_token.database.routing import write_database
from django_ciam_token.database.tenants import tenant_key
from django_ciam_token.keys import key_set
from django_ciam_token.models import SigningKey

logger = logging.getLogger("django_ciam_token")

# Seconds. Anybody may ask, as often as they like: the database is asked once in this time by each process.
_STAYS_TRUE_FOR: Final = 1.0
# Seconds. If the database does not answer at all, one thread of the process waits for it, and no more.
_LONGEST_WAIT: Final = 1.0

_asking = threading.Lock()
_answers: Final[dict[Hashable, tuple[float, bool]]] = {}


def is_healthy() -> bool:
    """Tell whether a request for tokens could be answered now, as far as one small statement can tell.

    It does not wait longer than a moment for another thread that asks already. How long that one waits for a
    server that does not answer is for the time-outs of the site's ``DATABASES`` to say.
    """
    tenant = tenant_key(write_database(SigningKey))
    known = _recent(tenant)
    if known is not None:
        return known
    lock = _asking
    if not lock.acquire(timeout=_LONGEST_WAIT):
        return _unhealthy("database_does_not_answer")
    try:
        # While this thread waited, another may have found out.
        known = _recent(tenant)
        if known is None:
            known = _ask()
            _answers[tenant] = time.monotonic(), known
        return known
    finally:
        lock.release()


def forget() -> None:
    """Begin anew, as after a fork."""
    global _asking
    # After a fork a thread that does not exist here may hold the parent's.
    _asking = threading.Lock()
    _answers.clear()


after_fork(forget)


def _recent(tenant: Hashable) -> bool | None:
    asked_at, answer = _answers.get(tenant, (float("-inf"), False))
    return answer if time.monotonic() - asked_at < _STAYS_TRUE_FOR else None


def _ask() -> bool:
    try:
        keys = _keys()
    except Error as error:
        return _unhealthy("database_unavailable", type(error).__name__)
    except ImproperlyConfigured:
        return _unhealthy("wrong_settings")
    # Those of the copy are decrypted and belong to their rows. Parsing one would take long, and using one
    # would end its being provisional.
    if key_set.active_key(keys.keys, timezone.now()) is None:
        return _unhealthy("no_usable_key")
    return True


def _keys() -> key_set.KeySet:
    """Return the process's copy of the keys, no older than it may be; one statement, twice if it is refused.

    Raises:
        Error: the database refused.
    """
    using = write_database(SigningKey)
    try:
        return _keys_at_once(using)
    except Error as error:
        # A persistent connection may be to a server that was restarted or replaced meanwhile.
        if not is_refusal(error) or connections[using].in_atomic_block:
            raise
        mend(using, error)
        return _keys_at_once(using)


def _keys_at_once(using: str) -> key_set.KeySet:
    copy = key_set.recent_copy()
    if copy is None:
        return key_set.read_again()
    # Not `SELECT 1`: a database that answers may have lost its tables, or the rights to read them.
    SigningKey.objects.using(using).order_by().exists()
    return copy


def _unhealthy(reason: str, error: str = "") -> bool:
    fields = {"event": "unhealthy", "reason": reason}
    logger.warning("Unhealthy: %s %s", reason, error, extra=fields)
    return False
