"""What an export says of each row. The names of the columns are those of the fields, in no language."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from django.utils import timezone

from django_ciam_token.models import RefreshToken
from django_ciam_token.sessions.state import state_of
from django_ciam_token.sessions.user import user_name

Column = tuple[str, Callable[[Any], Any]]
"""The name of a column, and what it holds of a row."""


def _state(session: RefreshToken) -> str:
    state, obstacle = state_of(session, timezone.now())
    return state.value if obstacle is None else f"{state.value}: {obstacle.value}"


def _user(session: Any) -> str:
    return user_name(session.user) if session.user is not None else ""


SESSIONS: Final[tuple[Column, ...]] = (
    ("session_id", attrgetter("pk")),
    ("user_id", attrgetter("user_id")),
    ("user", _user),
    ("client_id", attrgetter("client.client_id")),
    ("client", attrgetter("client.name")),
    ("state", _state),
    ("revoked_reason", attrgetter("revoked_reason")),
    ("scope", attrgetter("scope")),
    ("generation", attrgetter("generation")),
    ("auth_time", attrgetter("auth_time")),
    ("issued_at", attrgetter("issued_at")),
    ("rotated_at", attrgetter("rotated_at")),
    ("expires_at", attrgetter("expires_at")),
    ("revoked_at", attrgetter("revoked_at")),
    ("last_address", attrgetter("last_address")),
    ("last_user_agent", attrgetter("last_user_agent")),
)
EVENTS: Final[tuple[Column, ...]] = tuple(
    (name, attrgetter(name))
    for name in (
        "at",
        "event",
        "client_id",
        "user_id",
        "session_id",
        "reason",
        "actor",
        "address",
        "user_agent",
        "detail",
    )
)
