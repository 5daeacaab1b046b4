"""Sessions: to look at, to find by a pasted token, and to end."""

from __future__ import annotations

import uuid
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, URLPattern, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from django_ciam_token.admin import paging, session_list, user_agents
from django_ciam_token.admin.base import UNCERTAIN, Confirmation, ReadOnlyAdmin, is_confirmed
from django_ciam_token.caller import Caller
from django_ciam_token.concealed import Concealed
from django_ciam_token.errors import InvalidToken, TemporarilyUnavailable
from django_ciam_token.models import RefreshToken, RevocationReason, SecurityEvent, SessionState
from django_ciam_token.sessions.criteria import SessionCriteria
from django_ciam_token.sessions.revocation import revoke_session, revoke_sessions
from django_ciam_token.sessions.user import user_name
from django_ciam_token.tokens.recognition import session_of_token

_EVENTS_SHOWN: Final = 100
_NO_TOKEN: Final = gettext_lazy("That is neither a refresh token nor an access token of this service.")
_NO_SESSION: Final = gettext_lazy("That access token belongs to no session. It ends by itself.")
_GONE: Final = gettext_lazy("That token is genuine, but its session is not stored any more.")
_REFUSED: Final = gettext_lazy("The database refused; nothing was changed. Try again.")


class TokenForm(forms.Form):
    """A token to find the session of. It is never written back into a page."""

    token = forms.CharField(
        label=gettext_lazy("Token"),
        max_length=8_192,
        help_text=gettext_lazy(
            "A refresh token, however old, or an access token. It is not stored or logged."
        ),
        widget=forms.PasswordInput(
            attrs={"autocomplete": "off", "spellcheck": "false", "class": "vTextField"}
        ),
    )

    @sensitive_variables()
    def clean_token(self) -> uuid.UUID:
        """Return the id of the session."""
        try:
            session_id = session_of_token(Concealed(self.cleaned_data["token"].strip()))
        except InvalidToken:
            raise ValidationError(_NO_TOKEN) from None
        except TemporarilyUnavailable:
            raise ValidationError(_REFUSED) from None
        if session_id is None:
            raise ValidationError(_NO_SESSION)
        if not RefreshToken.objects.filter(pk=session_id).exists():
            raise ValidationError(_GONE)
        return session_id


