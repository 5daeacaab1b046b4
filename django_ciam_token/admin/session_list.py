"""Searching and filtering sessions in a table of any size.

Every page reads a limited number of rows: the newest matches, by the primary key, which ascends with time.
A rotation writes no index, so nothing else is indexed. A rare state is therefore searched for only among the
newest sessions, and the page says so.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final

from django.contrib import admin
from django.db.models import BigIntegerField, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_ciam_token.admin import search as search_terms
from django_ciam_token.admin.paging import WINDOW, newest
from django_ciam_token.database.uuid7 import lowest_uuid7
from django_ciam_token.models import Client, RefreshToken, RevocationReason, SessionState

_MOST_CLIENTS: Final = 50


def search(sessions: QuerySet[RefreshToken], term: str) -> QuerySet[RefreshToken]:
    """Find sessions by their id or its beginning, by user, by client, or by address.

    Args:
        sessions: those that the filters have left.
        term: what the operator has typed, not empty.
    """
    key = search_terms.whole_id(term)
    if key is not None and (found := sessions.filter(pk=key)).exists():
        return found
    if (address := search_terms.address(term)) is not None:
        return newest(sessions).filter(last_address=address)
    keys = search_terms.id_range(term)
    begins = None if keys is None else Q(pk__gte=keys[0], pk__lt=keys[1])
    return search_terms.of_user_or_client(sessions, term, or_else=begins)


def what_is_searched() -> list[str]:
    """Say where `search` has looked, for an empty result."""
    return [
        _("session IDs and their beginning (%(number)d characters or more)")
        % {"number": search_terms.FEWEST_DIGITS},
        *search_terms.what_of_users_and_clients(),
        _("addresses of the newest %(number)s sessions")
        % {"number": number_format(WINDOW, force_grouping=True)},
    ]


class StateFilter(admin.SimpleListFilter):
    """Filters by state, and revoked sessions also by reason."""

    title = gettext_lazy("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the states, and the reasons of revocation."""
        reasons = [
            (f"revoked-{reason.value}", _("revoked: %(reason)s") % {"reason": reason.label})
            for reason in RevocationReason
        ]
        return [
            (SessionState.LIVE.value, _("live or blocked")),
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

    title = gettext_lazy("started")
    parameter_name = "started"
    spans: Final = {
        "1h": (timedelta(hours=1), gettext_lazy("in the last hour")),
        "1d": (timedelta(days=1), gettext_lazy("in the last 24 hours")),
        "7d": (timedelta(days=7), gettext_lazy("in the last 7 days")),
        "30d": (timedelta(days=30), gettext_lazy("in the last 30 days")),
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

    title = gettext_lazy("client")
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
