"""Searching and filtering sessions in a table of any size.

Every page reads a limited number of rows: the newest matches, by the primary key, which ascends with time.
A rotation writes no index, so nothing else is indexed. A rare state is therefore searched for only among the
newest sessions, and the page says so.
"""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from typing import Any, Final

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import BigIntegerField, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_ciam_token.admin.paging import newest
from django_ciam_token.database.uuid7 import lowest_uuid7
from django_ciam_token.models import Client, RefreshToken, RevocationReason, SessionState

_MOST_MATCHES: Final = 100
_MOST_CLIENTS: Final = 50


def search(sessions: QuerySet[RefreshToken], term: str) -> QuerySet[RefreshToken]:
    """Find sessions by their id, the beginning of a user name, a client_id, or part of a client's name."""
    term = term.strip()
    try:
        return sessions.filter(pk=uuid.UUID(term))
    except ValueError:
        pass
    return of_user_or_client(sessions, term)


def of_user_or_client(rows: QuerySet[Any], term: str) -> QuerySet[Any]:
    """Find rows by the beginning of a user name, a client_id, or part of a client's name."""
    users = get_user_model()
    by_name = {f"{users.USERNAME_FIELD}__{_lookup(users)}": term}
    named = users._default_manager.filter(**by_name).order_by().values_list("pk", flat=True)[:_MOST_MATCHES]
    clients = Client.objects.filter(Q(client_id=term) | Q(name__icontains=term)).order_by()
    # Two lists of keys rather than two joins: this way the database uses the index of each.
    user_keys = list(named)
    client_keys = list(clients.values_list("pk", flat=True)[:_MOST_MATCHES])
    if user_keys and client_keys:
        return rows.filter(Q(user__in=user_keys) | Q(client__in=client_keys))
    return rows.filter(user__in=user_keys) if user_keys else rows.filter(client__in=client_keys)


def _lookup(users: Any) -> str:
    """Return how names are compared: by their beginning, unless the site has chosen how they are collated.

    Django advises a nondeterministic collation for names that do not differ in case, and PostgreSQL refuses
    LIKE with such a one. The column is then compared as a whole, by its own rules.
    """
    field = users._meta.get_field(users.USERNAME_FIELD)
    return "exact" if getattr(field, "db_collation", None) else "startswith"


class StateFilter(admin.SimpleListFilter):
    """Filters by state, and revoked sessions also by reason."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the states, and the reasons of revocation."""
        reasons = [
            (f"revoked-{reason.value}", _("revoked: %(reason)s") % {"reason": reason.label})
            for reason in RevocationReason
        ]
        return [
            (SessionState.LIVE.value, SessionState.LIVE.label),
            ("expired", SessionState.EXPIRED.label),
            (SessionState.REVOKED.value, SessionState.REVOKED.label),
            *reasons,
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[RefreshToken]) -> QuerySet[RefreshToken]:
        """Keep the newest sessions, and of those the ones in a state."""
        value = self.value()
        if value is None:
            return queryset
        now = timezone.now()
        conditions = {
            "live": Q(revoked_at=None, expires_at__gt=now),
            "expired": Q(revoked_at=None, expires_at__lte=now),
            "revoked": Q(revoked_at__isnull=False),
            **{f"revoked-{reason}": Q(revoked_reason=reason) for reason in RevocationReason.values},
        }
        if value not in conditions:
            return queryset
        return newest(queryset).filter(conditions[value])


class StartedFilter(admin.SimpleListFilter):
    """Filters by start time, as a range of the primary key."""

    title = _("started")
    parameter_name = "started"
    spans: Final = {
        "1h": (timedelta(hours=1), _("in the last hour")),
        "1d": (timedelta(days=1), _("in the last 24 hours")),
        "7d": (timedelta(days=7), _("in the last 7 days")),
        "30d": (timedelta(days=30), _("in the last 30 days")),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the time spans."""
        return [(value, name) for value, (_span, name) in self.spans.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[RefreshToken]) -> QuerySet[RefreshToken]:
        """Keep the sessions of a time span."""
        value = self.value()
        if value not in self.spans:
            return queryset
        return queryset.filter(pk__gte=lowest_uuid7(timezone.now() - self.spans[value][0]))


class ClientFilter(admin.SimpleListFilter):
    """Filters by client. Offers the first clients by name and the chosen one; the search finds the others."""

    title = _("client")
    parameter_name = "client__id__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the clients to choose from."""
        clients = list(Client.objects.values_list("pk", "name")[:_MOST_CLIENTS])
        chosen = _key(request.GET.get(self.parameter_name))
        if chosen is not None and chosen not in dict(clients):
            clients += list(Client.objects.filter(pk=chosen).values_list("pk", "name"))
        return [(str(pk), name) for pk, name in clients]

    def queryset(self, request: HttpRequest, queryset: QuerySet[RefreshToken]) -> QuerySet[RefreshToken]:
        """Keep the sessions of a client."""
        chosen = _key(self.value())
        return queryset if chosen is None else queryset.filter(client=chosen)


def _key(text: str | None) -> int | None:
    """Parse the key of a client; None for larger numbers than a database can compare with."""
    key = int(text) if text is not None and re.fullmatch("[0-9]{1,19}", text) else None
    return None if key is None or key > BigIntegerField.MAX_BIGINT else key
