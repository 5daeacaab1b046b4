"""Which sessions are meant, and the query that finds those of them that are live."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import DateTimeField, ExpressionWrapper, Q, QuerySet
from django.utils import timezone

from django_ciam_token.database.clock import DatabaseNow
from django_ciam_token.database.retry import retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import Client, RefreshToken
from django_ciam_token.models.client import longest_access_token_lifetime
from django_ciam_token.models.refresh_token import NOT_EXCHANGED
from django_ciam_token.sessions.user import user_name

# A refresh that was accepted just before its session expired, or on a host whose clock is behind, is about
# to extend it; to end all sessions means to end that one as well, and its access tokens.
_REFRESH_IN_PROGRESS: Final = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class SessionCriteria:
    """The sessions that meet every criterion given; without any, all of them."""

    user: AbstractBaseUser | None = None
    """Whose they are."""
    client: Client | None = None
    """Which client they were issued to."""
    session_id: uuid.UUID | None = None
    """The one with this id."""
    among: QuerySet[RefreshToken] | None = field(default=None, repr=False)
    """Chosen by a query of the caller's own."""
    except_session: uuid.UUID | None = None
    """Not the one with this id, so that a user can sign out all other devices."""
    issued_before: datetime | None = None
    """Begun before then."""
    idle_since: datetime | None = None
    """Neither begun nor refreshed since then."""

    @property
    def is_narrow(self) -> bool:
        """Whether anything is said about which sessions are meant, other than which one is not."""
        narrowing = (self.user, self.client, self.session_id, self.among)
        return any(value is not None for value in (*narrowing, self.issued_before, self.idle_since))

    def described(self) -> dict[str, str]:
        """Return the criteria as text: enough to do the same again, should a failover undo it."""
        texts = {
            "user": None if self.user is None else user_name(self.user),
            "client_id": None if self.client is None else self.client.client_id,
            "session_id": self.session_id,
            "except_session": self.except_session,
            "issued_before": self.issued_before,
            "idle_since": self.idle_since,
        }
        return {name: str(value) for name, value in texts.items() if value is not None}

    def conditions(self) -> list[Q]:
        """Return the conditions; anew for each statement, since the database's clock is compared by ages."""
        never_refreshed = Q(rotated_at=None, issued_at__lt=self.idle_since)
        given: list[tuple[Any, Q]] = [
            (self.user, Q(user=self.user)),
            (self.client, Q(client=self.client)),
            (self.session_id, Q(pk=self.session_id)),
            (self.except_session, ~Q(pk=self.except_session)),
            (self.issued_before, Q(issued_at__lt=self.issued_before)),
            (self.idle_since, _not_refreshed_since(self.idle_since) | never_refreshed),
        ]
        return [condition for value, condition in given if value is not None]


def select_sessions(criteria: SessionCriteria) -> QuerySet[RefreshToken]:
    """Return the live sessions that meet the criteria.

    Live means neither revoked nor expired. The next refresh may still be refused for another reason,
    such as a disabled user. What is only a code so far is no session yet.
    """
    return live_sessions(criteria, ended_before=timezone.now()).exclude(nonce=NOT_EXCHANGED)


def live_sessions(criteria: SessionCriteria, *, ended_before: datetime) -> QuerySet[RefreshToken]:
    """Return the sessions that meet the criteria, are not revoked, and expire after an instant."""
    sessions = RefreshToken.objects.all() if criteria.among is None else criteria.among
    return sessions.using(write_database(RefreshToken)).filter(
        Q(revoked_at=None, expires_at__gt=ended_before), *criteria.conditions()
    )


def select_revocable(criteria: SessionCriteria) -> QuerySet[RefreshToken]:
    """Return the sessions that `revoke_sessions` would end.

    Also those that expired so recently that an access token of theirs may still be valid.

    Raises:
        TemporarilyUnavailable: the database refused to say how long access tokens live.
    """
    return live_sessions(criteria, ended_before=oldest_relevant_end(timezone.now()))


def oldest_relevant_end(now: datetime) -> datetime:
    """Return the instant such that no session that ended before it has a valid access token left.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    longest = retry(lambda _: longest_access_token_lifetime(), using=write_database(Client))
    return now - longest - _REFRESH_IN_PROGRESS


def _not_refreshed_since(instant: datetime | None) -> Q:
    """Compare by the database's clock alone, by which ``rotated_at`` was written."""
    if instant is None:
        return Q()
    then = ExpressionWrapper(DatabaseNow() - (timezone.now() - instant), output_field=DateTimeField())
    return Q(rotated_at__lt=then)
