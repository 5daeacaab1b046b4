"""The audit trail, read-only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_ciam_token.admin import cells, csv_columns, event_filters, event_values, refusals, search, times
from django_ciam_token.admin.base import ReadOnlyAdmin
from django_ciam_token.admin.csv_export import CsvExportMixin
from django_ciam_token.admin.event_filters import newest
from django_ciam_token.admin.event_values import Shown
from django_ciam_token.admin.paging import WINDOW, BoundedPaginator
from django_ciam_token.models import EventType, RevocationReason, SecurityEvent


class EventPaginator(BoundedPaginator):
    """Pages of the newest events."""

    newest_first = ("-at", "-pk")


class EventList(ChangeList):
    """The list of events, with the names of their users and clients."""

    def get_results(self, request: HttpRequest) -> None:
        """Read a page of the list."""
        super().get_results(request)
        self.result_list: Any = list(self.result_list)
        event_values.attach(self.result_list, request, site=self.model_admin.admin_site)


@admin.register(SecurityEvent)
class SecurityEventAdmin(CsvExportMixin, ReadOnlyAdmin):
    """The audit trail."""

    list_display = ("when", "what", "short_reason", "client", "user", "session", "by", "place")
    list_filter = (
        event_filters.PeriodFilter,
        "event",
        *(event_filters.SessionFilter, event_filters.ClientFilter, event_filters.UserFilter),
        *(event_filters.ActorFilter, event_filters.AddressFilter),
    )
    csv_columns = csv_columns.EVENTS
    list_display_links = ("when",)
    change_list_template = "admin/django_ciam_token/events.html"
    list_max_show_all = 0
    # An event that could not be written at once has a later key than time.
    ordering = ("-at", "-pk")
    sortable_by = ()
    search_fields = ("session_id", "client_id", "user_id")
    search_help_text = _(
        "Session ID or its beginning, user name, e-mail address, name or primary key of the user, client_id, "
        "application name, IP address, or who did it"
    )
    fields = (
        *(
            "exactly",
            "what",
            "reason_in_words",
            "client",
            "client_id",
            "user",
            "key_of_user",
            "session",
            "by",
        ),
        *("place", "user_agent", "changes"),
    )
    readonly_fields = fields
    show_full_result_count = False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return all: an event has no foreign keys, and links only to what the operator may see."""
        return self.fields

    @admin.display(description=_("time"))
    def when(self, event: SecurityEvent) -> str:
        """Return when it happened, for the list."""
        return cells.ago(event.at)

    @admin.display(description=_("time"))
    def exactly(self, event: SecurityEvent) -> str:
        """Return when it happened, for its page."""
        return times.element(event.at)

    @admin.display(description=_("event"))
    def what(self, event: SecurityEvent) -> str:
        """Return what happened."""
        return _shown(event).filtering("event__exact", event.event, event.get_event_display())

    @admin.display(description=_("reason"))
    def short_reason(self, event: SecurityEvent) -> str:
        """Return why; of a changed client, what was changed."""
        return cells.narrow(event.reason)

    @admin.display(description=_("reason"))
    def reason_in_words(self, event: SecurityEvent) -> str:
        """Return why, in words."""
        ends = dict(RevocationReason.choices) if event.event == EventType.REVOKED else {}
        return str(ends.get(event.reason) or refusals.in_words(event.reason)) or "-"

    @admin.display(description=_("client"))
    def client(self, event: SecurityEvent) -> str:
        """Return the name of the client, or what is left of it: its client_id."""
        shown = _shown(event)
        text = cells.narrow(shown.client) if shown.client else cells.clipped(event.client_id)
        return format_html("{}{}", shown.filtering("client", event.client_id, text), shown.opening("client"))

    @admin.display(description=_("user"))
    def user(self, event: SecurityEvent) -> str:
        """Return the name of the user, or what is left of it: the primary key."""
        shown = _shown(event)
        text = cells.narrow(shown.user) if shown.user else cells.clipped(event.user_id)
        return format_html("{}{}", shown.filtering("user", event.user_id, text), shown.opening("user"))

    @admin.display(description=_("primary key of the user"))
    def key_of_user(self, event: SecurityEvent) -> str:
        """Return the primary key, which stays when the user is deleted."""
        return event.user_id or "-"

    @admin.display(description=_("session"))
    def session(self, event: SecurityEvent) -> str:
        """Return the session id, of which the column shows the beginning."""
        shown = _shown(event)
        text = event.session_id if shown.is_whole else cells.clipped(event.session_id)
        return format_html(
            "{}{}", shown.filtering("session", event.session_id, text), shown.opening("session")
        )

    @admin.display(description=_("by"))
    def by(self, event: SecurityEvent) -> str:
        """Return who did it."""
        return _shown(event).filtering("actor", event.actor, cells.narrow(event.actor))

    @admin.display(description=_("address"))
    def place(self, event: SecurityEvent) -> str:
        """Return the device and the address that the request came from."""
        address = _shown(event).filtering("address", event.address, cells.narrow(event.address))
        return format_html("{}{}", cells.device(event.user_agent), address) if event.user_agent else address

    @admin.display(description=_("changes"))
    def changes(self, event: SecurityEvent) -> str:
        """Return what was changed of a client: each field with its old and its new value."""
        changed: dict[str, list[Any]] = event.detail or {}
        lines = ((name, _in_words(old), _in_words(new)) for name, (old, new) in changed.items())
        return format_html_join("", "<div><code>{}</code>: {} → {}</div>", lines) or "-"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: events are only ever added."""
        return False

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Return the list, unless the address has what PostgreSQL refuses and no value has.

        Raises:
            IncorrectLookupParameters: Django then shows the list without filters.
        """
        if any("\x00" in value for _, values in request.GET.lists() for value in values):
            raise IncorrectLookupParameters
        return super().get_changelist_instance(request)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the class of the list."""
        return EventList

    def get_paginator(self, request: HttpRequest, queryset: Any, *args: Any, **kwargs: Any) -> Any:
        """Bound the list of events, but not the pages of Django's history of one."""
        if queryset.model is SecurityEvent:
            return EventPaginator(queryset, *args, **kwargs)
        return super().get_paginator(request, queryset, *args, **kwargs)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find events by session with an index; by anything else only among the newest."""
        term = search_term.strip()
        return (_search(queryset, term) if term else queryset), False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, and say what a search without a result has searched."""
        is_searched = any(name in request.GET for name in event_filters.UNINDEXED)
        context = {
            "searched": _what_is_searched(),
            "window": number_format(WINDOW, force_grouping=True) if is_searched else None,
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Read an event, and what its values name."""
        event = super().get_object(request, object_id, from_field)
        if event is not None:
            event_values.attach([event], request, site=self.admin_site, one=True)
        return event


def _search(events: QuerySet[Any], term: str) -> QuerySet[Any]:
    key, keys = search.whole_id(term), search.id_range(term)
    if key is not None and (found := events.filter(session_id=key)).exists():
        return found
    if (
        keys is not None
        and (found := events.filter(session_id__gte=keys[0], session_id__lt=keys[1])).exists()
    ):
        return found
    if (address := search.address(term)) is not None:
        return newest(events).filter(address=address)
    clients = search.matching_clients(term).values_list("client_id", flat=True)
    users = [str(key) for key in search.matching_users(term)]
    # A client that no longer exists, or never did, has left its client_id here all the same.
    conditions = Q(client_id__in=[term, *clients]) | Q(user_id__in=[term, *users]) | Q(actor=term)
    return newest(events).filter(conditions)


def _what_is_searched() -> list[str]:
    return [
        gettext("session IDs and their beginning (%(number)d characters or more)")
        % {"number": search.FEWEST_DIGITS},
        gettext("primary keys of users"),
        *search.what_of_users_and_clients(),
        gettext("people who did something"),
        gettext("addresses"),
        gettext("all but session IDs only among the newest %(number)s events")
        % {"number": number_format(WINDOW, force_grouping=True)},
    ]


def _shown(event: SecurityEvent) -> Shown:
    shown: Shown = event.shown  # type: ignore[attr-defined]
    return shown


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, list):
        value = " ".join(value)
    return str(value) if value else "-"
