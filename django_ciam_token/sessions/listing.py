"""The live sessions of a user, of a client or of all, as users and operators may see them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import QuerySet
from django.utils import timezone

from django_ciam_token.database.retry import read_rows
from django_ciam_token.models import Client, RefreshToken, SessionState
from django_ciam_token.sessions.criteria import SessionCriteria, select_sessions
from django_ciam_token.sessions.rows import since_rotation
from django_ciam_token.sessions.state import Obstacle, obstacle
from django_ciam_token.sessions.user import user_name

_LISTED_AT_ONCE: Final = 1_000


@dataclass(frozen=True)
class SessionInfo:
    """What users and operators may see of a session."""

    session_id: uuid.UUID
    client_id: str
    client_name: str
    user: str | None
    """A user name; None for a machine."""
    scope: tuple[str, ...]
    started_at: datetime
    last_refreshed_at: datetime | None
    expires_at: datetime
    """The end if it is not refreshed again."""
    address: str | None
    user_agent: str
    obstacle: Obstacle | None = None
    """Why its next refresh would be refused all the same, such as a changed password."""

    @classmethod
    def of(cls, session: RefreshToken, *, since_rotation: timedelta | None, now: datetime) -> SessionInfo:
        """Take it from a row, and from how long ago it was refreshed by the database's clock."""
        return cls(
            session_id=session.pk,
            client_id=session.client.client_id,
            client_name=session.client.name,
            user=None if session.user is None else user_name(session.user),
            scope=session.scopes,
            started_at=session.issued_at,
            last_refreshed_at=None if since_rotation is None else now - since_rotation,
            expires_at=session.ends_at(session.client),
            address=session.last_address,
            user_agent=session.last_user_agent,
            obstacle=obstacle(session),
        )


def list_sessions(
    *, user: AbstractBaseUser | None = None, client: Client | None = None, limit: int = 100
) -> list[SessionInfo]:
    """Return the live sessions of a user, of a client or of all, newest first.

    Args:
        user: whose they are.
        client: which client they were issued to.
        limit: how many at most.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    # The key ascends with time; an order by any column would have to sort all sessions of a client.
    live = select_sessions(SessionCriteria(user=user, client=client)).select_related("client", "user")
    rest: QuerySet[Any] = live.annotate(since_rotation=since_rotation()).order_by("-pk")
    listed: list[SessionInfo] = []
    size = limit
    while True:
        rows, now = read_rows(rest[:size]), timezone.now()
        listed += [
            SessionInfo.of(session, since_rotation=session.since_rotation, now=now)
            for session in rows
            # What the database can't tell: SESSION_LIFETIME may have been shortened since the last refresh.
            if session.state(now) is SessionState.LIVE
        ]
        if len(rows) < size or len(listed) >= limit:
            return listed[:limit]
        rest, size = rest.filter(pk__lt=rows[-1].pk), max(limit, _LISTED_AT_ONCE)
