"""Sessions: the list, and the page of one."""

from __future__ import annotations

import uuid
from typing import Any, Final

from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy

from django_ciam_token.admin import (
    cells,
    csv_columns,
    paging,
    refusals,
    session_list,
    times,
    user_agents,
)
from django_ciam_token.admin.base import ReadOnlyAdmin
from django_ciam_token.admin.bulk_ending import BulkEndingMixin
from django_ciam_token.admin.csv_export import CsvExportMixin
from django_ciam_token.admin.find_by_token import FindByTokenMixin
from django_ciam_token.admin.session_ending import SessionEndingMixin, name_of_user, page_of_user
from django_ciam_token.conf import ciam_settings
from django_ciam_token.models import RefreshToken, RevocationReason, SecurityEvent, SessionState
from django_ciam_token.models.refresh_token import NOT_EXCHANGED
from django_ciam_token.monitoring.refusals import KEPT
from django_ciam_token.sessions.state import state_of

_EVENTS_SHOWN: Final = 100
_TIMES: Final = times.fields(RefreshToken, "auth_time", "issued_at", "rotated_at", "expires_at", "revoked_at")


@admin.register(RefreshToken)
class RefreshTokenAdmin(FindByTokenMixin, BulkEndingMixin, SessionEndingMixin, CsvExportMixin, ReadOnlyAdmin):
    """Sessions.

    Operators with the permission may delete one. Django requires it for deleting a user or a client, which
    deletes the sessions too.
    """

    list_display = (
        "user_name",
        "short_state",
        "last_used",
        "client",
        "started",
        "refreshes",
        "place",
    )
    csv_columns = csv_columns.SESSIONS
    list_select_related = ("client", "user")
    list_display_links = ("user_name",)
    list_filter = (session_list.StateFilter, session_list.StartedFilter, session_list.ClientFilter)
    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    # The key ascends with time. For any other order the database would have to sort.
    ordering = ("-pk",)
    sortable_by = ()
    search_fields = ("pk",)
    search_help_text = gettext_lazy(
        "User name, e-mail address, name, client_id, application name, session ID or its beginning, "
        "or IP address"
    )
    change_list_template = "admin/django_ciam_token/sessions.html"
    change_form_template = "admin/django_ciam_token/session.html"
    fields = (
        "id",
        *("user", "client", "state", "scope", "generation"),
        *_TIMES,
        "revoked_reason",
        *("last_address", "device", "last_user_agent"),
    )
    readonly_fields = ("state", "device", *_TIMES)

    def get_queryset(self, request: HttpRequest) -> QuerySet[RefreshToken]:
        """Omit the fields that no page shows, and what is only a code so far."""
        sessions: QuerySet[RefreshToken] = super().get_queryset(request).exclude(nonce=NOT_EXCHANGED)
        return sessions.defer("secret_digest", "nonce")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find sessions by their id, user, client or address."""
        term = search_term.strip()
        return (session_list.search(queryset, term) if term else queryset), False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Read the session with its user and client."""
        try:
            key = uuid.UUID(object_id)
        except ValueError:
            return None
        return self.get_queryset(request).select_related("client", "user").filter(pk=key).first()

    # The list

    def get_paginator(self, request: HttpRequest, queryset: Any, *args: Any, **kwargs: Any) -> Any:
        """Bound the list of sessions, but not the pages of Django's history of one."""
        if queryset.model is RefreshToken:
            return paging.BoundedPaginator(queryset, *args, **kwargs)
        return super().get_paginator(request, queryset, *args, **kwargs)

    @admin.display(description=gettext_lazy("user"))
    def user_name(self, session: RefreshToken) -> str:
        """Return whose it is."""
        return cells.narrow(name_of_user(session))

    @admin.display(description=gettext_lazy("state"))
    def state(self, session: RefreshToken) -> str:
        """Return the current state, and why the session was ended or can't be refreshed."""
        state, obstacle = state_of(session, timezone.now())
        label = str(state.label)
        if obstacle is not None:
            label = f"{label}: {obstacle.label}"
        if state is SessionState.REVOKED:
            label = f"{label}: {session.get_revoked_reason_display()}"
        return format_html('<span class="ciam-state ciam-state-{}">{}</span>', state.value, label)

    @admin.display(description=gettext_lazy("state"))
    def short_state(self, session: RefreshToken) -> str:
        """Return the current state for the list, in a word or two."""
        return cells.state(session, state_of(session, timezone.now()))

    @admin.display(description=gettext_lazy("last used"))
    def last_used(self, session: RefreshToken) -> str:
        """Return when it was refreshed last, or begun."""
        return cells.ago(session.rotated_at or session.issued_at)

    @admin.display(description=gettext_lazy("started"))
    def started(self, session: RefreshToken) -> str:
        """Return when it began."""
        return cells.ago(session.issued_at)

    @admin.display(description=gettext_lazy("refreshes"))
    def refreshes(self, session: RefreshToken) -> str:
        """Return how often it was refreshed."""
        return number_format(session.generation, force_grouping=True)

    @admin.display(description=gettext_lazy("device and address"))
    def place(self, session: RefreshToken) -> str:
        """Return where it was used last."""
        return cells.place(session.last_address, session.last_user_agent)

    @admin.display(description=gettext_lazy("device"))
    def device(self, session: RefreshToken) -> str:
        """Return the device of the last refresh."""
        return user_agents.describe(session.last_user_agent)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, and say which limits apply."""
        context = {
            "find_by_token_url": self.url("refreshtoken_find_by_token"),
            "bulk_url": self.bulk_url(request),
            "most_shown": number_format(paging.MOST_SHOWN, force_grouping=True),
            "searched": session_list.what_is_searched(),
            "window": number_format(paging.WINDOW, force_grouping=True) if request.GET.get("state") else None,
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def has_delete_permission(self, request: HttpRequest, obj: RefreshToken | None = None) -> bool:
        """Don't offer deletion in the list: unlike ended sessions, deleted ones leave no trace of a thief."""
        return obj is not None and super().has_delete_permission(request, obj)

    # One session

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a session, its history, and the actions for it."""
        session = self.get_object(request, unquote(object_id))
        context: dict[str, Any] = {}
        if session is not None and self.has_view_permission(request, session):
            may_end = self.has_revoke_permission(request)
            is_over = session.state(timezone.now()) is not SessionState.LIVE
            context = {
                # Ending is what an operator means: it keeps the row, for anyone who asks later.
                "show_delete": is_over,
                "timeline": self._timeline(request, session),
                "device": self.device(session),
                "refusals": refusals.of_session(session),
                "refusals_kept": KEPT,
                "has_audit_trail": ciam_settings.AUDIT_TRAIL,
                "end_url": None if is_over or not may_end else self.url("refreshtoken_end", session.pk),
                "sign_out_url": (
                    self.url("refreshtoken_sign_out", quote(session.user_id))
                    if may_end and session.user_id is not None
                    else None
                ),
                "of_user_url": self._of_user_url(session),
                "user_url": (
                    page_of_user(request, session.user, site=self.admin_site) if session.user else None
                ),
            }
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def _of_user_url(self, session: RefreshToken) -> str | None:
        """Return the address of all sessions of the same user: their own page may not show them."""
        if session.user is None:
            return None
        key = f"user__{session.user._meta.pk.name}__exact"
        return f"{self.url('refreshtoken_changelist')}?{urlencode({key: str(session.user_id)})}"

    def _timeline(
        self, request: HttpRequest, session: RefreshToken
    ) -> list[tuple[SecurityEvent, str]] | None:
        """Return the newest events of a session with reasons; None without permission for the audit trail."""
        if not self.may(request, "view", SecurityEvent):
            return None
        reasons = dict(RevocationReason.choices)
        events = SecurityEvent.objects.filter(session_id=session.pk).order_by("-at", "-pk")[:_EVENTS_SHOWN]
        return [(event, str(reasons.get(event.reason, event.reason))) for event in events]
