"""Filters of the audit trail: a period, and any value that an event has.

Events are in the order of their times, which are indexed. Client, user, actor and address have no index, so
these filters search only the newest events of the period.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _

from django_ciam_token.admin import search, times
from django_ciam_token.admin.paging import WINDOW

FIRST, LAST = "from", "to"
_SPANS: Final = {
    timedelta(hours=1): _("in the last hour"),
    timedelta(hours=24): _("in the last 24 hours"),
    timedelta(days=7): _("in the last 7 days"),
    timedelta(days=30): _("in the last 30 days"),
}
_SECOND: Final = timedelta(seconds=1)
# Other years are slips, and at the ends of the calendar arithmetic fails.
YEARS: Final = range(1970, 9_000)


def newest(events: QuerySet[Any]) -> QuerySet[Any]:
    """Return the newest of these events, at most `WINDOW`, by their times."""
    oldest = events.order_by("-at", "-pk").values_list("at", flat=True)[WINDOW - 1 : WINDOW].first()
    return events if oldest is None else events.filter(at__gte=oldest)


class PeriodFilter(admin.ListFilter):
    """Filters by the first and the last second of a period, in the current time zone."""

    title = _("time")
    template = "admin/django_ciam_token/filter_period.html"

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self.texts = {name: params.pop(name)[-1] for name in (FIRST, LAST) if name in params}
        self.zone = times.zone()
        # What a browser's field for a time accepts, and so what is shown in it.
        self.first, self.last = (_parsed(self.texts.get(name, "")) for name in (FIRST, LAST))

    def has_output(self) -> bool:
        """Return True: any period may be entered."""
        return True

    def expected_parameters(self) -> list[str | None]:
        """Return the names in the address."""
        return [FIRST, LAST]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the events of the period."""
        if self.first is not None:
            queryset = queryset.filter(at__gte=self.first)
        if self.last is not None:
            # The second is over when the next begins.
            queryset = queryset.filter(at__lt=self.last + _SECOND)
        return queryset

    def choices(self, changelist: Any) -> Any:
        """Yield the usual periods, which end now."""
        yield {
            "selected": self.first is None and self.last is None,
            "query_string": changelist.get_query_string(remove=[FIRST, LAST]),
            "display": _("All"),
        }
        now = timezone.now()
        for span, name in _SPANS.items():
            begins = times.for_input(now - span)
            yield {
                "selected": False,
                "query_string": changelist.get_query_string({FIRST: begins}, remove=[LAST]),
                "display": name,
            }

    def fields(self) -> list[dict[str, Any]]:
        """Return the two fields of the form."""
        labels = {FIRST: _("From"), LAST: _("To")}
        values = {FIRST: self.first, LAST: self.last}
        return [
            {"name": name, "label": label, "value": times.for_input(values[name])}
            for name, label in labels.items()
        ]

    def in_words(self) -> str:
        """Return the period, for the button that opens the form."""
        if self.first is None and self.last is None:
            return str(_("All"))
        first = "" if self.first is None else times.exact(self.first)
        return first if self.last is None else f"{first} … {times.exact(self.last)}"

    def other_parameters(self, changelist: Any) -> list[tuple[str, str]]:
        """Return what else is in the address, so that the form keeps it."""
        kept = changelist.get_filters_params()
        others = [(name, value) for name, values in kept.items() for value in _as_list(values)]
        others = [(name, value) for name, value in others if name not in (FIRST, LAST)]
        return [*others, ("q", changelist.query)] if changelist.query else others


class ValueFilter(admin.SimpleListFilter):
    """Filters by one value of a column. It appears once an operator has clicked such a value."""

    column: ClassVar[str]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the value that is filtered by."""
        value = request.GET.get(str(self.parameter_name), "")
        return [(value, self.label(value))] if value else []

    def label(self, value: str) -> str:
        """Return what a value is called."""
        return value

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the newest events, and of those the ones with the value."""
        value = self.value()
        return newest(queryset).filter(**{self.column: value}) if value else queryset


class ClientFilter(ValueFilter):
    """Filters by client_id."""

    title, parameter_name, column = _("client"), "client", "client_id"


class UserFilter(ValueFilter):
    """Filters by the primary key of a user."""

    title, parameter_name, column = _("user"), "user", "user_id"

    def label(self, value: str) -> str:
        """Return the name of the user."""
        return search.names_of_users([value]).get(value, value)


class ActorFilter(ValueFilter):
    """Filters by who did it."""

    title, parameter_name, column = _("by"), "actor", "actor"


class AddressFilter(ValueFilter):
    """Filters by address."""

    title, parameter_name, column = _("address"), "address", "address"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the newest events, and of those the ones from the address."""
        value = self.value()
        if not value:
            return queryset
        address = search.address(value)
        return queryset.none() if address is None else newest(queryset).filter(address=address)


class SessionFilter(ValueFilter):
    """Filters by session, which is indexed."""

    title, parameter_name, column = _("session"), "session", "session_id"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the events of the session."""
        value = self.value()
        if not value:
            return queryset
        try:
            return queryset.filter(session_id=uuid.UUID(value))
        except ValueError:
            return queryset.none()


UNINDEXED: Final = ("client", "user", "actor", "address")
"""The names in the address of the filters that search only the newest events."""


def _parsed(text: str) -> datetime | None:
    """Return the instant that was entered, as the database has it; None if it is none."""
    try:
        instant = parse_datetime(text)
        if instant is None or instant.year not in YEARS:
            return None
        # An address that somebody made may have an offset; what a browser's field sends has none.
        if settings.USE_TZ:
            return instant if timezone.is_aware(instant) else timezone.make_aware(instant)
        return timezone.make_naive(instant) if timezone.is_aware(instant) else instant
    except (ValueError, OverflowError):
        return None


def _as_list(values: Any) -> list[str]:
    return list(values) if isinstance(values, list) else [values]
