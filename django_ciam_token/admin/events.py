"""The audit trail, to look at."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from django_ciam_token.admin.base import ReadOnlyAdmin
from django_ciam_token.models import SecurityEvent


@admin.register(SecurityEvent)
class SecurityEventAdmin(ReadOnlyAdmin):
    """The audit trail."""

    list_display = ("at", "event", "client_id", "user_id", "session_id", "reason", "actor", "address")
    list_filter = ("event",)
    search_fields = ("=client_id", "=user_id")
    fields = list_display
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: a trail is only added to."""
        return False
