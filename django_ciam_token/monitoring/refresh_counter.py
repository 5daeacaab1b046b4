"""Counting refreshes by day without a write for each of them.

Each process counts in memory and adds to the table at most once a minute. When a process ends, what it has
counted since then is lost: the figure is there to show a trend, and is not worth a write per refresh.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import Counter
from datetime import date
from typing import Any, Final

from django.db import DatabaseError, IntegrityError, InterfaceError, transaction
from django.db.models import F
from django.utils import timezone

from django_ciam_token.conf import ciam_settings
from django_ciam_token.database.clock import utc_day
from django_ciam_token.database.retry import mend
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import RefreshCount

logger = logging.getLogger("django_ciam_token")

FLUSH_EVERY: Final = 60.0
"""Seconds."""
_SHARDS: Final = 16


class RefreshCounter:
    """The refreshes of this process that are not in the table yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._counted: Counter[date] = Counter()
        self._next_flush = 0.0
        self._shard = random.randrange(_SHARDS)  # noqa: S311 - spreads writes, not a secret
        self._process = os.getpid()

    def add(self) -> None:
        """Count a refresh, and write if it is time to."""
        with self._lock:
            if self._process != os.getpid():
                self._forget()  # A fork: what was counted before belongs to the parent.
            self._counted[utc_day(timezone.now())] += 1
            if time.monotonic() < self._next_flush:
                return
            # Set before the write: other threads keep counting while it lasts.
            self._next_flush = time.monotonic() + FLUSH_EVERY
            due, self._counted = self._counted, Counter()
        for day, number in due.items():
            self._write(day, number)

    def _write(self, day: date, number: int) -> None:
        using = write_database(RefreshCount)
        try:
            with transaction.atomic(using=using):
                _add(day, self._shard, number, using=using)
        except (DatabaseError, InterfaceError) as error:
            with self._lock:
                self._counted[day] += number
            mend(using)
            logger.warning(
                "The number of refreshes could not be written: %s",
                type(error).__name__,
                extra={"event": "refreshes_not_counted"},
            )


def _add(day: date, shard: int, number: int, *, using: str) -> None:
    rows = RefreshCount.objects.using(using)
    row = rows.filter(day=day, shard=shard)
    if row.update(count=F("count") + number):
        return
    try:
        with transaction.atomic(using=using):
            rows.create(day=day, shard=shard, count=number)
    except IntegrityError:  # Another process was first.
        row.update(count=F("count") + number)


counter: Final = RefreshCounter()


def count_refresh(**_: Any) -> None:
    """Count a refresh, if the setting ``AUDIT_TRAIL`` is on; a receiver of `tokens_refreshed`."""
    if ciam_settings.AUDIT_TRAIL:
        counter.add()
