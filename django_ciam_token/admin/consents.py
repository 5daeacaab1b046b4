"""Consents: what users allowed applications of other people, and taking it back."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_ciam_token.admin import blast_radius, cells, paging, search, session_list, times
from django_ciam_token.admin.base import UNCERTAIN, Confirmation, ReadOnlyAdmin, is_confirmed
from django_ciam_token.admin.session_ending import page_of_user
from django_ciam_token.caller import Caller
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import Consent, RefreshToken
from django_ciam_token.sessions.consents import withdraw_consent
from django_ciam_token.sessions.criteria import SessionCriteria, select_sessions
from django_ciam_token.sessions.user import user_name

_TIMES: Final = times.fields(Consent, "given_at")


@admin.register(Consent)
class ConsentAdmin(ReadOnlyAdmin):
    """Consents, read-only; they are withdrawn, which ends the sessions as well."""

    list_display = ("user_name", "client", "scope", "given")
    list_select_related = ("client", "user")
    list_display_links = ("user_name",)
    list_filter = (session_list.ClientFilter,)
    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    ordering = ("-pk",)
    sortable_by = ()
    search_fields = ("pk",)
    search_help_text = gettext_lazy("User name, e-mail address, name, client_id or application name")
    fields = ("user", "client", "scope", *_TIMES)
    readonly_fields = _TIMES
    actions = ("withdraw",)
    change_form_template = "admin/django_ciam_token/consent.html"

    @admin.display(description=gettext_lazy("given"))
    def given(self, consent: Consent) -> str:
        """Return when it was given."""
        return cells.ago(consent.given_at)

    def get_urls(self) -> list[URLPattern]:
        """Add the page that withdraws a consent."""
        return [
            self.route("<path:object_id>/withdraw/", self.withdraw_view, "consent_withdraw"),
            *super().get_urls(),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Consent]:
        """Read the user and the client with each."""
        consents: QuerySet[Consent] = super().get_queryset(request)
        return consents.select_related("client", "user")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find consents by user or client."""
        term = search_term.strip()
        return (search.of_user_or_client(queryset, term) if term else queryset), False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, and say what a search without a result has searched."""
        context = {"searched": search.what_of_users_and_clients()}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def get_paginator(self, request: HttpRequest, queryset: Any, *args: Any, **kwargs: Any) -> Any:
        """Bound the list of consents, but not the pages of Django's history of one."""
        if queryset.model is Consent:
            return paging.BoundedPaginator(queryset, *args, **kwargs)
        return super().get_paginator(request, queryset, *args, **kwargs)

    @admin.display(description=gettext_lazy("user"))
    def user_name(self, consent: Consent) -> str:
        """Return whose it is."""
        return user_name(consent.user)

    # Deleting is not offered: withdrawing ends the sessions as well, and is recorded.

    def has_delete_permission(self, request: HttpRequest, obj: Consent | None = None) -> bool:
        """Let a user or a client be deleted with their consents; no page here deletes one."""
        return obj is not None

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Refuse."""
        raise PermissionDenied

    # Withdrawing

    def has_withdraw_permission(self, request: HttpRequest) -> bool:
        """Tell whether the operator may withdraw consents."""
        return self.may(request, "withdraw", Consent)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a consent, and the actions for it."""
        consent = self.get_object(request, unquote(object_id))
        tools: list[tuple[str, str]] = []
        if consent is not None and self.has_view_permission(request, consent):
            if self.has_withdraw_permission(request):
                tools.append((self.url("consent_withdraw", consent.pk), _("Withdraw")))
            if (page := page_of_user(request, consent.user, site=self.admin_site)) is not None:
                tools.append((page, _("User")))
        context = {"tools": tools, "show_delete": False}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    @admin.action(description=gettext_lazy("Withdraw selected consents"), permissions=["withdraw"])
    def withdraw(self, request: HttpRequest, queryset: QuerySet[Consent]) -> HttpResponse | None:
        """Ask, and withdraw consents."""
        most = paging.most_selected()
        consents = list(queryset.select_related("client", "user").order_by("-pk")[: most + 1])
        details = paging.cut_off(consents, most)
        if is_confirmed(request):
            self._withdraw(request, consents)
            return None
        hidden = [("action", "withdraw"), *(("_selected_action", str(consent.pk)) for consent in consents)]
        question = ngettext(
            "Withdraw %(count)d consent, and end the sessions of this user in this application?",
            "Withdraw %(count)d consents, and end the sessions of these users in these applications?",
            len(consents),
        )
        return self.confirm(
            request,
            Confirmation(
                title=_("Withdraw"),
                question=question % {"count": len(consents)},
                details=[*details, *_sessions_of(consents), _consequence()],
                button=_("Yes, withdraw"),
                cancel_url=request.get_full_path(),
                hidden=hidden,
            ),
        )

    def withdraw_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, and withdraw one consent."""
        self.require(self.has_withdraw_permission(request))
        consent = self.get_or_404(request, unquote(object_id))
        if is_confirmed(request):
            self._withdraw(request, [consent])
            return HttpResponseRedirect(self.url("consent_changelist"))
        back = self.url("consent_change", consent.pk)
        return self.confirm(request, _withdrawing(consent, back))

    def _withdraw(self, request: HttpRequest, consents: list[Consent]) -> None:
        actor = user_name(request.user)
        operator: Any = request.user.pk
        withdrawn: list[Consent] = []
        try:
            for consent in consents:
                if withdraw_consent(
                    user=consent.user, client=consent.client, actor=actor, caller=Caller.of(request)
                ):
                    withdrawn.append(consent)  # noqa: PERF401 - what was done before an error counts
        except TemporarilyUnavailable:
            messages.error(request, UNCERTAIN)
        if withdrawn:
            LogEntry.objects.log_actions(operator, withdrawn, CHANGE, _("Withdrawn."))
            text = ngettext(
                "%(count)d consent was withdrawn.", "%(count)d consents were withdrawn.", len(withdrawn)
            )
            messages.success(request, text % {"count": len(withdrawn)})


def _withdrawing(consent: Consent, back: str) -> Confirmation:
    sessions = select_sessions(SessionCriteria(user=consent.user, client=consent.client)).count()
    ends = ngettext("%(count)d live session ends.", "%(count)d live sessions end.", sessions)
    return Confirmation(
        title=_("Withdraw"),
        question=_("Withdraw what %(user)s allowed %(client)s?")
        % {"user": user_name(consent.user), "client": consent.client},
        details=[ends % {"count": sessions}, _consequence()],
        button=_("Yes, withdraw"),
        cancel_url=back,
        trail=[(back, str(consent))],
    )


def _sessions_of(consents: list[Consent]) -> list[str]:
    """Say how many sessions end, and whose."""
    chosen = Consent.objects.filter(pk__in=[consent.pk for consent in consents])
    same = chosen.filter(user=OuterRef("user"), client=OuterRef("client"))
    # Found by their users, of whom there are at most as many as one form can hold.
    sessions = RefreshToken.objects.filter(Exists(same), user__in=[consent.user_id for consent in consents])
    return blast_radius.about(SessionCriteria(among=sessions))


def _consequence() -> str:
    return _("At the next sign-in the application asks again.")
