"""Counting refreshes by day without a write for each of them.

Each process counts in memory and adds to the table at most once a minute. The request that does it does not
wait for other people's locks; if it can't write, the next minute's does. When a process ends, what it has
counted since then is lost: the figure is there to show a trend, and is not worth a write per refresh.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Hashable
from datetime import date
from typing import Any, Final

from django.db import DatabaseError, IntegrityError, InterfaceError, transaction
from django.db.models import F
from django.utils import timezone

from django_ciam_token.conf import ciam_settings
from django_ciam_token.database.age import Instant
from django_ciam_token.database.forks import after_fork
from django_ciam_token.database.local_time import site_day
from django_ciam_token.database.patience import impatient
from django_ciam_token.database.retry import mend
from django_ciam_token.database.routing import write_database
from django_ciam_token.database.tenants import tenant_key
from django_ciam_token.models import RefreshCount

logger = logging.getLogger("django_ciam_token")

FLUSH_EVERY: Final = 60.0
"""Seconds."""
_SHARDS: Final = 16


class RefreshCounter:
    """The refreshes of this process that are not in the table yet."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as after a fork: what was counted before it is the parent's."""
        # Not the parent's lock: a thread that does not exist here may hold it.
        self._lock = threading.Lock()
        # By tenant, because only its own requests can write to its table.
        self._counted: defaultdict[Hashable, Counter[date]] = defaultdict(Counter)
        self._written_at: dict[Hashable, Instant] = {}
        self._shard = random.randrange(_SHARDS)  # noqa: S311 - a spread, no secret
        self._process = os.getpid()

    def add(self) -> None:
        """Count a refresh, and write if it is time to."""
        if self._process != os.getpid():
            self.forget()  # A fork of which Python was not told.
        using = write_database(RefreshCount)
        tenant = tenant_key(using)
        with self._lock:
            self._counted[tenant][site_day(timezone.now())] += 1
            if not self._is_due(tenant):
                return
            # Set before the write: while it lasts, other threads go on counting.
            self._written_at[tenant] = Instant.now()
            due = self._counted.pop(tenant)
        for day, number in due.items():
            self._write(tenant, day, number, using=using)

    def _is_due(self, tenant: Hashable) -> bool:
        written_at = self._written_at.get(tenant)
        return written_at is None or written_at.age() >= FLUSH_EVERY

    def _write(self, tenant: Hashable, day: date, number: int, *, using: str) -> None:
        try:
            with impatient(using):
                _add(day, self._shard, number, using=using)
        except (DatabaseError, InterfaceError) as error:
            with self._lock:
                self._counted[tenant][day] += number
                # Somebody may hold this row for longer.
                self._shard = (self._shard + 1) % _SHARDS
            mend(using, error)
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
after_fork(counter.forget)


def count_refresh(**_: Any) -> None:
    """Count a refresh, if the setting ``AUDIT_TRAIL`` is on; a receiver of `tokens_refreshed`."""
    if ciam_settings.AUDIT_TRAIL:
        counter.add()
