"""The audit trail, read-only."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_ciam_token.admin.base import ReadOnlyAdmin
from django_ciam_token.admin.paging import BoundedPaginator, newest
from django_ciam_token.models import SecurityEvent


@admin.register(SecurityEvent)
class SecurityEventAdmin(ReadOnlyAdmin):
    """The audit trail."""

    list_display = ("at", "event", "client_id", "user_id", "session_id", "reason", "actor", "address")
    list_filter = ("event",)
    list_max_show_all = 0
    ordering = ("-pk",)
    sortable_by = ()
    search_fields = ("session_id", "client_id", "user_id")
    search_help_text = _(
        "Session ID, client_id or the user's primary key (the last two only among the newest events)"
    )
    fields = (*list_display, "changes")
    readonly_fields = ("changes",)
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # They would count the table once per filter.

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
        """Find events by session with an index; by client or user only among the newest."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(session_id=uuid.UUID(term)), False
        except ValueError:
            return newest(queryset).filter(Q(client_id=term) | Q(user_id=term)), False


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, list):
        value = " ".join(value)
    return str(value) if value else "-"
