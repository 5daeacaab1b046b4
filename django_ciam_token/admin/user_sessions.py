"""A user's sessions and devices as a table: the live ones first, then the newest that have ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Q
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from django_ciam_token.admin import cells
from django_ciam_token.models import RefreshToken, SessionState
from django_ciam_token.models.refresh_token import NOT_EXCHANGED
from django_ciam_token.sessions.criteria import SessionCriteria, select_sessions
from django_ciam_token.sessions.state import StateNow, state_of
from django_ciam_token.sessions.user import user_name

MOST: Final = 20
"""How many live sessions, and how many that have ended."""


@dataclass(frozen=True)
class _Line:
    session: RefreshToken
    now: StateNow
    place: str
    state: str
    last_used: str
    started: str

    @property
    def may_end(self) -> bool:
        """Tell whether there is something to end."""
        return self.now.state in (SessionState.LIVE, SessionState.BLOCKED)


def table(user: Any, *, site: str, may_end: bool) -> SafeString:
    """Return the sessions of a user; two queries, however many there are.

    Args:
        user: of any user model.
        site: the name of the admin site.
        may_end: whether the operator may end sessions.
    """
    now = timezone.now()
    # By the index of the user alone, both; a user has far fewer sessions than a client.
    unended = select_sessions(SessionCriteria(user=user)).select_related("client").order_by("-pk")
    live = list(unended[: MOST + 1])
    others = RefreshToken.objects.filter(user=user).exclude(nonce=NOT_EXCHANGED)
    others = others.exclude(pk__in=[session.pk for session in live]).select_related("client").order_by("-pk")
    if len(live) > MOST:
        others = others.filter(Q(revoked_at__isnull=False) | Q(expires_at__lte=now))
    rest = list(others[: MOST + 1])
    context = {
        "lines": [_line(session, user, now) for session in (*live[:MOST], *rest[:MOST])],
        "has_more": len(live) > MOST or len(rest) > MOST,
        "may_end": may_end,
        "list_url": reverse("admin:django_ciam_token_refreshtoken_changelist", current_app=site),
        "user_name": user_name(user),
    }
    return render_to_string("admin/django_ciam_token/user_sessions.html", context)


def _line(session: RefreshToken, user: Any, now: datetime) -> _Line:
    session.user = user
    state_now = state_of(session, now)
    return _Line(
        session=session,
        now=state_now,
        place=cells.place(session.last_address, session.last_user_agent),
        state=cells.state(session, state_now),
        last_used=cells.ago(session.rotated_at or session.issued_at, now),
        started=cells.ago(session.issued_at, now),
    )
