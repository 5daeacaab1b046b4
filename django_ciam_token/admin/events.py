"""The audit trail, read-only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_ciam_token.admin import cells, search
from django_ciam_token.admin.base import ReadOnlyAdmin
from django_ciam_token.admin.paging import WINDOW, BoundedPaginator, newest
from django_ciam_token.models import SecurityEvent


@admin.register(SecurityEvent)
class SecurityEventAdmin(ReadOnlyAdmin):
    """The audit trail."""

    list_display = ("when", "event", "short_reason", "client", "user", "session", "by", "place")
    list_filter = ("event",)
    list_max_show_all = 0
    ordering = ("-pk",)
    sortable_by = ()
    search_fields = ("session_id", "client_id", "user_id")
    search_help_text = _(
        "Session ID or its beginning, user name, e-mail address, name or primary key of the user, client_id, "
        "application name, IP address, or who did it"
    )
    fields = (
        *("at", "event", "client_id", "user_id", "session_id", "reason", "actor", "address"),
        "changes",
    )
    readonly_fields = ("changes",)
    show_full_result_count = False

    @admin.display(description=_("time"))
    def when(self, event: SecurityEvent) -> str:
        """Return when it happened."""
        return cells.ago(event.at)

    @admin.display(description=_("reason"))
    def short_reason(self, event: SecurityEvent) -> str:
        """Return why; of a changed client, what was changed."""
        return cells.narrow(event.reason)

    @admin.display(description=_("client"))
    def client(self, event: SecurityEvent) -> str:
        """Return the client_id, of which the column shows the beginning."""
        return cells.clipped(event.client_id)

    @admin.display(description=_("user"))
    def user(self, event: SecurityEvent) -> str:
        """Return the key of the user."""
        return cells.clipped(event.user_id)

    @admin.display(description=_("session"))
    def session(self, event: SecurityEvent) -> str:
        """Return the session id, of which the column shows the beginning."""
        return cells.clipped(event.session_id)

    @admin.display(description=_("by"))
    def by(self, event: SecurityEvent) -> str:
        """Return who did it."""
        return cells.narrow(event.actor)

    @admin.display(description=_("address"))
    def place(self, event: SecurityEvent) -> str:
        """Return where the request came from."""
        return cells.narrow(event.address)

    @admin.display(description=_("changes"))
    def changes(self, event: SecurityEvent) -> str:
        """Return what was changed of a client: each field with its old and its new value."""
        changed: dict[str, list[Any]] = event.detail or {}
        lines = ((name, _in_words(old), _in_words(new)) for name, (old, new) in changed.items())
        return format_html_join("", "<div><code>{}</code>: {} → {}</div>", lines) or "-"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: events are only ever added."""
        return False

    def get_paginator(self, request: HttpRequest, queryset: Any, *args: Any, **kwargs: Any) -> Any:
        """Bound the list of events, but not the pages of Django's history of one."""
        if queryset.model is SecurityEvent:
            return BoundedPaginator(queryset, *args, **kwargs)
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
        return super().changelist_view(request, {"searched": _what_is_searched(), **(extra_context or {})})


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
        gettext("all but session IDs only among the newest %(number)s events") % {"number": f"{WINDOW:,}"},
    ]


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, list):
        value = " ".join(value)
    return str(value) if value else "-"
