"""Figures for operators that stay cheap however large the tables are.

Sessions are counted up to `EXACT_UP_TO`. Above it, the database's own estimate of the table's size and a
sample of about `SAMPLE` rows stand for the whole. If a client has n sessions in the sample, the error of its
figure is about one in the square root of n. A client with none in the sample may still have a few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Case, Count, IntegerField, Sum, Value, When
from django.utils.timezone import is_aware

from django_ciam_token.database.local_time import beginning_of, site_day
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import EventType, RefreshCount, RefreshToken, SecurityEvent
from django_ciam_token.monitoring.sampling import Part, rows_by_estimate, sample
from django_ciam_token.purging import is_over

EXACT_UP_TO: Final = 100_000
"""Up to this many sessions are counted one by one."""
SAMPLE: Final = 10_000
"""Above that, this many stand for the whole."""
_OLDEST: Final = 10_000


@dataclass(frozen=True)
class SessionFigures:
    """How many sessions there are."""

    total: int
    """Rows, whatever their state."""
    is_estimate: bool
    live: dict[int, int] = field(default_factory=dict)
    """Live sessions by the primary key of their client; clients without any are left out."""

    @property
    def live_total(self) -> int:
        """All live sessions of the requested clients."""
        return sum(self.live.values())


def session_figures(*, now: datetime, clients: Collection[int] | None = None) -> SessionFigures:
    """Count live sessions by client, or estimate them.

    It takes few statements, or a hundred short ones on MariaDB.

    Args:
        now: the current time.
        clients: the primary keys of the clients to count; all if None.
    """
    using = write_database(RefreshToken)
    sessions = RefreshToken.objects.using(using)
    total = sessions.order_by()[: EXACT_UP_TO + 1].count()
    is_estimate = total > EXACT_UP_TO
    parts: list[Part] = [(sessions, 1.0)]
    if is_estimate:
        total = max(total, rows_by_estimate(using))
        parts = sample(sessions, size=SAMPLE, total=total)
    figures: Counter[int] = Counter()
    for rows, stands_for in parts:
        live = rows.filter(revoked_at=None, expires_at__gt=now)
        if clients is not None:
            live = live.filter(client__in=clients)
        by_client = live.order_by().values_list("client").annotate(number=Count("pk"))
        figures.update({client: round(number * stands_for) for client, number in by_client})
    return SessionFigures(total=total, is_estimate=is_estimate, live=dict(figures))


def waiting_for_purge(*, now: datetime) -> tuple[int, bool]:
    """Return how many sessions ``purge_tokens`` would remove, and whether there may be more.

    It looks only at the oldest sessions: most of those that wait are there.
    """
    oldest = (
        RefreshToken.objects.using(write_database(RefreshToken))
        .order_by("pk")
        .annotate(is_over=is_over(now=now))
    )
    rows = list(oldest.values_list("is_over", flat=True)[:_OLDEST])
    return sum(map(bool, rows)), len(rows) == _OLDEST


def events_by_day(types: Sequence[EventType], *, days: int, now: datetime) -> dict[EventType, list[int]]:
    """Return how many events of each type there were on each of the last days, oldest first.

    Days are those of the site's time zone.
    """
    first = site_day(now) - timedelta(days=days - 1)
    begins = [beginning_of(first + timedelta(days=number), aware=is_aware(now)) for number in range(days + 1)]
    # Compared with instants, not cut off by the database: it may know no time zones, as MariaDB often does.
    day = Case(
        *(When(at__gte=begins[number], then=Value(number)) for number in reversed(range(days))),
        output_field=IntegerField(),
    )
    # Several short scans of one index.
    rows = (
        SecurityEvent.objects.using(write_database(SecurityEvent))
        .filter(event__in=types, at__gte=begins[0], at__lt=begins[days])
        .order_by()
        .annotate(day=day)
        .values_list("event", "day")
        .annotate(number=Count("pk"))
    )
    found = {event_type: [0] * days for event_type in types}
    for event, on, number in rows:
        found[EventType(event)][on] += number
    return found


def refreshes_by_day(*, days: int, now: datetime) -> list[int]:
    """Return how many refreshes were counted on each of the last days of the site's zone, oldest first."""
    first = site_day(now) - timedelta(days=days - 1)
    counts = RefreshCount.objects.using(write_database(RefreshCount))
    rows = counts.filter(day__gte=first).order_by().values_list("day").annotate(number=Sum("count"))
    found = [0] * days
    for on, number in rows:
        if (on - first).days < days:
            found[(on - first).days] = number
    return found
