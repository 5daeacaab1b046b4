"""Sessions."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_ciam_token.admin.base import ReadOnlyAdmin
from django_ciam_token.models import RefreshToken


@admin.register(RefreshToken)
class RefreshTokenAdmin(ReadOnlyAdmin):
    """Sessions.

    Who has the permission may delete one: Django asks for it when a user or client is deleted, whose
    sessions go along.
    """

    list_display = ("id", "user", "client", "issued_at", "rotated_at", "expires_at", "revoked_at")
    list_select_related = ("user", "client")
    list_filter = ("client",)
    fields = (
        "id",
        *("user", "client", "scope", "generation"),
        *("auth_time", "issued_at", "rotated_at", "expires_at", "revoked_at", "revoked_reason"),
        *("last_address", "last_user_agent"),
    )
    ordering = ("-pk",)
    show_full_result_count = False
    search_help_text = _("Session id, client_id or user name")

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Search by what identifies a user on this site."""
        return ("client__client_id", f"user__{get_user_model().USERNAME_FIELD}")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find a session by its id as well, through the primary key."""
        try:
            return queryset.filter(pk=uuid.UUID(search_term.strip())), False
        except ValueError:
            return super().get_search_results(request, queryset, search_term)
