"""Removes rows that are no longer needed, in small transactions, at any time and for any length of time.

No run records how far it came: its rows are removed, so the next run finds only the rest.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from django_ciam_token.conf import ciam_settings
from django_ciam_token.database.batches import fitting_batch_size
from django_ciam_token.database.retry import read_rows, retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import (
    ForeignToken,
    RefreshRefusal,
    RefreshToken,
    RevokedAccessToken,
    SecurityEvent,
    SigningKey,
)
from django_ciam_token.models.refresh_token import NOT_EXCHANGED

BATCH_SIZE: Final = 1_000
# How many batches of sessions one SELECT reads: most sessions are live, and are only read.
_BATCHES_PER_READ: Final = 10
# A revoked token that has expired by this host's clock is still unexpired for a host whose clock is behind.
_CLOCKS_DIFFER_BY: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class PurgeResult:
    """How many rows were removed."""

    sessions: int = 0
    revoked_access_tokens: int = 0
    events: int = 0
    signing_keys: int = 0
    foreign_tokens: int = 0
    refusals: int = 0
    finished: bool = False
    """Whether everything was checked; if not, the next run does the rest."""


def purge(
    *,
    batch_size: int = BATCH_SIZE,
    max_seconds: float | None = None,
    events_older_than: timedelta | None = None,
    now: datetime | None = None,
    on_progress: Callable[[PurgeResult], None] | None = None,
) -> PurgeResult:
    """Remove sessions and signing keys past ``ENDED_RETENTION``, and expired records of other tokens.

    Call it outside of transactions: each batch has a short one of its own. It may be stopped at any point.

    Args:
        batch_size: how many rows are removed in one transaction.
        max_seconds: stop after the batch that passes this limit; at least one batch is done.
        events_older_than: also remove audit events of at least this age. None removes none, because the
            site's rules decide how long the trail is kept.
        now: the current time; by default the host's clock.
        on_progress: called after each batch with what was removed so far.

    Raises:
        ValueError: the batch size is less than one.
        TemporarilyUnavailable: the database refused; earlier batches are done.
    """
    now = now or timezone.now()
    ended_before = now - ciam_settings.ENDED_RETENTION
    until = None if max_seconds is None else time.monotonic() + max_seconds
    # The small tables first, so that they are done even when time is short.
    steps: dict[str, Iterator[int]] = {
        "signing_keys": _remove_by(SigningKey, "removed_at", before=ended_before, batch_size=batch_size),
        "revoked_access_tokens": _remove_by(
            RevokedAccessToken, "expires_at", before=now - _CLOCKS_DIFFER_BY, batch_size=batch_size
        ),
    }
    # What would not be accepted any more, even if nothing were known about it.
    steps["foreign_tokens"] = _remove_by(
        ForeignToken, "needed_until", before=now - _CLOCKS_DIFFER_BY, batch_size=batch_size
    )
    steps["refusals"] = _remove_by(RefreshRefusal, "last_at", before=ended_before, batch_size=batch_size)
    if events_older_than is not None:
        steps["events"] = _remove_by(
            SecurityEvent, "at", before=now - events_older_than, batch_size=batch_size
        )
    steps["sessions"] = _remove_sessions(is_over(now=now), batch_size=batch_size)
    result = PurgeResult()
    for name, batches in steps.items():
        for removed in batches:
            result = replace(result, **{name: getattr(result, name) + removed})
            if on_progress is not None:
                on_progress(result)
            if until is not None and time.monotonic() >= until:
                return result
    return replace(result, finished=True)


def is_over(*, now: datetime) -> Q:
    """Return the condition that selects the sessions past ``ENDED_RETENTION``.

    And codes as soon as they have expired: one that nobody exchanged was never a session, and there is
    nothing to know of it later.
    """
    before = now - ciam_settings.ENDED_RETENTION
    is_expired_code = Q(nonce=NOT_EXCHANGED, expires_at__lte=now - _CLOCKS_DIFFER_BY)
    return Q(expires_at__lte=before) | Q(revoked_at__lte=before) | is_expired_code


def _remove_sessions(condition: Q, *, batch_size: int) -> Iterator[int]:
    """Walk the sessions in key order, and remove those that ended too long ago.

    The walk goes to the very end. Keys ascend with time, so it could stop at the first session that is
    younger than the retention, but somebody may have set an expiry by hand, or set a clock back.
    """
    using = write_database(RefreshToken)
    sessions = RefreshToken.objects.using(using)
    size = fitting_batch_size(batch_size, using=using)
    last: uuid.UUID | None = None
    while True:
        rest = sessions if last is None else sessions.filter(pk__gt=last)
        rows = rest.annotate(is_over=condition).order_by("pk").values_list("pk", "is_over")
        read = read_rows(rows[: size * _BATCHES_PER_READ])
        over = [(place, key) for place, (key, is_one) in enumerate(read) if is_one]
        for start in range(0, len(over), size):
            batch = over[start : start + size]
            # The condition again: a session may have been refreshed since it was read.
            yield _delete(sessions.filter(condition, _in(batch)), using=using)
        if not over:
            yield 0
        if len(read) < size * _BATCHES_PER_READ:
            return
        last = read[-1][0]


def _in(batch: Sequence[tuple[int, uuid.UUID]]) -> Q:
    """Return the condition for the keys of a batch: their range, if it contains nothing else.

    A range is faster, but MariaDB would lock every row in it, including live sessions.
    """
    (first_place, first), (last_place, last) = batch[0], batch[-1]
    if last_place - first_place == len(batch) - 1:
        return Q(pk__range=(first, last))
    return Q(pk__in=[key for _, key in batch])


def _remove_by(model: type[Model], field: str, *, before: datetime, batch_size: int) -> Iterator[int]:
    """Remove the rows whose timestamp is at or before a given time, by the index on that timestamp."""
    using = write_database(model)
    rows = model._default_manager.using(using).filter(**{f"{field}__lte": before}).order_by(field)
    size = fitting_batch_size(batch_size, using=using)
    last: datetime | None = None
    while True:
        # Start where the last batch ended, so that the index scan does not pass over deleted entries.
        rest = rows if last is None else rows.filter(**{f"{field}__gte": last})
        read = read_rows(rest.values_list("pk", field)[:size])
        if not read:
            return
        yield _delete(rows.order_by().filter(pk__in=[key for key, _ in read]), using=using)
        last = read[-1][1]


def _delete(rows: QuerySet[Any], *, using: str) -> int:
    """Remove a batch: one DELETE, unless rows of the site refer to these or it listens to deletions."""

    def write(_: int) -> int:
        with transaction.atomic(using=using):
            return rows.delete()[1].get(rows.model._meta.label, 0)

    return retry(write, using=using)
