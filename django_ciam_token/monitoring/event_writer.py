"""Writing events to the audit trail without letting an answer wait for it.

An event is written after the COMMIT of what it records and before the answer is sent; that of an exchange in
the transaction of the exchange, because a second COMMIT would double the time. If somebody holds the
table (an ALTER TABLE, an index that is being built, another writer on SQLite), the event is kept in the
process, and written with the next event or at a later refresh. When a process ends before that, the event is
in the log only.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Final

from django.db import Error, connections, transaction

from django_ciam_token.database.compiled import Insert
from django_ciam_token.database.patience import Pause, impatient, impatient_end
from django_ciam_token.database.retry import UNAVAILABLE, LostRace, mend
from django_ciam_token.database.routing import write_database
from django_ciam_token.database.tenants import tenant_key
from django_ciam_token.models import SecurityEvent

logger = logging.getLogger("django_ciam_token")

MOST_KEPT: Final = 1_000
"""Events, of each tenant."""
_BATCH_SIZE: Final = 1_000
# Seconds.
_PAUSE_AFTER_REFUSAL: Final = 5.0
_ADD: Final = Insert(SecurityEvent)


class EventWriter:
    """The events of this process that are not in the table yet."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as after a fork: what was kept before it, the parent writes."""
        # Not the parent's lock: a thread that does not exist here may hold it.
        self._lock = threading.Lock()
        self._refused = Pause(_PAUSE_AFTER_REFUSAL)
        # By tenant, because only its own requests can write to its table.
        self._kept: defaultdict[Hashable, list[SecurityEvent]] = defaultdict(list)

    def add(self, events: Sequence[SecurityEvent]) -> None:
        """Write events now if the database lets us, and else later.

        Many at once are an operator's, who can wait. Within a transaction of the caller they are part of it.

        Raises:
            DatabaseError: they could not be written, and it makes no sense to try again, or it is up to the
                caller's transaction.
        """
        using = write_database(SecurityEvent)
        if len(events) > MOST_KEPT or connections[using].in_atomic_block:
            _write_patiently(events, using=using)
            return
        with self._lock:
            kept = self._kept[tenant_key(using)]
            kept.extend(events[: MOST_KEPT - len(kept)])
        self.write_kept()

    def may_join(self, using: str) -> bool:
        """Tell whether an event may be written in a transaction that is going to be opened on a database."""
        is_open = connections[using].in_atomic_block
        return not is_open and write_database(SecurityEvent) == using and self._refused.is_over()

    def join(self, event: SecurityEvent, *, using: str) -> None:
        """Write an event at the end of the open transaction of the change that it records.

        Raises:
            LostRace: it could not be written. Make the change again, and do not join it for a while.
            DatabaseError: the same, and it concerns the connection.
        """
        try:
            with impatient_end(using):
                _ADD.run(using, event)
        except Error as error:
            self._refused.begin()
            if isinstance(error, UNAVAILABLE):
                raise
            raise LostRace from error

    def write_kept(self) -> None:
        """Write what was kept of this tenant, unless the database refused only a moment ago."""
        if not self._kept or not self._refused.is_over():
            return
        using = write_database(SecurityEvent)
        tenant = tenant_key(using)
        with self._lock:
            due = self._kept.pop(tenant, [])
        if due and not self._write(due, using=using):
            with self._lock:
                self._kept[tenant] = [*due, *self._kept[tenant]][:MOST_KEPT]

    def _write(self, events: Sequence[SecurityEvent], *, using: str) -> bool:
        """Write events; False if the database refused and they may be written again."""
        is_written = False
        try:
            with impatient(using):
                _insert(events, using=using)
                is_written = True
        except UNAVAILABLE as error:
            self._refused.begin()
            mend(using, error)
            if is_written:
                # The COMMIT may have succeeded. An event that is there twice would be worse than none.
                raise
            for event in events:
                event.pk = None
            logger.warning(
                "Events could not be written to the audit trail, and are kept for later: %s",
                type(error).__name__,
                extra={"event": "events_not_written", "events": len(events)},
            )
            return False
        return True


def _write_patiently(events: Sequence[SecurityEvent], *, using: str) -> None:
    # If the database of the trail has a transaction open, a failure here must not break that transaction.
    try:
        with transaction.atomic(using=using):
            _insert(events, using=using)
    except UNAVAILABLE as error:
        # The sender of the signal logs this error. It must not affect the statements that follow.
        mend(using, error)
        raise


def _insert(events: Sequence[SecurityEvent], *, using: str) -> None:
    SecurityEvent.objects.using(using).bulk_create(events, batch_size=_BATCH_SIZE)