@admin.register(RefreshToken)
class RefreshTokenAdmin(ReadOnlyAdmin):
    """Sessions.

    Who has the permission may delete one: Django asks for it when a user or client is deleted, whose
    sessions go along.
    """

    list_display = (
        "user_name",
        "client",
        "state",
        "issued_at",
        "rotated_at",
        "generation",
        "last_address",
        "device",
    )
    list_select_related = ("client", "user")
    list_display_links = ("user_name",)
    list_filter = (session_list.StateFilter, session_list.StartedFilter, session_list.ClientFilter)
    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # They would count the table, filter by filter.
    # The key ascends with time; the database would have to sort for any other order.
    ordering = ("-pk",)
    sortable_by = ()
    search_fields = ("pk",)
    search_help_text = gettext_lazy(
        "User name (its beginning), client_id, name of an application, or session id"
    )
    actions = ("end_sessions",)
    change_list_template = "admin/django_ciam_token/sessions.html"
    change_form_template = "admin/django_ciam_token/session.html"
    fields = (
        "id",
        *("user", "client", "state", "scope", "generation"),
        *("auth_time", "issued_at", "rotated_at", "expires_at", "revoked_at", "revoked_reason"),
        *("last_address", "device", "last_user_agent"),
    )
    readonly_fields = ("state", "device")

    def get_urls(self) -> list[URLPattern]:
        """Add finding by token and ending."""
        return [
            self.route("find-by-token/", self.find_by_token_view, "refreshtoken_find_by_token"),
            self.route("sign-out/<path:user_id>/", self.sign_out_view, "refreshtoken_sign_out"),
            self.route("<path:object_id>/end/", self.end_view, "refreshtoken_end"),
            *super().get_urls(),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[RefreshToken]:
        """Leave out what no page shows."""
        return super().get_queryset(request).defer("secret_digest", "nonce", "session_auth_hash")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find by session id, user or client."""
        return (session_list.search(queryset, search_term) if search_term.strip() else queryset), False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Read user and client along."""
        try:
            key = uuid.UUID(object_id)
        except ValueError:
            return None
        return self.get_queryset(request).select_related("client", "user").filter(pk=key).first()

    # The list

    def get_paginator(self, request: HttpRequest, queryset: Any, *args: Any, **kwargs: Any) -> Any:
        """Bound the pages of sessions; those of a session's history are Django's."""
        if queryset.model is RefreshToken:
            return paging.BoundedPaginator(queryset, *args, **kwargs)
        return super().get_paginator(request, queryset, *args, **kwargs)

    @admin.display(description=gettext_lazy("user"))
    def user_name(self, session: RefreshToken) -> str:
        """Return whose it is."""
        return _("(machine)") if session.user is None else session.user.get_username()

    @admin.display(description=gettext_lazy("state"))
    def state(self, session: RefreshToken) -> str:
        """Return the present state, and why it was ended."""
        state = session.state(timezone.now())
        label = str(state.label)
        if state is SessionState.REVOKED:
            label = f"{label}: {session.get_revoked_reason_display()}"
        return format_html('<span class="ciam-state ciam-state-{}">{}</span>', state.value, label)

    @admin.display(description=gettext_lazy("device"))
    def device(self, session: RefreshToken) -> str:
        """Return what it was last refreshed with."""
        return user_agents.describe(session.last_user_agent)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, and among what was looked."""
        context = {
            "find_by_token_url": self.url("refreshtoken_find_by_token"),
            "most_shown": paging.MOST_SHOWN,
            "window": paging.WINDOW if request.GET.get("state") else None,
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def has_delete_permission(self, request: HttpRequest, obj: RefreshToken | None = None) -> bool:
        """Offer to end sessions in the list, not to delete them: deleted ones leave no trace of a thief."""
        return obj is not None and super().has_delete_permission(request, obj)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Tell whether the operator may end sessions."""
        return self.may(request, "revoke", RefreshToken)

    @admin.action(description=gettext_lazy("End selected sessions"), permissions=["revoke"])
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[RefreshToken]) -> HttpResponse | None:
        """Ask, and end what was selected; of everything that a search found, the newest."""
        most = paging.most_selected()
        chosen = list(queryset.order_by("-pk").values_list("pk", flat=True)[: most + 1])
        details = paging.cut_off(chosen, most)
        if not is_confirmed(request):
            return self.confirm(request, _ending(chosen, details, request))
        sessions = RefreshToken.objects.filter(pk__in=chosen)
        if self._end(request, SessionCriteria(among=sessions)) is not None:
            operator: Any = request.user.pk
            LogEntry.objects.log_actions(operator, sessions.only("pk"), CHANGE, _("Ended."))
        return None

    # One session

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a session, its history, and what can be done."""
        session = self.get_object(request, unquote(object_id))
        context: dict[str, Any] = {}
        if session is not None and self.has_view_permission(request, session):
            may_end = self.has_revoke_permission(request)
            is_over = session.state(timezone.now()) is not SessionState.LIVE
            context = {
                "timeline": self._timeline(request, session),
                "device": self.device(session),
                "end_url": None if is_over or not may_end else self.url("refreshtoken_end", session.pk),
                "sign_out_url": (
                    self.url("refreshtoken_sign_out", quote(session.user_id))
                    if may_end and session.user_id is not None
                    else None
                ),
                "user_url": _page_of(session.user, self.admin_site.name) if session.user else None,
            }
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def _timeline(
        self, request: HttpRequest, session: RefreshToken
    ) -> list[tuple[SecurityEvent, str]] | None:
        """Return the newest events of a session and why; None for who may not see the audit trail."""
        if not self.may(request, "view", SecurityEvent):
            return None
        reasons = dict(RevocationReason.choices)
        events = SecurityEvent.objects.filter(session_id=session.pk)[:_EVENTS_SHOWN]
        return [(event, str(reasons.get(event.reason, event.reason))) for event in events]

    def end_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, and end one session."""
        self.require(self.has_revoke_permission(request))
        session = self.get_object(request, unquote(object_id))
        if session is None:
            raise Http404
        back = self.url("refreshtoken_change", session.pk)
        if not is_confirmed(request):
            question = _("End this session of %(user)s at %(client)s?") % {
                "user": self.user_name(session),
                "client": session.client,
            }
            return self.confirm(
                request,
                Confirmation(
                    title=_("End session"),
                    question=question,
                    details=_consequences(),
                    button=_("Yes, end it"),
                    cancel_url=back,
                    trail=[(back, str(session.pk))],
                ),
            )
        try:
            ended = revoke_session(
                session,
                reason=RevocationReason.OPERATOR,
                now=timezone.now(),
                actor=user_name(request.user),
                caller=Caller.of(request),
            )
        except TemporarilyUnavailable:
            messages.error(request, UNCERTAIN)
            return HttpResponseRedirect(back)
        if ended:
            self.log_change(request, session, _("Ended."))
            messages.success(request, _("The session was ended."))
        else:
            messages.info(request, _("The session had been ended already."))
        return HttpResponseRedirect(back)

    # All sessions of a user

    def sign_out_view(self, request: HttpRequest, user_id: str) -> HttpResponse:
        """Ask, and end every session of a user."""
        self.require(self.has_revoke_permission(request))
        user = _find_user(unquote(user_id))
        if user is None:
            raise Http404
        back = _page_of(user, self.admin_site.name) or self.url("refreshtoken_changelist")
        if not is_confirmed(request):
            return self.confirm(
                request,
                Confirmation(
                    title=_("Sign out everywhere"),
                    question=_("End all sessions of %(user)s, on every device and in every application?")
                    % {"user": user.get_username()},
                    details=_consequences(),
                    button=_("Yes, sign out everywhere"),
                    cancel_url=back,
                ),
            )
        if self._end(request, SessionCriteria(user=user)) is not None:
            self.log_change(request, user, _("Signed out everywhere."))
        return HttpResponseRedirect(back)

    def _end(self, request: HttpRequest, criteria: SessionCriteria) -> int | None:
        """End sessions and say how many; None if the database refused."""
        try:
            ended = revoke_sessions(
                criteria,
                reason=RevocationReason.OPERATOR,
                actor=user_name(request.user),
                caller=Caller.of(request),
            )
        except TemporarilyUnavailable:
            messages.error(request, _("The database refused before all was done. Try again to end the rest."))
            return None
        text = ngettext("%(count)d session was ended.", "%(count)d sessions were ended.", ended)
        messages.success(request, text % {"count": ended})
        return ended

    # Finding by token

    @method_decorator([never_cache, sensitive_post_parameters("token"), sensitive_variables()])
    def find_by_token_view(self, request: HttpRequest) -> HttpResponse:
        """Lead from a pasted token to its session; by POST, lest one gets into an access log."""
        self.require(self.has_view_permission(request))
        form = TokenForm(request.POST or None)
        if form.is_valid():
            return HttpResponseRedirect(self.url("refreshtoken_change", form.cleaned_data["token"]))
        return self.page(request, "find_by_token.html", title=_("Find by token"), form=form)


def _ending(chosen: list[uuid.UUID], details: list[str], request: HttpRequest) -> Confirmation:
    count = len(chosen)
    question = ngettext("End %(count)d session?", "End %(count)d sessions?", count)
    hidden = [("action", "end_sessions"), *(("_selected_action", str(key)) for key in chosen)]
    return Confirmation(
        title=_("End sessions"),
        question=question % {"count": count},
        details=[*details, *_consequences()],
        button=_("Yes, end them"),
        cancel_url=request.get_full_path(),
        hidden=hidden,
    )


def _consequences() -> list[str]:
    return [
        _("Their refresh tokens are refused from now on: the applications ask the user to sign in again."),
        _("Access tokens work until they expire wherever revocation is not checked."),
    ]


def _find_user(user_id: str) -> AbstractBaseUser | None:
    users = get_user_model()
    try:
        return users._default_manager.filter(pk=user_id).first()
    except (ValueError, OverflowError, ValidationError):
        return None


def _page_of(user: AbstractBaseUser, site: str) -> str | None:
    opts = user._meta
    try:
        page = f"admin:{opts.app_label}_{opts.model_name}_change"
        return reverse(page, args=[quote(user.pk)], current_app=site)
    except NoReverseMatch:
        return None
