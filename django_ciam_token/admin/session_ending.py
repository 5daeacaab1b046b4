"""Ending sessions: one, those selected in the list, or all of a user."""

from __future__ import annotations

import uuid
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, URLPattern, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_ciam_token.admin import blast_radius, paging
from django_ciam_token.admin.base import UNCERTAIN, Confirmation, TokenAdmin, is_confirmed
from django_ciam_token.caller import Caller
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import RefreshToken, RevocationReason, SessionState
from django_ciam_token.sessions.criteria import SessionCriteria
from django_ciam_token.sessions.revocation import revoke_session, revoke_sessions
from django_ciam_token.sessions.user import user_name, user_with_key

# Who may end single sessions must not end those of everybody, a thousand at a time.
_MOST_WITHOUT_BULK: Final = 100


class SessionEndingMixin(TokenAdmin):
    """Ends one session, the selected ones, or all sessions of a user."""

    actions: Any = ("end_sessions",)

    def get_urls(self) -> list[URLPattern]:
        """Add the pages that end one session and all sessions of a user."""
        return [
            self.route("sign-out/<path:user_id>/", self.sign_out_view, "refreshtoken_sign_out"),
            self.route("<path:object_id>/end/", self.end_view, "refreshtoken_end"),
            *super().get_urls(),
        ]

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Tell whether the operator may end sessions."""
        return self.may(request, "revoke", RefreshToken)

    @admin.action(description=gettext_lazy("End selected sessions"), permissions=["revoke"])
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[RefreshToken]) -> HttpResponse | None:
        """Ask, and end the selected sessions; if everything was selected, the newest of them."""
        most = paging.most_selected()
        if not self.may(request, "bulk_revoke", RefreshToken):
            most = min(most, _MOST_WITHOUT_BULK)
        chosen = list(queryset.order_by("-pk").values_list("pk", flat=True)[: most + 1])
        details = paging.cut_off(chosen, most)
        if not is_confirmed(request):
            return self.confirm(request, _ending_selected(chosen, details, request))
        sessions = RefreshToken.objects.filter(pk__in=chosen)
        if end(request, SessionCriteria(among=sessions)) is not None:
            operator: Any = request.user.pk
            LogEntry.objects.log_actions(operator, sessions.only("pk"), CHANGE, _("Ended."))
        return None

    def end_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, and end one session."""
        self.require(self.has_revoke_permission(request))
        session = self.get_or_404(request, object_id)
        back = self.url("refreshtoken_change", session.pk)
        if not is_confirmed(request):
            return self.confirm(request, _ending_one(session, back))
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
            messages.info(request, _("The session had already been ended."))
        return HttpResponseRedirect(back)

    def delete_model(self, request: HttpRequest, obj: RefreshToken) -> None:
        """End a live session before its row goes, so that its end is reported like any other."""
        now = timezone.now()
        if obj.state(now) is SessionState.LIVE:
            # Read whole, for receivers of the signal: the row is gone when they are called.
            session = RefreshToken.objects.select_related("client", "user").get(pk=obj.pk)
            actor, caller = user_name(request.user), Caller.of(request)
            revoke_session(session, reason=RevocationReason.OPERATOR, now=now, actor=actor, caller=caller)
        super().delete_model(request, obj)

    def sign_out_view(self, request: HttpRequest, user_id: str) -> HttpResponse:
        """Ask, and end all sessions of a user."""
        self.require(self.has_revoke_permission(request))
        user = user_with_key(unquote(user_id))
        if user is None:
            raise Http404
        back = page_of_user(request, user, site=self.admin_site) or self.url("refreshtoken_changelist")
        if not is_confirmed(request):
            return self.confirm(
                request,
                Confirmation(
                    title=_("Sign out everywhere"),
                    question=_("End all sessions of %(user)s, on every device and in every application?")
                    % {"user": user_name(user)},
                    details=[*blast_radius.about(SessionCriteria(user=user)), *consequences()],
                    button=_("Yes, sign out everywhere"),
                    cancel_url=back,
                ),
            )
        if end(request, SessionCriteria(user=user)) is not None:
            self.log_change(request, user, _("Signed out everywhere."))
        return HttpResponseRedirect(back)


def end(
    request: HttpRequest,
    criteria: SessionCriteria,
    *,
    max_seconds: float | None = None,
    everything: bool = False,
) -> int | None:
    """End sessions and tell the operator how many; None if the database is unavailable."""
    try:
        ended = revoke_sessions(
            criteria,
            reason=RevocationReason.OPERATOR,
            actor=user_name(request.user),
            caller=Caller.of(request),
            max_seconds=max_seconds,
            everything=everything,
        )
    except TemporarilyUnavailable:
        messages.error(
            request,
            _(
                "The database is temporarily unavailable: some sessions may not have been ended. "
                "Try again to end the rest."
            ),
        )
        return None
    messages.success(request, count_in_words(ended))
    return ended


def count_in_words(ended: int) -> str:
    """Return the sentence that says how many sessions were ended."""
    text = ngettext("%(count)d session was ended.", "%(count)d sessions were ended.", ended)
    return text % {"count": ended}


def name_of_user(session: RefreshToken) -> str:
    """Return whose session it is."""
    return _("(machine)") if session.user is None else user_name(session.user)


def page_of_user(request: HttpRequest, user: AbstractBaseUser, *, site: admin.AdminSite) -> str | None:
    """Return the address of a user's page in an admin site; None if it has none that the operator may see."""
    opts = user._meta
    try:
        page = f"admin:{opts.app_label}_{opts.model_name}_change"
        address = reverse(page, args=[quote(user.pk)], current_app=site.name)
        may_see = site.get_model_admin(type(user)).has_view_or_change_permission(request, user)
    except (NoReverseMatch, NotRegistered):
        return None
    return address if may_see else None


def _ending_selected(chosen: list[uuid.UUID], details: list[str], request: HttpRequest) -> Confirmation:
    count, sessions = len(chosen), RefreshToken.objects.filter(pk__in=chosen)
    question = ngettext("End %(count)d session?", "End %(count)d sessions?", count)
    hidden = [("action", "end_sessions"), *(("_selected_action", str(key)) for key in chosen)]
    return Confirmation(
        title=_("End sessions"),
        question=question % {"count": count},
        details=[*details, *blast_radius.about(SessionCriteria(among=sessions)), *consequences()],
        button=_("Yes, end them"),
        cancel_url=request.get_full_path(),
        hidden=hidden,
    )


def _ending_one(session: RefreshToken, back: str) -> Confirmation:
    question = _("End this session of %(user)s in %(client)s?") % {
        "user": name_of_user(session),
        "client": session.client,
    }
    return Confirmation(
        title=_("End session"),
        question=question,
        details=consequences(),
        button=_("Yes, end it"),
        cancel_url=back,
        trail=[(back, str(session.pk))],
    )


def consequences() -> list[str]:
    """Say what it means that a session ends."""
    return [
        _("Refresh tokens of ended sessions are refused: the applications ask the user to sign in again."),
        _("Where revocation is not checked, access tokens stay valid until they expire."),
    ]
