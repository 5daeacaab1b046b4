"""Beginning a session."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.db.models import Model

from django_ciam_token.caller import Caller
from django_ciam_token.conf import ciam_settings
from django_ciam_token.crypto import refresh_token_string
from django_ciam_token.crypto.refresh_token_string import GenuineToken
from django_ciam_token.database.local_time import after
from django_ciam_token.database.retry import retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import InvalidGrant
from django_ciam_token.models import Client, RefreshToken
from django_ciam_token.models.refresh_token import NOT_EXCHANGED
from django_ciam_token.sessions.auth_hash import session_auth_hash


def new_session(
    *,
    client: Client,
    user: AbstractBaseUser | None,
    scope: tuple[str, ...],
    auth_time: datetime | None,
    caller: Caller,
    now: datetime,
) -> tuple[RefreshToken, GenuineToken]:
    """Make a new session, not yet saved, and its first refresh token."""
    session = RefreshToken(
        scope=" ".join(scope),
        nonce=refresh_token_string.new_nonce(),
        session_auth_hash=session_auth_hash(user),
        auth_time=auth_time,
        issued_at=now,
        expires_at=next_expiry(client, issued_at=now, now=now),
        last_address=caller.address,
        last_user_agent=caller.user_agent,
    )
    _refer(session, "client", client)
    if user is not None:
        _refer(session, "user", user)
    first = GenuineToken(
        session_id=session.pk, generation=session.generation, secret=refresh_token_string.new_secret()
    )
    session.secret_digest = refresh_token_string.digest(first.secret)
    return session, first


def new_code_session(
    *,
    client: Client,
    user: AbstractBaseUser,
    scope: tuple[str, ...],
    auth_time: datetime,
    caller: Caller,
    now: datetime,
) -> tuple[RefreshToken, GenuineToken]:
    """Make a new session, not yet saved, that is only an authorization code: its generation zero."""
    session, first = new_session(
        client=client, user=user, scope=scope, auth_time=auth_time, caller=caller, now=now
    )
    session.nonce = NOT_EXCHANGED
    session.has_refresh_token = client.refresh_tokens_enabled
    session.expires_at = now + ciam_settings.AUTHORIZATION_CODE_LIFETIME
    return session, first


def _refer(session: RefreshToken, name: str, row: Model) -> None:
    """Refer to a row that may have been read from a replica.

    For an ordinary assignment Django asks the routers, and most that know a replica say nothing of relations.
    """
    field: Any = RefreshToken._meta.get_field(name)
    setattr(session, field.attname, row.pk)
    field.set_cached_value(session, row)


def save_new(session: RefreshToken) -> None:
    """Insert a new session.

    A caller that rolls back a transaction around it has no session and must not hand out the token.

    Raises:
        InvalidGrant: the user or the client was deleted a moment ago. In a transaction of the caller the
            database may say so only at its COMMIT.
        TemporarilyUnavailable: the database refused.
    """
    using = write_database(RefreshToken)

    def write(attempt: int) -> None:
        # After a COMMIT whose outcome is unknown the row may be there already, and can only be ours.
        if attempt > 1 and RefreshToken.objects.using(using).filter(pk=session.pk).exists():
            return
        with transaction.atomic(using=using):
            session.save(using=using, force_insert=True)

    try:
        retry(write, using=using)
    except IntegrityError:
        raise InvalidGrant(reason="user_or_client_deleted") from None


def next_expiry(client: Client, *, issued_at: datetime, now: datetime) -> datetime:
    """Return when a session ends that is used now and then never again."""
    idle = after(now, client.effective_refresh_token_lifetime)
    lifetime = client.effective_session_lifetime
    return idle if lifetime is None else min(idle, after(issued_at, lifetime))
