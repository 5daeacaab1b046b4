"""The state of a session as its next refresh would find it, also by its user and its client."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from django_ciam_token import scopes
from django_ciam_token.errors import InvalidGrant
from django_ciam_token.models import RefreshToken, SessionState
from django_ciam_token.sessions.user import require_unchanged


class Obstacle(TextChoices):
    """Why a session that has neither ended nor expired can't be refreshed; named as the refusal's reason."""

    CLIENT_DISABLED = "client_disabled", _("client disabled")
    REFRESH_TOKENS_DISABLED = "refresh_tokens_disabled", _("refresh tokens switched off")
    USER_DELETED = "user_deleted", _("user deleted")
    USER_DISABLED = "user_disabled", _("user disabled")
    PASSWORD_CHANGED = "password_changed", _("password changed")
    SCOPE_WITHDRAWN = "scope_withdrawn", _("scope withdrawn")


class StateNow(NamedTuple):
    """The state of a session, and what blocks it."""

    state: SessionState
    obstacle: Obstacle | None
    """Given if the state is `SessionState.BLOCKED`."""


def state_of(session: RefreshToken, now: datetime) -> StateNow:
    """Return the state that a refresh at this instant would find; no query.

    Args:
        session: read with its client and its user.
        now: the instant.
    """
    state = session.state(now)
    found = obstacle(session) if state is SessionState.LIVE else None
    return StateNow(state, None) if found is None else StateNow(SessionState.BLOCKED, found)


def obstacle(session: RefreshToken) -> Obstacle | None:
    """Return why a refresh would be refused although the session has neither ended nor expired; no query.

    It may go away again: a client or a user can be enabled, a scope allowed.
    """
    client = session.client
    if not client.is_active:
        return Obstacle.CLIENT_DISABLED
    if session.has_refresh_token and not client.refresh_tokens_enabled:
        return Obstacle.REFRESH_TOKENS_DISABLED
    try:
        require_unchanged(session)
    except InvalidGrant as refusal:
        return Obstacle(refusal.reason)
    return None if scopes.is_within(session.scopes, client.scopes) else Obstacle.SCOPE_WITHDRAWN
