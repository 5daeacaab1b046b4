"""Introspection (RFC 7662): whether a token is live, and what it stands for."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.views.decorators.debug import sensitive_variables

from django_ciam_token import access_tokens, keyring, sessions, token_string
from django_ciam_token.conf import ciam_settings
from django_ciam_token.errors import InvalidGrant, InvalidToken
from django_ciam_token.models import Client
from django_ciam_token.reading import Reading
from django_ciam_token.sessions import Verdict
from django_ciam_token.token_string import GenuineToken
from django_ciam_token.tokens import subject_identifier
from django_ciam_token.transactions import retry

_REPEATED_CLAIMS: Final = ("exp", "iat", "nbf", "sub", "aud", "iss", "jti", "sid")
# RFC 7662 §2.2: of a token that is not live nothing else is said, not even why.
INACTIVE: Final[dict[str, Any]] = {"active": False}


@sensitive_variables()
def introspect(token: str, *, client: Client, now: datetime) -> dict[str, Any]:
    """Return the members of the answer for a token of either kind.

    Args:
        token: an access token or a refresh token.
        client: who asks. Tokens of others are not live to it, unless it ``may_introspect``.
        now: the present.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    try:
        presented = token_string.authenticate(token, keyring.token_keys())
    except token_string.NotGenuine:
        return _introspect_access_token(token, client=client, now=now)
    return _introspect_refresh_token(presented, client=client, now=now)


def _introspect_access_token(token: str, *, client: Client, now: datetime) -> dict[str, Any]:
    try:
        verified = access_tokens.verify(token, now=now)
        access_tokens.require_unexpired(verified, now=now, leeway=ciam_settings.RESOURCE_LEEWAY)
        if not _may_ask(client, verified.client_id):
            return INACTIVE
        live = access_tokens.require_live(verified)
    except InvalidToken:
        return INACTIVE
    kept = {name: value for name, value in verified.claims.items() if name in _REPEATED_CLAIMS}
    return {
        "active": True,
        "scope": " ".join(verified.scope),
        "client_id": verified.client_id,
        **_username(live.user),
        "token_type": "Bearer",
        **kept,
    }


def _introspect_refresh_token(presented: GenuineToken, *, client: Client, now: datetime) -> dict[str, Any]:
    reading = sessions.find_reading(presented.family)
    if reading is None:
        return INACTIVE
    session, owner = reading.session, _owner(reading)
    if owner is None or not _may_ask(client, owner.client_id):
        return INACTIVE
    if not _is_current(reading, presented, owner=owner, now=now):
        return INACTIVE
    since = reading.since_rotation
    issued_at = math.floor((session.issued_at if since is None else now - since).timestamp())
    return {
        "active": True,
        "scope": session.scope,
        "client_id": owner.client_id,
        **_username(session.user),
        "token_type": "refresh_token",
        "exp": math.floor(session.end(owner).timestamp()),
        "iat": issued_at,
        "nbf": issued_at,
        "sub": subject_identifier(session.user, client=owner),
        "aud": owner.client_id,
        "iss": ciam_settings.ISSUER,
        "jti": f"{session.pk}.{session.generation}",
        "sid": str(session.pk),
    }


def _owner(reading: Reading) -> Client | None:
    """Read whose session it is, where sessions are written: a replica may not have heard of it."""
    using = sessions.database()
    clients = Client.objects.using(using).filter(pk=reading.session.client_id)
    return retry(clients.first, using=using)


def _is_current(reading: Reading, presented: GenuineToken, *, owner: Client, now: datetime) -> bool:
    """Tell whether a refresh with this token would rotate; a predecessor only replays and is not live."""
    if not owner.is_active or not owner.refresh_tokens_enabled:
        return False
    try:
        return sessions.judge(reading, presented, client=owner, now=now) is Verdict.ROTATE
    except InvalidGrant:
        return False


def _may_ask(client: Client, owner: str) -> bool:
    return client.may_introspect or client.client_id == owner


def _username(user: AbstractBaseUser | None) -> dict[str, str]:
    return {} if user is None else {"username": user.get_username()}
