"""The sessions of a client: the newest on its page, and ending them all."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils import timezone
from django.utils.translation import gettext as _

from django_ciam_token.admin import blast_radius, paging, session_ending
from django_ciam_token.admin.base import Confirmation, TokenAdmin, is_confirmed
from django_ciam_token.models import Client, RefreshToken
from django_ciam_token.sessions.criteria import SessionCriteria, select_sessions
from django_ciam_token.sessions.state import state_of

_NEWEST_SESSIONS: Final = 10
_MOST_COUNTED: Final = 1_000
# A request should not take longer. The next one ends the rest.
_SECONDS_PER_REQUEST: Final = 10.0


class ClientSessionsMixin(TokenAdmin):
    """Shows the newest sessions of a client, and ends them all."""

    def get_urls(self) -> list[URLPattern]:
        """Add the page that ends the sessions of a client."""
        return [
            self.route("<path:object_id>/end-sessions/", self.end_sessions_view, "client_end_sessions"),
            *super().get_urls(),
        ]

    def newest_sessions(self, request: HttpRequest, client: Client) -> dict[str, Any]:
        """Return what the page of a client shows of its sessions; nothing without the permission."""
        if not self.may(request, "view", RefreshToken):
            return {}
        now = timezone.now()
        sessions = RefreshToken.objects.filter(client=client).select_related("user").order_by("-pk")
        rows = []
        for session in sessions[:_NEWEST_SESSIONS]:
            session.client = client
            rows.append((self.url("refreshtoken_change", session.pk), session, state_of(session, now)))
        # Only among the newest: if all sessions of a client were ended, there may be millions to read.
        among = paging.newest(RefreshToken.objects.filter(client=client))
        live = among.filter(revoked_at=None, expires_at__gt=now).order_by("-pk").values_list("pk", flat=True)
        newest = len(live[: _MOST_COUNTED + 1]) if rows else 0
        return {
            "newest_sessions": rows,
            "live_sessions": min(newest, _MOST_COUNTED),
            "has_more_sessions": newest > _MOST_COUNTED,
            "sessions_url": f"{self.url('refreshtoken_changelist')}?client__id__exact={client.pk}",
        }

    def end_sessions_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, and end as many sessions of a client as one request has time for."""
        self.require(self.may(request, "bulk_revoke", RefreshToken))
        client = self.get_or_404(request, unquote(object_id))
        back = self.url("client_change", client.pk)
        if not is_confirmed(request):
            return self.confirm(request, _ending(client, back))
        criteria = SessionCriteria(client=client)
        ended = session_ending.end(request, criteria, max_seconds=_SECONDS_PER_REQUEST)
        if ended is None:
            return HttpResponseRedirect(back)
        self.log_change(request, client, session_ending.count_in_words(ended))
        if select_sessions(criteria).exists():
            messages.warning(
                request,
                _(
                    "There are more sessions. Repeat this, or run: "
                    "manage.py revoke_sessions --client %(client_id)s"
                )
                % {"client_id": client.client_id},
            )
        return HttpResponseRedirect(back)


def _ending(client: Client, back: str) -> Confirmation:
    return Confirmation(
        title=_("End all sessions"),
        question=_("End all sessions of %(client)s, for every user?") % {"client": client},
        details=[
            *blast_radius.about(SessionCriteria(client=client)),
            _("Everybody has to sign in again."),
            _("To keep users from signing in again, also disable the client."),
        ],
        button=_("Yes, end them all"),
        cancel_url=back,
        trail=[(back, str(client))],
    )
