"""What one SELECT says about an access token: its own end, its session's, its user and its client.

Nothing is decided here. The statements are those of every request to a protected view, so they are compiled
once, and read no more than is looked at.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Exists, FilteredRelation, QuerySet

from django_ciam_token.database.compiled import Columns, Select, Slot
from django_ciam_token.models import Client, RefreshToken, RevokedAccessToken

_OF_A_SESSION: Final = ("revoked_at", "session_auth_hash", "has_refresh_token", "user_id")
# Of a client what decides about a token, and its name. Other attributes are read when they are used.
OF_A_CLIENT: Final = (
    *("id", "client_id", "name", "application_type", "scope", "is_active", "refresh_tokens_enabled"),
    *("audience", "may_use_client_credentials", "created_at"),
)


@dataclass(frozen=True)
class TokenOfSession:
    """What was read for an access token that was issued in a session."""

    token_revoked: bool
    session_revoked_at: datetime | None
    session_auth_hash: str = field(repr=False)
    has_refresh_token: bool
    user_id: Any
    """The session's; None for a machine."""
    user: AbstractBaseUser | None
    client: Client


@dataclass(frozen=True)
class TokenOfClient:
    """What was read for an access token without a session."""

    token_revoked: bool
    client: Client


def read_token_of_session(session_id: uuid.UUID, *, jti: uuid.UUID, using: str) -> TokenOfSession | None:
    """Read all that decides about an access token of a session; None if the session is gone."""
    rows = _OF_SESSION.rows(using, session_id=session_id, jti=jti)
    _, client_columns = _columns()
    end = len(client_columns)
    client = client_columns.instance(using, rows[0][:end]) if rows else None
    return None if client is None else token_of_session(using, rows[0][end:], client=client)


def names_of_token(prefix: str = "") -> list[str]:
    """Return what `token_of_session` needs in a queryset that `is_revoked` and ``owner`` were added to."""
    user_columns, _ = _columns()
    of_session = (prefix + name for name in _OF_A_SESSION)
    return ["token_revoked", *of_session, *user_columns.names("owner__")]


def token_of_session(using: str, values: Sequence[Any], *, client: Client) -> TokenOfSession:
    """Return what the values of `names_of_token` say of a token of this client's session."""
    revoked, revoked_at, auth_hash, has_refresh_token, user_id, *of_user = values
    user_columns, _ = _columns()
    return TokenOfSession(
        token_revoked=bool(revoked),
        session_revoked_at=revoked_at,
        session_auth_hash=auth_hash,
        has_refresh_token=bool(has_refresh_token),
        user_id=user_id,
        user=user_columns.instance(using, of_user),
        client=client,
    )


def read_token_of_client(client_id: str, *, jti: uuid.UUID, using: str) -> TokenOfClient | None:
    """Read all that decides about an access token without a session, but for its user."""
    rows = _OF_CLIENT.rows(using, client_id=client_id, jti=jti)
    _, client_columns = _columns()
    client = client_columns.instance(using, rows[0][1:]) if rows else None
    # A trailing space is nothing to MariaDB, so what came back is compared once more.
    if client is None or client.client_id != client_id:
        return None
    return TokenOfClient(token_revoked=bool(rows[0][0]), client=client)


@cache
def _columns() -> tuple[Columns[Any], Columns[Client]]:
    # Of a user all: what the site's views and functions look at must not cost a statement more.
    return Columns(get_user_model()), Columns.only(Client, OF_A_CLIENT)


def is_revoked() -> Exists:
    """Return whether the access token of the slot ``jti`` was revoked, alone."""
    jti = Slot("jti", RevokedAccessToken._meta.pk)
    return Exists(RevokedAccessToken.objects.filter(jti=jti))


def _select_of_session() -> QuerySet[Any, Any]:
    rows = RefreshToken.objects.filter(pk=Slot("session_id", RefreshToken._meta.pk))
    # As in `sessions.rows`: the key of the user must come from the user's own table.
    rows = rows.annotate(token_revoked=is_revoked(), owner=FilteredRelation("user"))
    selected: QuerySet[Any, Any] = rows.values_list(*_columns()[1].names("client__"), *names_of_token())
    return selected


def _select_of_client() -> QuerySet[Any, Any]:
    rows = Client.objects.filter(client_id=Slot("client_id")).order_by()
    selected: QuerySet[Any, Any] = rows.annotate(token_revoked=is_revoked()).values_list(
        "token_revoked", *_columns()[1].names()
    )
    return selected


_OF_SESSION: Final = Select(_select_of_session)
_OF_CLIENT: Final = Select(_select_of_client)
