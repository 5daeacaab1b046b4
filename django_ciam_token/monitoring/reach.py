"""How much a bulk action would reach, found out at a cost that does not grow with the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db.models import Count

from django_ciam_token.database.retry import retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import RefreshToken
from django_ciam_token.models.refresh_token import NOT_EXCHANGED
from django_ciam_token.monitoring.figures import EXACT_UP_TO, SAMPLE
from django_ciam_token.monitoring.sampling import rows_by_estimate, sample
from django_ciam_token.sessions.criteria import SessionCriteria, live_sessions


@dataclass(frozen=True)
class Reach:
    """The live sessions that meet some criteria."""

    sessions: int
    users: int
    """How many different users they belong to; at least so many if it is an estimate."""
    clients: dict[int, int] = field(default_factory=dict)
    """How many there are by the primary key of their client."""
    is_estimate: bool = False


def reach_of(criteria: SessionCriteria, *, now: datetime, clients: Collection[int] | None = None) -> Reach:
    """Count the live sessions that meet some criteria; in a large table, estimate them from a sample.

    The sessions of one user are always counted.

    Args:
        criteria: which sessions.
        now: the current time.
        clients: only those of these clients, given by their primary keys; of all if None.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    using = write_database(RefreshToken)
    return retry(lambda _: _reach(criteria, now, clients, using=using), using=using)


def _reach(criteria: SessionCriteria, now: datetime, clients: Collection[int] | None, *, using: str) -> Reach:
    rows = RefreshToken.objects.using(using)
    is_narrow = criteria.user is not None or criteria.session_id is not None or criteria.among is not None
    total = 0 if is_narrow else rows.order_by()[: EXACT_UP_TO + 1].count()
    if total <= EXACT_UP_TO:
        return _counted(_live(criteria, now, clients))
    figures: Counter[int] = Counter()
    users: set[Any] = set()
    for part, stands_for in sample(rows, size=SAMPLE, total=max(total, rows_by_estimate(using))):
        found = list(_live(replace(criteria, among=part), now, clients).values_list("client", "user"))
        users.update(user for _client, user in found if user is not None)
        number = Counter(client for client, _user in found)
        figures.update({client: round(count * stands_for) for client, count in number.items()})
    return Reach(sum(figures.values()), len(users), dict(figures), is_estimate=True)


def _counted(live: Any) -> Reach:
    by_client: Iterable[tuple[int, int]] = live.values_list("client").annotate(number=Count("pk"))
    clients = dict(by_client)
    users = live.aggregate(number=Count("user", distinct=True))["number"]
    return Reach(sum(clients.values()), users, clients)


def _live(criteria: SessionCriteria, now: datetime, clients: Collection[int] | None) -> Any:
    live = live_sessions(criteria, ended_before=now).exclude(nonce=NOT_EXCHANGED).order_by()
    return live if clients is None else live.filter(client__in=clients)
